"""What a family of dual encoders must tell about its Hugging Face model."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from typing import Any, ClassVar

from torch import Tensor, nn
from torch.nn import functional as F

from acclimate.backbones.architecture import Architecture
from acclimate.backbones.towers import Block, Tower, quick_gelu
from acclimate.errors import BackboneError


class Family(ABC):
    """A dual encoder's weights, seen as two towers with an entrance and an exit each.

    A new family is one subclass in one module, listed in `acclimate.backbones.families`.

    Args:
        model: the Hugging Face model; its parameters stay where they are.

    Attributes:
        name: the `model_type` of its config.json.
        text, vision: the tower runners.
        causal_text: whether a token of a text sees only those before it, so that texts may share prefixes.
        trims_text: whether padding is not seen, so that texts may run without it.
        text_pool: position of the token that stands for a text, -1 for the last.
        context_length: text positions.
        embed_dim: width E of the joint space.
        towers: of a family with towers of several kinds, their `model_type`s in each part of config.json; where none is
            written there, it is the first.
        vision_pool: position of the token that stands for the image, None when a head pools all of them.
        logit_scale: factor of the cosine similarity, already exponentiated.
        logit_bias: added to the scaled similarity.
    """

    name: ClassVar[str]
    causal_text: ClassVar[bool]
    trims_text: ClassVar[bool]
    text_pool: ClassVar[int] = -1
    vision_pool: ClassVar[int | None]
    towers: ClassVar[Mapping[str, tuple[str, ...]]] = {}
    embed_dim: int

    def __init__(self, model: Any) -> None:
        self.model = model
        config = model.config
        # Some releases of transformers nest each tower once more inside its wrapper.
        self.text_model: Any = getattr(model.text_model, "text_model", model.text_model)
        self.vision_model: Any = getattr(model.vision_model, "vision_model", model.vision_model)
        self.text_config, self.vision_config = config.text_config, config.vision_config
        self.text = Tower(self._text_blocks(), int(self.text_config.num_attention_heads), self.causal_text)
        self.vision = Tower(self._vision_blocks(), int(self.vision_config.num_attention_heads), causal=False)
        self.context_length = int(self.text_positions.shape[0])
        self.text_width = int(self.text_config.hidden_size)
        self.vision_width = int(self.vision_config.hidden_size)
        self.image_size = int(self.vision_config.image_size)
        self.logit_scale = float(model.logit_scale.detach().float().exp())
        self.logit_bias = float(model.logit_bias.detach().float()) if hasattr(model, "logit_bias") else 0.0
        if not math.isfinite(self.logit_scale):
            raise BackboneError("exp(logit_scale) is infinite; use the files of the original model")

    @classmethod
    @abstractmethod
    def model_class(cls) -> Any:
        """The transformers class that loads these weights."""

    @classmethod
    def check_config(cls, config: Mapping[str, Any]) -> None:
        """Refuse a config.json of this family with other towers than it serves, before weights are read.

        Args:
            config: its content.

        Raises:
            BackboneError: so it is.
        """
        for part, known in cls.towers.items():
            inner = config.get(part)
            kind = inner.get("model_type", known[0]) if isinstance(inner, Mapping) else inner
            if kind not in known:
                raise BackboneError(
                    f"config.json: {part}.model_type {repr(kind)[:60]} is not supported as a tower of {cls.name}, only "
                    f"{', '.join(known)}; use a model with these, or another of the same domain (acclimate backbones)"
                )

    @property
    def processor(self) -> str:
        """Family of its image processor, for files that do not name theirs."""
        return self.name

    @property
    def architecture(self) -> Architecture:
        """What the forward pass takes from config.json."""
        return Architecture.of(text=self.text_config, vision=self.vision_config)

    @property
    def token_table(self) -> Tensor:
        """Embeddings of all tokens (vocabulary, D)."""
        return self.text_model.embeddings.token_embedding.weight

    @property
    def text_positions(self) -> Tensor:
        """What is added to a token or a context vector by its position (context_length, D)."""
        return self.text_model.embeddings.position_embedding.weight

    @property
    def patch_grid(self) -> tuple[int, int]:
        """Rows and columns of the patches of an image, which are the last tokens of `embed_patches`."""
        side = self.image_size // int(self.vision_config.patch_size)
        return side, side

    def embed_tokens(self, ids: Tensor) -> Tensor:
        """Token ids (...) to embeddings (..., D), without positions."""
        return F.embedding(ids, self.token_table)

    def enter_text(self, x: Tensor) -> Tensor:
        """What happens between the embeddings (..., D) and the first layer; context vectors are among the tokens."""
        return x

    def embed_patches(self, pixels: Tensor) -> Tensor:
        """Normalised pixels (B, 3, H, W) to tokens (B, L, D), positions added.

        Raises:
            BackboneError: pixels of another size than the model's.
        """
        size = self.image_size
        if pixels.ndim != 4 or tuple(pixels.shape[-2:]) != (size, size):
            raise BackboneError(
                f"the image tower takes pixels of shape (B, 3, {size}, {size}), got {tuple(pixels.shape)}; "
                "prepare images with the backbone's own transform"
            )
        return self.vision_model.embeddings(pixels)

    def enter_vision(self, x: Tensor) -> Tensor:
        """What happens between the embeddings and the first layer; prompts are already among the tokens."""
        return x

    @abstractmethod
    def text_lengths(self, ids: Tensor) -> Tensor:
        """How many tokens (N,) of each text (N, L) its feature is made of; ids below 0 are context vectors."""

    @abstractmethod
    def leave_text(self, x: Tensor, project: bool) -> Tensor:
        """Pooled token (N, D) to text features, (N, E) or before the projection (N, D)."""

    @property
    @abstractmethod
    def vision_projection(self) -> Tensor:
        """The (E, vision_width) matrix that ends `leave_vision`; the identity where the family has none."""

    @abstractmethod
    def leave_vision(self, x: Tensor, project: bool) -> Tensor:
        """Pooled token (B, D), or all tokens where a head pools, to image features (B, E) or (B, D)."""

    def pooled_vision(self, found: Any) -> Tensor:
        """Image features (B, D) before the projection, of what the image tower's own forward has returned."""
        return found.pooler_output

    def _text_blocks(self) -> list[Block]:
        return clip_blocks(self.text_model, self.text_config)

    def _vision_blocks(self) -> list[Block]:
        return clip_blocks(self.vision_model, self.vision_config)


def clip_blocks(model: Any, config: Any) -> list[Block]:
    """The layers of a tower of CLIP or SigLIP.

    Args:
        model: the tower.
        config: of the tower.
    """
    return [
        Block(
            norm1=layer.layer_norm1,
            q=layer.self_attn.q_proj,
            k=layer.self_attn.k_proj,
            v=layer.self_attn.v_proj,
            out=layer.self_attn.out_proj,
            norm2=layer.layer_norm2,
            fc1=layer.mlp.fc1,
            activation=_activation(config.hidden_act, layer.mlp.activation_fn),
            fc2=layer.mlp.fc2,
        )
        for layer in model.encoder.layers
    ]


def _activation(name: str, module: nn.Module) -> Callable[[Tensor], Tensor]:
    return quick_gelu if name == "quick_gelu" else module
