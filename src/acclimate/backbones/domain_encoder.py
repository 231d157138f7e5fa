"""`DomainEncoder`: a frozen vision encoder of a domain, beside the backbone."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Collection, Mapping
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from acclimate.backbones.architecture import Architecture
from acclimate.backbones.backbone import as_dual
from acclimate.backbones.checkpoints import (
    first_line,
    followed,
    load_model,
    model_config,
    processor_config,
    weight_files,
)
from acclimate.backbones.copying import Shared
from acclimate.backbones.encoder import check_kinds
from acclimate.backbones.fingerprint import digest_of_values
from acclimate.backbones.hub import Place, find_folder
from acclimate.backbones.preprocessing import image_transform
from acclimate.backbones.recording import frozen
from acclimate.backbones.towers import split
from acclimate.backbones.vision_families import (
    POOLINGS,
    VISION_FAMILIES,
    VisionFamily,
    patch_grid,
    patch_tokens,
    watched_model,
)
from acclimate.errors import BackboneError

if TYPE_CHECKING:
    from acclimate.backbones.backbone import Backbone
    from acclimate.data.transforms import ImageTransform

SELF = "self"
SPARE = "mask_token"  # stands for hidden patches in pretraining; nothing is hidden here
PIXELS = 128 * 224 * 224  # that run through the encoder at once, which bounds the memory of large images
SMALL = 64  # pixels a side; smaller ones are tried on loading, larger ones are enough for every family


class DomainEncoder(Shared):
    """A frozen vision encoder that gives one feature per image, not normalised.

    `load_domain_encoder` makes one.

    Args:
        name: Hub id or folder it came from; "self" for the backbone's own image tower.
        family: the `model_type` of its config.json.
        pooling: how its tokens become one feature.
        width: width F of the feature.
        transform: its own preprocessing.
        holder: what has the weights and can be moved.
        read: normalised pixels (B, 3, H, W) to features (B, F).
        weights: gives the fingerprint.
        architecture: what the forward pass takes from its config.json.
        patches: number P of its patches, 0 where it has none as wide as the feature.

    Attributes:
        image_size: height and width of the pixels it takes.
        place: where its files are, set by `load_domain_encoder`; none for "self" and for a model in memory.
    """

    def __init__(
        self,
        name: str,
        family: str,
        pooling: str,
        width: int,
        transform: ImageTransform,
        holder: Any,
        read: Callable[[Tensor], Tensor],
        weights: Callable[[], str],
        architecture: Architecture,
        patches: int = 0,
    ) -> None:
        self.name, self.family, self.pooling, self.width, self.patches = name, family, pooling, width, patches
        self.transform, self.image_size = transform, transform.output_size
        self._holder, self._read, self._weights = holder, read, weights
        self.architecture = architecture

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle the place that it came from, the backbone whose features it gives, or what it is made of."""
        if self.place is not None:
            return self.reference(load_domain_encoder)
        if self.name == SELF:
            return _own_features, (self._holder,)
        parts = (self.name, self.family, self.pooling, self.width, self.transform, self._holder)
        return DomainEncoder, (*parts, self._read, self._weights, self.architecture, self.patches)

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return self._holder.device

    @property
    def dtype(self) -> torch.dtype:
        """Type of the weights."""
        return self._holder.dtype

    def to(self, device: torch.device | str) -> DomainEncoder:
        """Move the weights to a device, in place (for "self" those of the backbone); returns itself."""
        self._holder.to(device)
        return self

    @cached_property
    def fingerprint(self) -> str:
        """Hash of the encoder's weights and of the way it is read, however the weights are stored or named."""
        return self._weights()

    @property
    def identity(self) -> str:
        """Hash of weights, pooling and architecture; the fingerprint where the architecture is as it usually is."""
        return self.architecture.identify(self.fingerprint)

    @property
    def widths(self) -> Mapping[str, int]:
        """One feature, and the tokens of all patches, one behind another, where there are some."""
        patches = {"domain_tokens": self.patches * self.width} if self.patches else {}
        return {"domain_features": self.width, **patches}

    def copy_model(self) -> tuple[str, Any]:
        """The `model_type` and a copy in float32 of the transformers model, to learn its weights; "self": the tower."""
        if self.name == SELF:
            from acclimate.backbones.vision_network import copy_image_tower

            model_type, model = copy_image_tower(self._holder)
        else:
            model_type, model = self.family, copy.deepcopy(self._holder)
        return model_type, model.float()

    def processor(self) -> dict[str, Any]:
        """What its preprocessor_config.json says.

        Raises:
            BackboneError: it was made in memory, and has none.
        """
        place = self._holder.place if self.name == SELF else self.place
        if place is None:
            raise BackboneError(f"{self.name}: no image processor configuration; load it from a folder that has one")
        return processor_config(place.folder)

    def describe(self) -> dict[str, Any]:
        """Facts about the encoder, ready for JSON."""
        facts = {fact: getattr(self, fact) for fact in ("name", "family", "pooling", "width", "fingerprint")}
        weights = (self._holder.model if self.name == SELF else self._holder).parameters()
        return facts | {"image_size": list(self.image_size), "parameters": sum(weight.numel() for weight in weights)}

    def encode_image(self, pixels: Tensor, patches: bool = False) -> Tensor:
        """Features of images.

        Args:
            pixels: (B, 3, H, W), normalised by `transform`; on any device.
            patches: give the tokens of the patches in place of one feature.

        Returns:
            (B, F), or (B, P F) of the patches, on the device of the encoder and in its type, without gradient.

        Raises:
            BackboneError: pixels of another shape.
        """
        if pixels.ndim != 4 or tuple(pixels.shape[1:]) != (3, *self.image_size):
            height, width = self.image_size
            raise BackboneError(
                f"the domain encoder takes pixels of shape (B, 3, {height}, {width}), got {tuple(pixels.shape)}; "
                "prepare images with its own transform"
            )
        if pixels.shape[0] == 0:
            width = self.widths["domain_tokens" if patches else "domain_features"]
            return torch.zeros(0, width, device=self.device, dtype=self.dtype)
        at_once = max(1, PIXELS // (pixels.shape[-2] * pixels.shape[-1]))
        read = partial(patch_tokens, self._holder, self.patches) if patches else self._read
        with frozen():
            parts = [self._pass(read, some.to(self.device, self.dtype), patches) for some in split(pixels, at_once)]
            return parts[0] if len(parts) == 1 else torch.cat(parts)

    def _pass(self, read: Callable[[Tensor], Tensor], pixels: Tensor, patches: bool) -> Tensor:
        """Return features of some pixels, whose attention may be recorded; of "self" the backbone sees to that."""
        if self.name == SELF:
            return read(pixels)
        with watched_model(self, self.family, self._holder.config, patches):
            return read(pixels)

    def encode(self, pixels: Tensor, kinds: Collection[str]) -> dict[str, Tensor]:
        """Features of images, see `Encoder`."""
        check_kinds(self, kinds)
        return {kind: self.encode_image(pixels, kind == "domain_tokens") for kind in set(kinds)}


def load_domain_encoder(
    name: str | Path,
    backbone: Backbone | None = None,
    device: torch.device | str = "cpu",
    dtype: torch.dtype = torch.float32,
) -> DomainEncoder:
    """Load a frozen vision encoder in evaluation mode.

    Args:
        name: a folder in Hugging Face format, a Hub id ("org/name"), or "self" for the image features of the backbone.
        backbone: for "self"; the encoder shares its weights.
        device: where to put the weights; "self" stays where the backbone is.
        dtype: type of the loaded weights, whatever type they are stored in.

    Raises:
        BackboneError: nothing found under that name, a model of an unsupported family, files that are missing, damaged
            or pickled, weights that do not fill the encoder or are not finite, preprocessing that does not fit it, what
            transformers would change on loading, or "self" without a backbone.
    """
    if str(name) == SELF:
        return _own_features(backbone)
    folder = find_folder(str(name), "domain encoder", SELF)
    model_type = model_config(folder).get("model_type")
    family = VISION_FAMILIES.get(model_type) if isinstance(model_type, str) else None
    if family is None or not isinstance(model_type, str):
        raise BackboneError(
            f"{folder / 'config.json'}: model_type {repr(model_type)[:80]} cannot be a domain encoder; "
            f"use a model of one of these families: {', '.join(VISION_FAMILIES)}"
        )
    files, processor = weight_files(folder), processor_config(folder)
    model = _encoder(folder, family, files)
    with followed(folder, "config.json"):
        encoder = wrap_encoder(str(name), model_type, model, _transform(folder, family, processor, model.config))
    _check_smallness(folder, encoder)
    encoder.place = Place.of(str(name), folder)
    if dtype != torch.float32:
        _ = encoder.fingerprint  # kept from here on: that of the exact values, before they are rounded
        model.to(dtype)
    return encoder.to(device)


def wrap_encoder(name: str, model_type: str, model: Any, transform: ImageTransform) -> DomainEncoder:
    """The domain encoder that a transformers model in memory is.

    Args:
        name: what it is called.
        model_type: a key of `VISION_FAMILIES`.
        model: of the class that its family names; it stays where it is.
        transform: its preprocessing.
    """
    family = VISION_FAMILIES[model_type]
    width = getattr(model.config, family.width)
    return DomainEncoder(
        name,
        model_type,
        family.pooling,
        int(width[-1] if isinstance(width, list | tuple) else width),
        transform,
        model,
        partial(POOLINGS[family.pooling], model),
        partial(_weights, model, family),
        Architecture.of(vision=model.config),
        math.prod(patch_grid(model.config, transform.output_size)) if family.patches else 0,
    )


def _own_features(own: Backbone | None) -> DomainEncoder:
    if own is None:
        raise BackboneError("domain encoder 'self' means the backbone's own image features; give a backbone with it")
    backbone = as_dual(own, "domain encoder 'self'")
    return DomainEncoder(
        SELF,
        backbone.family,
        "projected",
        backbone.embed_dim,
        backbone.transform,
        backbone,
        backbone.encode_image,
        lambda: digest_of_values((), f"{SELF} projected {backbone.fingerprint}"),
        backbone.architecture,
    )


def _encoder(folder: Path, family: VisionFamily, files: list[Path]) -> Any:
    import transformers

    advice = f"use a complete checkpoint of a model with a {family.model}"
    model_class = getattr(transformers, family.model)
    model = load_model(folder, model_class, files, torch.float32, advice, SPARE, **family.options)
    if not getattr(model.config, "vision_use_head", True):
        raise BackboneError(
            f"{folder}: this SigLIP has no pooling head (vision_use_head is false); use one that has it"
        )
    for key, value in family.settings.items():
        setattr(model.config, key, value)
    return model.requires_grad_(False).eval()


def _transform(folder: Path, family: VisionFamily, processor: dict[str, Any], config: Any) -> ImageTransform:
    size = None if family.any_size else config.image_size
    return image_transform(folder, processor, family.processor, (size, size) if isinstance(size, int) else size)


def _check_smallness(folder: Path, encoder: DomainEncoder) -> None:
    """Refuse preprocessing that leaves an encoder of any size less than its patches or stages need."""
    height, width = encoder.image_size
    if min(height, width) >= SMALL:
        return
    try:
        encoder.encode_image(torch.zeros(1, 3, height, width))
    except (RuntimeError, ValueError) as error:
        raise BackboneError(
            f"{folder}: preprocessor_config.json makes images of {height}x{width} pixels, and the encoder cannot take "
            f"these ({first_line(error)}); use the preprocessor_config.json of this model"
        ) from error


def _weights(model: Any, family: VisionFamily) -> str:
    weights = [weight for key, weight in model.named_parameters() if SPARE not in key]
    weights += [value for value in model.buffers() if value.is_floating_point()] if family.statistics else []
    return digest_of_values(weights, f"{family.model} {family.pooling}")
