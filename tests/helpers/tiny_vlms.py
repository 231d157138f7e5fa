"""Tiny generative vision-language models with random weights, saved as transformers saves real ones."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import transformers
from torch import Tensor
from transformers import AutoTokenizer, LlavaConfig

import acclimate.backbones
from acclimate.backbones import Conversation, GenerativeVLM, load_vlm
from tests.helpers.tiny_backbones import randomise

MINI_VLM = Path(acclimate.backbones.__file__).parent / "mini_vlm"
TOKENS = {"bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0}
TEXT = {
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 8,
    "max_position_embeddings": 256,
    **TOKENS,
}
VISION = {
    "hidden_size": 24,
    "intermediate_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "image_size": 32,
    "patch_size": 8,
}


@dataclass
class VLMPair:
    """A tiny model loaded by us, and the same folder loaded by transformers alone.

    Attributes:
        folder: with its files.
        vlm: ours.
        plain: transformers'.
        inputs: what transformers' forward takes for conversations of one length, beside their ids: from ids (B, L),
            where responses stand (B, L), and pixels (B, 3, H, W).
    """

    folder: Path
    vlm: GenerativeVLM
    plain: Any
    inputs: Callable[[Tensor, Tensor, Tensor], dict[str, Tensor]]

    def pixels(self, count: int, seed: int = 0) -> Tensor:
        """Random normalised pixels."""
        size = self.vlm.image_size
        return torch.randn(count, 3, size, size, generator=torch.Generator().manual_seed(seed))

    def plain_logits(self, conversation: Conversation, pixels: Tensor) -> Tensor:
        """Logits (L, V) of all positions of one conversation without exemplars, by transformers' forward."""
        ids, response = conversation.ids[None], conversation.response[None]
        with torch.no_grad():
            return self.plain(input_ids=ids, **self.inputs(ids, response, pixels[None])).logits[0].float()


def load_vlm_pair(folder: Path, model_class: str, inputs: Callable[..., dict[str, Tensor]]) -> VLMPair:
    """Load a folder both ways."""
    plain = getattr(transformers, model_class).from_pretrained(folder, dtype=torch.float32).eval()
    return VLMPair(folder, load_vlm(folder), plain, inputs)


def tiny_llava(folder: Path, text: dict[str, Any] | None = None, seed: int = 0, **settings: Any) -> Path:
    """Save a LLaVA with mini-vlm's tokenizer and chat template.

    Args:
        folder: to make.
        text: entries of text_config that differ from `TEXT`.
        seed: of the weights.
        settings: entries of the configuration itself.
    """
    config = LlavaConfig(
        vision_config={"model_type": "clip_vision_model", **VISION},
        text_config={"model_type": "llama", "vocab_size": 6144, **TEXT, **(text or {})},
        image_token_index=3,
        **settings,
    )
    randomise(transformers.LlavaForConditionalGeneration(config), seed).save_pretrained(folder)
    for name in ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja"):
        shutil.copy(MINI_VLM / name, folder)
    write_processor(folder, "CLIPImageProcessor", crop_size={"height": 32, "width": 32}, size={"shortest_edge": 32})
    return folder


def write_processor(folder: Path, kind: str, **entries: Any) -> None:
    """Write the configuration of an image processor."""
    usual = {
        "image_processor_type": kind,
        "resample": 3,
        "rescale_factor": 1 / 255,
        "image_mean": [0.5, 0.5, 0.5],
        "image_std": [0.5, 0.5, 0.5],
    }
    (folder / "preprocessor_config.json").write_text(json.dumps(usual | entries))


def tokenizer_with(specials: list[str], folder: Path, **entries: Any) -> Any:
    """mini-vlm's tokenizer with more special tokens, saved in a folder."""
    tokenizer = AutoTokenizer.from_pretrained(MINI_VLM)
    tokenizer.add_special_tokens({"extra_special_tokens": specials}, replace_extra_special_tokens=False)
    for name, value in entries.items():
        setattr(tokenizer, name, value)
    tokenizer.save_pretrained(folder)
    return tokenizer


def _pixels_alone(ids: Tensor, response: Tensor, pixels: Tensor) -> dict[str, Tensor]:
    return {"pixel_values": pixels}


FAMILIES: dict[str, tuple[Callable[[Path], Path], str, Callable[..., dict[str, Tensor]]]] = {
    "llava": (tiny_llava, "LlavaForConditionalGeneration", _pixels_alone),
}
