"""What the forward pass takes from config.json beside the weights: the same weights give other features under others.

Widths and numbers of layers are not here: the shapes of the weights tell them. What changes training alone (dropout,
initial values) or nothing (paths, versions, labels) is not here either.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from acclimate.errors import BackboneError


def _heads(config: Any) -> int:
    return max(1, config.hidden_size // 64)


def _quarters(config: Any) -> list[int]:
    return [config.num_hidden_layers * part // 4 - 1 for part in (1, 2, 3, 4)]


def _plain(activation: str, epsilon: float) -> dict[str, Any]:
    return {"hidden_act": activation, "layer_norm_eps": epsilon}


def _tower(activation: str, epsilon: float, **others: Any) -> dict[str, Any]:
    return _plain(activation, epsilon) | {"num_attention_heads": _heads} | others


_CLIP, _SIGLIP = _tower("quick_gelu", 1e-5), _tower("gelu_pytorch_tanh", 1e-6)
_DINO = _tower("gelu", 1e-6, qkv_bias=True)

# The entries of each configuration that the forward pass reads, by its `model_type`, with their usual values. A usual
# value leaves the identity of an encoder as it was when only weights counted, so these must never be edited.
USUAL: dict[str, dict[str, Any]] = {
    "clip_text_model": _CLIP,
    "clip_vision_model": _CLIP,
    "siglip_text_model": _SIGLIP,
    "siglip_vision_model": _SIGLIP,
    "metaclip_2_text_model": _CLIP,
    "metaclip_2_vision_model": _CLIP,
    "bert": _tower("gelu", 1e-12),
    "roberta": _tower("gelu", 1e-12, pad_token_id=1),
    "xlm-roberta": _tower("gelu", 1e-12, pad_token_id=1),
    "vit": _tower("gelu", 1e-12, qkv_bias=True),
    "deit": _tower("gelu", 1e-12, qkv_bias=True),
    "vit_msn": _tower("gelu", 1e-6, qkv_bias=True),
    "ijepa": _tower("gelu", 1e-6, qkv_bias=True),
    "data2vec-vision": _tower("gelu", 1e-12, use_mean_pooling=True),
    "resnet": {"hidden_act": "relu", "downsample_in_first_stage": False, "downsample_in_bottleneck": False},
    "efficientnet": {"hidden_act": "swish", "batch_norm_eps": 1e-3, "pooling_type": "mean"},
    "vit_mae": _tower("gelu", 1e-12, qkv_bias=True),
    "dinov2": _DINO,
    "dinov2_with_registers": _DINO,
    "dinov3_vit": _tower("gelu", 1e-5, rope_theta=100.0),
    "dinov3_convnext": _plain("gelu", 1e-6),
    "swin": _plain("gelu", 1e-5) | {"qkv_bias": True},
    "swinv2": _plain("gelu", 1e-5) | {"qkv_bias": True, "window_size": 7, "pretrained_window_sizes": [0, 0, 0, 0]},
    "convnext": _plain("gelu", 1e-12),
    "convnextv2": _plain("gelu", 1e-12),
    "beit": _tower("gelu", 1e-12, use_mean_pooling=True),
    "sam_vision_model": _tower("gelu", 1e-6, qkv_bias=True, window_size=14, global_attn_indexes=_quarters),
}


@dataclass(frozen=True)
class Architecture:
    """What the forward pass takes from config.json.

    Attributes:
        settings: all of it, by part ("text", "vision") and name, ready for JSON.
        unusual: those that the weights and the family do not let one expect.
    """

    settings: Mapping[str, Mapping[str, Any]]
    unusual: Mapping[str, Mapping[str, Any]]

    @classmethod
    def of(cls, **configs: Any) -> Architecture:
        """Read configurations of transformers, with their defaults, by the name of the part that they describe.

        Raises:
            BackboneError: a number that is negative, infinite or none.
        """
        settings: dict[str, dict[str, Any]] = {}
        unusual: dict[str, dict[str, Any]] = {}
        for part, config in configs.items():
            for name, usual in USUAL[config.model_type].items():
                expected = usual(config) if callable(usual) else usual
                value = _as(expected, getattr(config, name))
                if isinstance(value, float) and not 0 <= value < math.inf:
                    raise BackboneError(f"config.json: {name}={value} is not a number that can be used; copy it again")
                settings.setdefault(part, {})[name] = value
                if value != expected:
                    unusual.setdefault(part, {})[name] = value
        return cls(settings, unusual)

    def plus(self, part: str, name: str, value: Any, usual: Any) -> Architecture:
        """Return it with one more setting."""
        more = {part: {**self.settings.get(part, {}), name: value}}
        odd = {part: {**self.unusual.get(part, {}), name: value}} if value != usual else {}
        return Architecture({**self.settings, **more}, {**self.unusual, **odd})

    def identify(self, fingerprint: str) -> str:
        """Return a hash of weights and architecture: that of the weights where nothing is unusual.

        Args:
            fingerprint: of the weights.
        """
        if not self.unusual:
            return fingerprint
        return hashlib.sha256(json.dumps([fingerprint, self.unusual], sort_keys=True).encode()).hexdigest()[:32]

    def differences(self, before: Mapping[str, Mapping[str, Any]]) -> list[str]:
        """Return what is not as it was, in words.

        Args:
            before: settings of an earlier time; what only one of them knows is not compared.
        """
        return [
            f"{part} {name} {value}, was {before[part][name]}"
            for part, names in self.settings.items()
            for name, value in names.items()
            if name in before.get(part, {}) and before[part][name] != value
        ]


def _as(expected: Any, value: Any) -> Any:
    """The value in the type of the usual one: 100 is 100.0, a tuple is a list."""
    if isinstance(expected, float):
        return float(value)
    return list(value) if isinstance(value, list | tuple) else value
