"""A tiny ViT-MAE with random weights: a domain encoder whose input is not that of the tiny backbones."""

from __future__ import annotations

import json
from pathlib import Path

from transformers import ViTMAEConfig, ViTMAEModel

from tests.helpers.tiny_backbones import randomise

SIDE = 48  # pixels; the tiny backbones take 32
SMALL = {"image_size": 32, "patch_size": 8, "batch_size": 8}  # settings quick enough for tests


def tiny_mae(path: Path, *, seed: int = 0, mean: float = 0.5) -> Path:
    """Save a small random encoder of 20-dimensional features; its processor stretches pictures to 48 x 48 pixels.

    Args:
        path: folder to make.
        seed: of the weights.
        mean: grey level that its processor subtracts, of 0 to 1.
    """
    config = ViTMAEConfig(
        hidden_size=20,
        intermediate_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        image_size=SIDE,
        patch_size=8,
        decoder_hidden_size=16,
        decoder_num_attention_heads=2,
        decoder_num_hidden_layers=1,
        decoder_intermediate_size=16,
    )
    randomise(ViTMAEModel(config), seed).save_pretrained(path)
    processor = {
        "image_processor_type": "ViTImageProcessor",
        "size": {"height": SIDE, "width": SIDE},
        "image_mean": [mean] * 3,
        "image_std": [0.25] * 3,
    }
    (path / "preprocessor_config.json").write_text(json.dumps(processor))
    return path
