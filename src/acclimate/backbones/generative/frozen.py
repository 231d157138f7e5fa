"""`FrozenVLM`: the weights of a generative model, and their vision tower as an encoder of images."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from functools import cached_property
from threading import RLock
from typing import TYPE_CHECKING, Any, TypeVar

import torch
from torch import Tensor, nn

from acclimate.backbones.architecture import Architecture
from acclimate.backbones.checkpoints import first_line
from acclimate.backbones.copying import Shared
from acclimate.backbones.encoder import check_kinds
from acclimate.backbones.fingerprint import fingerprint
from acclimate.backbones.generative.chat import ChatTokenizer
from acclimate.backbones.generative.families.base import VLMFamily
from acclimate.backbones.generative.images import ImageTokens
from acclimate.backbones.kinds import GENERATIVE
from acclimate.errors import BackboneError

if TYPE_CHECKING:
    from PIL import Image

    from acclimate.backbones.dual_encoder import DualEncoder
    from acclimate.data.transforms import ImageTransform

FACTS = ("name", "family", "image_size", "image_tokens", "token_width", "vision_width", "context_length", "vocabulary")
_NOT_SETTINGS = {"image_processor_type", "processor_class", "feature_extractor_type", "auto_map"}
PIXELS = 64 * 336 * 336  # that run through the vision tower at once

V = TypeVar("V", bound="FrozenVLM")


class FrozenVLM(Shared):
    """The weights of a generative model, what identifies them, and their vision tower as an `Encoder`.

    The half of `GenerativeVLM` that knows no text.
    """

    kind = GENERATIVE

    def __init__(
        self,
        name: str,
        family: VLMFamily,
        tokenizer: Any,
        template: str | None,
        processor: dict[str, Any] | None = None,
        weights: Callable[[], Iterable[tuple[str, Tensor]]] | None = None,
    ) -> None:
        self.name, self._family, self._processor, self._weights = name, family, processor, weights
        self.family = family.name
        family.prepare(processor or {})
        self.tokenizer = ChatTokenizer(tokenizer, template, family)
        self.token_width, self.vision_width = family.token_width, family.vision_width
        self.image_tokens, self.image_size = family.image_tokens, family.side
        self.context_length, self.vocabulary = family.context_length, family.vocabulary
        self.lock, self._looking = RLock(), RLock()  # images can be encoded while an adapter is on elsewhere
        self._closing = family.closing(tokenizer)
        family.model.requires_grad_(False).eval()

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle the place that it came from, or what it is made of."""
        if self.place is not None:
            from acclimate.backbones.generative.loading import load_vlm

            return self.reference(load_vlm)
        chat = self.tokenizer
        return type(self), (self.name, self._family, chat.tokenizer, chat.template, self._processor, self._weights)

    @property
    def model(self) -> nn.Module:
        """The frozen Hugging Face model that holds the weights: to look at, never to change."""
        return self._family.model

    @property
    def language_model(self) -> nn.Module:
        """The part of the model that adapters may change."""
        return self._family.language

    @property
    def dual(self) -> DualEncoder | None:
        """The dual encoder of a composed model, of which it has the image tower; None in all others."""
        return self._family.dual

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return self._family.model.device

    @property
    def dtype(self) -> torch.dtype:
        """Type of the weights."""
        return self._family.model.dtype

    def to(self: V, device: torch.device | str) -> V:
        """Move the weights to a device, in place; returns itself."""
        self._family.model.to(device)
        if self.dual is not None:
            self.dual.to(device)
        return self

    @cached_property
    def fingerprint(self) -> str:
        """Hash of the weights: equal for equal weights, however they are stored, sharded or loaded."""
        return fingerprint(self._weights() if self._weights else sorted(self._family.model.state_dict().items()))

    @cached_property
    def architecture(self) -> Architecture:
        """What the forward pass takes from config.json beside the weights."""
        return self._family.architecture

    @cached_property
    def identity(self) -> str:
        """Hash of weights, architecture, tokenizer and chat template."""
        return self.architecture.plus("text", "tokenizer", self.tokenizer.fingerprint, None).identify(self.fingerprint)

    @cached_property
    def transform(self) -> ImageTransform:
        """The evaluation transform of the vision tower; every image gets the same number of tokens."""
        from acclimate.data.transforms import ImageTransform

        if self._processor is None:
            raise BackboneError(f"{self.name}: no image processor configuration; load it from a folder that has one")
        return ImageTransform.from_processor_config(
            self._family.processor_config(self._processor), self._family.processor
        )

    @property
    def widths(self) -> Mapping[str, int]:
        """Kinds of image features: means over the tokens before and behind the connector, and all of both.

        In a composed model the first are the features of its dual encoder. All tokens before the connector,
        "vision_tokens", are there where the family makes nothing more of what it gives.
        """
        before = self._family.vision_tokens
        return {
            "image_features": self._family.summary_width,
            "connected_features": self.token_width,
            "image_tokens": self.image_tokens * self._family.payload,
            **({} if before is None else {"vision_tokens": before * self.vision_width}),
        }

    def describe(self) -> dict[str, Any]:
        """Facts about the backbone, ready for JSON."""
        parameters = sum(p.numel() for p in self._family.model.parameters())
        return {fact: getattr(self, fact) for fact in FACTS} | {"parameters": parameters}

    # ---------------------------------------------------------------------------------------------------------- images

    @torch.no_grad()
    def encode(self, pixels: Tensor, kinds: Collection[str]) -> dict[str, Tensor]:
        """Features of images, see `Encoder`; the vision tower runs once, whatever is asked for.

        Returns:
            "image_features" (B, vision_width), of a composed model (B, E) in the joint space, "connected_features"
            (B, D), "image_tokens" (B, T * D), which is what the other methods take, and "vision_tokens"
            (B, N * vision_width), what `LearnedConnector` takes. (Families that feed deeper layers, too, have wider
            tokens.)
        """
        check_kinds(self, kinds)
        if not kinds:
            return {}
        if pixels.ndim != 4 or tuple(pixels.shape[1:]) != (3, self.image_size, self.image_size):
            raise BackboneError(
                f"{self.name} takes pixels of shape (B, 3, {self.image_size}, {self.image_size}), got "
                f"{tuple(pixels.shape)}; prepare images with its own transform"
            )
        if not len(pixels):
            return {kind: torch.zeros(0, self.widths[kind], device=self.device, dtype=self.dtype) for kind in kinds}
        with self._looking:
            parts = [self._features(some, kinds) for some in pixels.split(max(1, PIXELS // pixels.shape[-1] ** 2))]
        return {kind: torch.cat([part[kind] for part in parts]) for kind in kinds}

    def _features(self, pixels: Tensor, kinds: Collection[str]) -> dict[str, Tensor]:
        tokens, vision, summary = self._family.features(pixels.to(self.device, self.dtype))
        if tokens.shape[1] != self.image_tokens or vision.shape[2] != self.vision_width:
            raise BackboneError(
                f"{self.name} makes {tokens.shape[1]} tokens of an image where config.json says {self.image_tokens}; "
                "use the files of one model"
            )
        found = {
            "image_features": summary,
            "connected_features": tokens[..., : self.token_width].mean(1),
            "image_tokens": tokens.flatten(1),
            "vision_tokens": vision.flatten(1),
        }
        return {kind: found[kind] for kind in kinds}

    @torch.no_grad()
    def encode_images(self, images: Sequence[Image.Image]) -> list[ImageTokens]:
        """Tokens of images in their own shapes, as the model's own image processor cuts or scales them.

        Where a family has one shape only, this is what `encode` gives. The other methods take the result in place of a
        tensor; conversations about an image are made with it as `image_tokens`.

        Args:
            images: of any mode and size.

        Raises:
            BackboneError: an image that the processor refuses.
        """
        if self._family.shapes is None:
            pixels = [self.transform.normalise(self.transform(image)) for image in images]
            return [self._own_pixels(one[None].to(self.device, self.dtype)) for one in pixels]
        return [self._own_shape(image) for image in images]

    def _own_pixels(self, pixels: Tensor) -> ImageTokens:
        with self._looking:
            tokens, _, summary = self._family.features(pixels)
        return ImageTokens(tokens[0], vision=summary[0])

    def _own_shape(self, image: Image.Image) -> ImageTokens:
        processor = self._image_processor
        try:
            inputs = processor(images=[image.convert("RGB")], return_tensors="pt", **self._asked)
        except Exception as error:  # processors raise what they like
            raise BackboneError(
                f"{self.name}: its image processor refuses an image of {image.width}x{image.height} pixels "
                f"({first_line(error)}); scale or crop it"
            ) from error
        moved = {
            name: value.to(self.device, self.dtype if value.is_floating_point() else None)
            if isinstance(value, Tensor)
            else value
            for name, value in inputs.items()
        }
        with self._looking, self._family.reading() as read:
            tokens, grid, tiles = self._family.own(moved)
        return ImageTokens(tokens, grid, tiles, read[0].flatten(0, -2).mean(0))

    @cached_property
    def _image_processor(self) -> Any:
        import transformers

        if self._processor is None:
            raise BackboneError(f"{self.name}: no image processor configuration; load it from a folder that has one")
        kind = f"{self._family.shapes}Pil"
        try:
            return getattr(transformers, kind)(**{k: v for k, v in self._processor.items() if k not in _NOT_SETTINGS})
        except (AttributeError, ImportError) as error:
            raise BackboneError(
                f"{self.name}: {kind} of transformers {transformers.__version__}, which leaves images their own "
                "shapes, needs torchvision; install a newer transformers, or torchvision, or use `encode`"
            ) from error

    @property
    def _asked(self) -> dict[str, Any]:
        return {"return_row_col_info": True} if "return_row_col_info" in vars(type(self._image_processor)) else {}
