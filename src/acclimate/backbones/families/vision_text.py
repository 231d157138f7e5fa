"""Transformers' VisionTextDualEncoderModel: an image tower and a text tower that were trained apart, and joined."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from torch import Tensor

from acclimate.backbones.architecture import Architecture
from acclimate.backbones.families.base import Family, clip_blocks
from acclimate.backbones.towers import Block
from acclimate.errors import BackboneError


class VisionTextFamily(Family):
    """A BERT or RoBERTa, read at its first token, and a ViT or CLIP's image tower; a linear projection on each.

    Every token of a text sees all others, and padding is masked: texts run at their own lengths and share no prefix.
    """

    name: ClassVar[str] = "vision-text-dual-encoder"
    causal_text: ClassVar[bool] = False
    trims_text: ClassVar[bool] = True
    text_pool: ClassVar[int] = 0
    vision_pool: ClassVar[int | None] = 0
    towers: ClassVar[Mapping[str, tuple[str, ...]]] = {
        "text_config": ("bert", "roberta", "xlm-roberta"),  # whose parts have the same names
        "vision_config": ("vit", "clip_vision_model"),
    }

    def __init__(self, model: Any) -> None:
        self._check_text(text := model.config.text_config)
        self.pad = int(text.pad_token_id)
        self._of_clip = model.config.vision_config.model_type == "clip_vision_model"
        super().__init__(model)
        self.embed_dim = int(model.config.projection_dim)

    @classmethod
    def model_class(cls) -> Any:
        """`transformers.VisionTextDualEncoderModel`."""
        from transformers import VisionTextDualEncoderModel

        return VisionTextDualEncoderModel

    @staticmethod
    def _check_text(config: Any) -> None:
        """Refuse text towers that are no plain encoder."""
        usual = {"is_decoder": False, "add_cross_attention": False, "position_embedding_type": "absolute"}
        for name, value in usual.items():
            if (found := getattr(config, name, value)) != value:
                raise BackboneError(f"config.json: text_config.{name}={found!r} cannot be followed; {value!r} can")

    @property
    def processor(self) -> str:
        """That of its image tower."""
        return "clip" if self._of_clip else "vit"

    @property
    def architecture(self) -> Architecture:
        """What the forward pass takes from config.json, with the activation behind the image tower."""
        found = super().architecture
        if getattr(self.vision_model, "pooler", None) is None:
            return found
        return found.plus("vision", "pooler_act", getattr(self.vision_config, "pooler_act", "tanh"), "tanh")

    @property
    def token_table(self) -> Tensor:
        """Embeddings of all tokens (vocabulary, D)."""
        return self.text_model.embeddings.word_embeddings.weight

    @property
    def text_positions(self) -> Tensor:
        """Position embeddings, plus the one type that all tokens have; RoBERTa counts from behind its padding."""
        table = self.text_model.embeddings
        first = 0 if self.text_config.model_type == "bert" else self.pad + 1
        return table.position_embeddings.weight[first:] + table.token_type_embeddings.weight[0]

    def enter_text(self, x: Tensor) -> Tensor:
        """The norm of the embeddings."""
        return self.text_model.embeddings.LayerNorm(x)

    def text_lengths(self, ids: Tensor) -> Tensor:
        """Up to the last token that is no padding."""
        return ids.shape[1] - (ids != self.pad).int().flip(1).argmax(dim=1)

    def leave_text(self, x: Tensor, project: bool) -> Tensor:
        """The tower's own pooler, where it has one, and the projection."""
        x = _pooled(self.text_model, x)
        return self.model.text_projection(x) if project else x

    def enter_vision(self, x: Tensor) -> Tensor:
        """CLIP's norm before the first layer; ViT has none."""
        return self.vision_model.pre_layrnorm(x) if self._of_clip else x

    @property
    def vision_projection(self) -> Tensor:
        """The projection, which has no bias."""
        return self.model.visual_projection.weight

    def leave_vision(self, x: Tensor, project: bool) -> Tensor:
        """Final norm, the tower's own pooler, where it has one, and the projection."""
        norm = self.vision_model.post_layernorm if self._of_clip else self.vision_model.layernorm
        x = _pooled(self.vision_model, norm(x))
        return self.model.visual_projection(x) if project else x

    def pooled_vision(self, found: Any) -> Tensor:
        """The first token where the tower has no pooler."""
        return found.last_hidden_state[:, 0] if found.pooler_output is None else found.pooler_output

    def _text_blocks(self) -> list[Block]:
        return bert_blocks(self.text_model)

    def _vision_blocks(self) -> list[Block]:
        return clip_blocks(self.vision_model, self.vision_config) if self._of_clip else vit_blocks(self.vision_model)


class VitBertFamily(VisionTextFamily):
    """The same without poolers, and texts may be projected by a network: what open_clip makes of a timm ViT and a BERT.

    `acclimate.backbones.families.vit_bert` holds the weights, since transformers has no such model.
    """

    name: ClassVar[str] = "vit-bert-clip"
    towers: ClassVar[Mapping[str, tuple[str, ...]]] = {"text_config": ("bert",), "vision_config": ("vit",)}

    @classmethod
    def model_class(cls) -> Any:
        """`acclimate.backbones.families.vit_bert.VitBertModel`."""
        from acclimate.backbones.families.vit_bert import VitBertModel

        return VitBertModel

    @property
    def architecture(self) -> Architecture:
        """What the forward pass takes from config.json, with the text positions that count."""
        positions = self.text_model.embeddings.position_embeddings.num_embeddings
        return super().architecture.plus("text", "context_length", self.context_length, positions)

    @property
    def text_positions(self) -> Tensor:
        """Those of the first positions, which it was trained with."""
        return super().text_positions[: int(self.model.config.context_length)]


def bert_blocks(model: Any) -> list[Block]:
    """The layers of a BERT or RoBERTa, whose norms stand behind attention and MLP."""
    return [
        Block(
            norm1=layer.attention.output.LayerNorm,
            q=layer.attention.self.query,
            k=layer.attention.self.key,
            v=layer.attention.self.value,
            out=layer.attention.output.dense,
            norm2=layer.output.LayerNorm,
            fc1=layer.intermediate.dense,
            activation=layer.intermediate.intermediate_act_fn,
            fc2=layer.output.dense,
            post_norm=True,
        )
        for layer in model.encoder.layer
    ]


def vit_blocks(model: Any) -> list[Block]:
    """The layers of a ViT, as releases of transformers before and after their renaming call them."""
    if hasattr(model, "layers"):
        return [
            Block(
                norm1=layer.layernorm_before,
                q=layer.attention.q_proj,
                k=layer.attention.k_proj,
                v=layer.attention.v_proj,
                out=layer.attention.o_proj,
                norm2=layer.layernorm_after,
                fc1=layer.mlp.fc1,
                activation=layer.mlp.activation_fn,
                fc2=layer.mlp.fc2,
            )
            for layer in model.layers
        ]
    return [
        Block(
            norm1=layer.layernorm_before,
            q=layer.attention.attention.query,
            k=layer.attention.attention.key,
            v=layer.attention.attention.value,
            out=layer.attention.output.dense,
            norm2=layer.layernorm_after,
            fc1=layer.intermediate.dense,
            activation=layer.intermediate.intermediate_act_fn,
            fc2=layer.output.dense,
        )
        for layer in model.encoder.layer
    ]


def _pooled(model: Any, x: Tensor) -> Tensor:
    """What the pooler of a tower makes of its first token (..., D)."""
    pooler = getattr(model, "pooler", None)
    return x if pooler is None else pooler.activation(pooler.dense(x))
