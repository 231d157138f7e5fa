"""`DualEncoder`: an image tower and a text tower behind one small interface."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn

from acclimate.backbones.architecture import Architecture
from acclimate.backbones.copying import Shared
from acclimate.backbones.encoder import check_kinds
from acclimate.backbones.families import Family
from acclimate.backbones.fingerprint import fingerprint
from acclimate.backbones.kinds import DUAL
from acclimate.backbones.recording import frozen, watched_tower
from acclimate.backbones.tokenizer import USUAL_TOKENIZER, TextTokenizer
from acclimate.backbones.towers import (
    ClassPosition,
    ClassTokens,
    ContextAxis,
    Layout,
    LowRankDeltas,
    append_prompts,
    broadcast_context,
    check_context,
    class_sequences,
    make_layout,
    run_layout,
    run_texts,
)
from acclimate.errors import BackboneError

if TYPE_CHECKING:
    from acclimate.data.transforms import ImageTransform

FACTS = ("name", "family", "image_size", "embed_dim", "context_length", "causal_text", "logit_scale", "logit_bias")
SIZES = ("text_width", "text_layers", "text_heads", "vision_width", "vision_layers", "vision_heads")
MAX_TOKENS = 16384  # bounds the memory of one pass; larger batches are no faster


class DualEncoder(Shared):
    """A frozen pretrained dual encoder.

    Gradients flow to whatever a method passes in (contexts, prompts, deltas), never to the weights. Features are not
    L2-normalised. `load_backbone` makes one.

    Args:
        name: Hub id, catalogue id or folder it came from.
        family: its weights, seen as two towers.
        tokenizer: its Hugging Face tokenizer.
        processor: its image processor's configuration.
        weights: gives the stored (name, tensor) pairs sorted by name, for the fingerprint; None takes the loaded ones.

    Attributes:
        text_width, vision_width: widths of the towers' tokens.
        embed_dim: width E of the joint space.
        text_layers, vision_layers, text_heads, vision_heads: sizes of the towers.
        causal_text: whether text tokens see only what precedes them.
        context_length: text positions.
        image_size: height and width of the pixels the image tower takes.
        logit_scale, logit_bias: the pretrained logits are logit_scale * cosine + logit_bias.
    """

    def __init__(
        self,
        name: str,
        family: Family,
        tokenizer: Any,
        processor: dict[str, Any] | None = None,
        weights: Callable[[], Iterable[tuple[str, Tensor]]] | None = None,
    ) -> None:
        self.name, self._family, self._processor, self._weights = name, family, processor, weights
        self.tokenizer = TextTokenizer(tokenizer, family.context_length, trim=family.trims_text)
        self._layouts: WeakKeyDictionary[ClassTokens, dict[tuple[Any, ...], Layout]] = WeakKeyDictionary()
        self.family, self.kind = family.name, DUAL
        self.causal_text, self.context_length = family.causal_text, family.context_length
        self.text_width, self.vision_width, self.embed_dim = family.text_width, family.vision_width, family.embed_dim
        self.text_layers, self.vision_layers = len(family.text.blocks), len(family.vision.blocks)
        self.text_heads, self.vision_heads = family.text.heads, family.vision.heads
        self.image_size, self.logit_scale, self.logit_bias = family.image_size, family.logit_scale, family.logit_bias
        family.model.requires_grad_(False).eval()

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle the place that it came from, or what it is made of."""
        if self.place is not None:
            from acclimate.backbones.loading import load_backbone

            return self.reference(load_backbone)
        return DualEncoder, (self.name, self._family, self.tokenizer.tokenizer, self._processor, self._weights)

    @property
    def model(self) -> nn.Module:
        """The frozen Hugging Face model that holds the weights: to look at, never to change."""
        return self._family.model

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return self._family.token_table.device

    @property
    def dtype(self) -> torch.dtype:
        """Type of the weights."""
        return self._family.token_table.dtype

    def to(self, device: torch.device | str) -> DualEncoder:
        """Move the weights to a device, in place; returns itself."""
        self._family.model.to(device)
        self._layouts.clear()
        return self

    @cached_property
    def fingerprint(self) -> str:
        """Hash of the weights: equal for equal weights, however they are stored, sharded or loaded."""
        return fingerprint(self._weights() if self._weights else sorted(self._family.model.state_dict().items()))

    @property
    def architecture(self) -> Architecture:
        """What the forward pass takes from config.json beside the weights."""
        return self._family.architecture

    @cached_property
    def identity(self) -> str:
        """Hash of weights, architecture and tokenizer; that of the weights where the others are as they usually are."""
        tokens = self.tokenizer.fingerprint
        return self.architecture.plus("text", "tokenizer", tokens, USUAL_TOKENIZER).identify(self.fingerprint)

    @cached_property
    def transform(self) -> ImageTransform:
        """The evaluation transform of the image tower."""
        from acclimate.data.transforms import ImageTransform

        if self._processor is None:
            raise BackboneError(f"{self.name}: no image processor configuration; load it from a folder that has one")
        return ImageTransform.from_processor_config(self._processor, self._family.processor)

    @property
    def vision_projection(self) -> Tensor:
        """The matrix (E, vision_width) from the pooled image token to the joint space; the identity in SigLIP."""
        return self._family.vision_projection

    @property
    def widths(self) -> Mapping[str, int]:
        """Kinds of image features: in the joint space, and the pooled token before the projection into it."""
        return {"image_features": self.embed_dim, "pooled_features": self.vision_width}

    def scaled(self, cosines: Tensor) -> Tensor:
        """The pretrained logits that belong to cosine similarities of any shape, in the same shape."""
        return self.logit_scale * cosines + self.logit_bias

    def describe(self) -> dict[str, Any]:
        """Facts about the backbone, ready for JSON."""
        parameters = sum(p.numel() for p in self._family.model.parameters())
        return {fact: getattr(self, fact) for fact in FACTS + SIZES} | {"parameters": parameters}

    # ------------------------------------------------------------------------------------------------------------ text

    def tokenize(self, texts: Sequence[str]) -> Tensor:
        """Token ids (N, L) on the CPU, special tokens included.

        Towers that see no padding get L = the longest text, which changes no feature; others the full context length,
        padded as in pretraining. Longer texts lose their last tokens and keep EOS.
        """
        return self.tokenizer(texts)

    def word_embeddings(self, text: str) -> Tensor:
        """Token embeddings (n, D) of a text, without positions and special tokens, to start a context from."""
        ids = torch.tensor(self.tokenizer.plain(text), dtype=torch.long, device=self.device)
        return self._family.embed_tokens(ids).clone()

    def class_tokens(self, words: Sequence[str]) -> ClassTokens:
        """What `encode_context` needs to know about the classes; make it once and keep it.

        Args:
            words: what each class is called in a prompt, such as "bare land".

        Raises:
            BackboneError: no classes.
        """
        if not words:
            raise BackboneError("no class names given; a prompt needs at least one class")
        return self.tokenizer.class_tokens(words)

    def encode_text(
        self,
        texts: Sequence[str] | Tensor,
        project: bool = True,
        *,
        deltas: LowRankDeltas | None = None,
        share: bool = True,
        max_tokens: int = MAX_TOKENS,
        checkpoint: bool = False,
    ) -> Tensor:
        """Features of whole texts.

        Args:
            texts: N texts, or their ids (N, L) from `tokenize`.
            project: False gives the pooled token before the projection.
            deltas: low-rank changes of the text tower.
            share: run what all texts begin with once; False gives ids of one length a shape that does not depend on
                which they are.
            max_tokens: most tokens that run through the tower at once.
            checkpoint: recompute activations in the backward pass instead of keeping them.

        Returns:
            (N, E), or (N, text_width) without projection.
        """
        ids = texts.cpu() if isinstance(texts, Tensor) else self.tokenize(texts)
        if not len(ids):
            return torch.zeros(0, self.embed_dim if project else self.text_width, device=self.device, dtype=self.dtype)
        pooled = run_texts(self._family, ids, deltas=deltas, share=share, max_tokens=max_tokens, checkpoint=checkpoint)
        return self._family.leave_text(pooled, project)

    def encode_context(
        self,
        context: Tensor,
        names: ClassTokens,
        position: ClassPosition = "end",
        prompts: Sequence[Tensor] | None = None,
        deltas: LowRankDeltas | None = None,
        *,
        project: bool = True,
        per: ContextAxis = "shared",
        max_tokens: int = MAX_TOKENS,
        checkpoint: bool = False,
    ) -> Tensor:
        """Features of every class behind learned context vectors.

        The sequence is [SOS] context class "." [EOS] with `position="end"`; "middle" puts the class between the halves
        of the context, "front" before it. Families without SOS begin with what follows it. What all classes have in
        common at the beginning runs once (once per image), and each class attends to its keys and values.

        Args:
            context: n vectors in place of words, (n, D) shared by all classes; with `per="class"` (C, n, D), one for
                every class; with `per="image"` (B, n, D), one for every image.
            names: the classes, from `class_tokens`.
            position: where the class stands.
            prompts: deep prompts; entry i overwrites the context at the input of layer i + 1, (n, D) or shaped like
                context.
            deltas: low-rank changes of the text tower.
            project: False gives the pooled token before the projection.
            per: what the first axis of a three-dimensional context stands for.
            max_tokens: most tokens that run through the tower at once.
            checkpoint: recompute activations in the backward pass instead of keeping them.

        Returns:
            (C, E), or (B, C, E) with `per="image"`; text_width in place of E without projection.

        Raises:
            BackboneError: shapes that do not fit, or no room for context and class name in the text positions.
        """
        n = context.shape[-2]
        check_context(context, prompts or (), per, classes=len(names), width=self.text_width)
        if per == "image" and context.shape[0] == 0:
            return context.new_zeros(0, len(names), self.embed_dim if project else self.text_width)
        layout = self._layout(names, n, position, per == "class", max_tokens)
        vectors = [broadcast_context(v, per) for v in (context, *(prompts or ()))]
        pooled = run_layout(self._family, layout, vectors, deltas=deltas, max_tokens=max_tokens, checkpoint=checkpoint)
        features = self._family.leave_text(pooled, project)
        return features if per == "image" else features[0]

    def _layout(self, names: ClassTokens, n: int, position: ClassPosition, per_class: bool, max_tokens: int) -> Layout:
        cache, key = self._layouts.setdefault(names, {}), (n, position, per_class, max_tokens)
        if key not in cache:
            sequences = class_sequences(names, n, position, self.tokenizer.lead, self.context_length)
            cache[key] = make_layout(self._family, self.tokenizer.pad_rows(sequences), per_class, max_tokens)
        return cache[key]

    # ---------------------------------------------------------------------------------------------------------- images

    def encode_image(
        self,
        pixels: Tensor,
        prompts: Sequence[Tensor] | None = None,
        deltas: LowRankDeltas | None = None,
        project: bool = True,
        *,
        checkpoint: bool = False,
    ) -> Tensor:
        """Features of images.

        Args:
            pixels: (B, 3, H, W), normalised by the backbone's transform.
            prompts: entry 0, (n, D) or (B, n, D), is appended to the patch tokens (it carries no position, so where it
                stands changes nothing); entry l overwrites those tokens at the input of layer l.
            deltas: low-rank changes of the image tower.
            project: False gives the pooled token before the projection.
            checkpoint: recompute activations in the backward pass instead of keeping them.

        Returns:
            (B, E), or (B, vision_width) without projection.

        Raises:
            BackboneError: pixels or prompts of the wrong shape.
        """
        family = self._family
        x, deep = append_prompts(patches := family.embed_patches(pixels.to(self.dtype)), prompts or ())
        with watched_tower(self, family, range(patches.shape[1], x.shape[1]), deep):
            x = family.enter_vision(x)
            x = family.vision.run(x, prompts=deep, deltas=deltas, pool=family.vision_pool, checkpoint=checkpoint)
            return family.leave_vision(x, project)

    def encode(self, pixels: Tensor, kinds: Collection[str]) -> dict[str, Tensor]:
        """Features of images, see `Encoder`; the image tower runs once, whatever is asked for."""
        check_kinds(self, kinds)
        found: dict[str, Tensor] = {}
        with frozen():
            if "pooled_features" in kinds:
                found["pooled_features"] = pooled = self.encode_image(pixels.to(self.device), project=False)
                if "image_features" in kinds:
                    found["image_features"] = pooled @ self.vision_projection.T
            elif kinds:
                found["image_features"] = self.encode_image(pixels.to(self.device))
        return found
