"""Masked autoencoders: transformers' ViTMAE, made from scratch, trained on pixels, saved in Hugging Face format.

The only place that knows ViTMAE from the training side; `load_domain_encoder` reads what `save` writes.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from acclimate.backbones.domain_encoder import DomainEncoder, wrap_encoder
from acclimate.backbones.saving import save_encoder
from acclimate.data.transforms import ImageTransform
from acclimate.errors import ConfigError

_HALF = (0.5, 0.5, 0.5)
_one_at_a_time = threading.Lock()  # reading with nothing hidden changes the model for a while
_EPSILON = 1e-6  # beside the variance of a patch, as in the published code


@dataclass(frozen=True)
class MaeSize:
    """Shape of a masked autoencoder: encoder, decoder, and the image it is meant for.

    Attributes:
        width, depth, heads: of the encoder, a plain ViT; its MLP is four times as wide.
        decoder_width, decoder_depth, decoder_heads: of the decoder, which is thrown away after pretraining.
        image_size, patch_size: sides in pixels, unless the caller names others.
    """

    width: int
    depth: int
    heads: int
    decoder_width: int
    decoder_depth: int
    decoder_heads: int
    image_size: int
    patch_size: int


SIZES = {
    "tiny": MaeSize(192, 6, 3, 128, 2, 4, 64, 8),
    "small": MaeSize(384, 12, 6, 256, 4, 8, 224, 16),  # ViT-S/16
    "base": MaeSize(768, 12, 12, 512, 8, 16, 224, 16),  # ViT-B/16 with the decoder of the paper
}


class MaskedAutoencoder(nn.Module):
    """A masked autoencoder (He et al. 2022, arXiv 2111.06377): hide most patches of an image, draw them again.

    The weights start as in the published code: Xavier-uniform layers, normal tokens, fixed sine and cosine positions.
    transformers leaves the positions of a model made from a configuration at zero, in the encoder and in the decoder,
    with which no patch can know where it is; so they are set here.

    Its encoder is an `acclimate.backbones.Encoder`, before and after it is saved.

    Attributes:
        name: "mae-" and the size.
        transform: whole image, stretched to a square; mean and standard deviation may be replaced before training.

    Args:
        size: one of `SIZES`.
        image_size: side of the square input in pixels; none: that of the size.
        patch_size: side of a patch in pixels; none: that of the size.
        mask_ratio: share of the patches that is hidden.
        seed: of the initial weights.

    Raises:
        ConfigError: an unknown size, or patches that do not divide the image or leave nothing to see or to draw.
    """

    def __init__(
        self,
        size: str,
        image_size: int | None = None,
        patch_size: int | None = None,
        mask_ratio: float = 0.75,
        seed: int = 1,
    ) -> None:
        super().__init__()
        from transformers import ViTMAEConfig, ViTMAEForPreTraining

        side, patch = check_shape(size, image_size, patch_size, mask_ratio)
        shape = SIZES[size]
        self.name = f"mae-{size}"
        self.transform = ImageTransform(resize=(side, side), crop=None, resample="bicubic", mean=_HALF, std=_HALF)
        config = ViTMAEConfig(
            hidden_size=shape.width,
            num_hidden_layers=shape.depth,
            num_attention_heads=shape.heads,
            intermediate_size=4 * shape.width,
            decoder_hidden_size=shape.decoder_width,
            decoder_num_hidden_layers=shape.decoder_depth,
            decoder_num_attention_heads=shape.decoder_heads,
            decoder_intermediate_size=4 * shape.decoder_width,
            image_size=side,
            patch_size=patch,
            mask_ratio=mask_ratio,
            norm_pix_loss=True,
        )
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.model: Any = ViTMAEForPreTraining(config)
            _initialise(self.model, side // patch)

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return next(self.model.parameters()).device

    @property
    def dtype(self) -> torch.dtype:
        """Type of the weights."""
        return next(self.model.parameters()).dtype

    @property
    def parameter_counts(self) -> dict[str, int]:
        """Numbers of weights of the encoder, which is kept, and of the decoder."""
        parts = {"encoder": self.model.vit, "decoder": self.model.decoder}
        return {name: sum(weight.numel() for weight in part.parameters()) for name, part in parts.items()}

    @property
    def widths(self) -> Mapping[str, int]:
        """The one kind of features, and the width of the encoder."""
        return self._encoder().widths

    @property
    def fingerprint(self) -> str:
        """That of the encoder with its present weights, equal to that of the domain encoder once it is saved."""
        return self._encoder().fingerprint

    @property
    def identity(self) -> str:
        """The same with the architecture, see `Encoder`."""
        return self._encoder().identity

    def encode(self, pixels: Tensor, kinds: Collection[str]) -> dict[str, Tensor]:
        """The mean patch token of each image with nothing hidden, see `Encoder`."""
        with self._nothing_hidden():
            return self._encoder().encode(pixels, kinds)

    def loss(self, pixels: Tensor) -> Tensor:
        """Return the mean squared error on hidden patches, each normalised by its own mean and variance.

        Args:
            pixels: (B, 3, H, W), normalised by `transform`. What is hidden is drawn from torch's default generator.
        """
        return self.model(pixels, noise=self._noise(len(pixels)).to(pixels.device)).loss

    @torch.no_grad()
    def reconstruct(self, pixels: Tensor, seed: int = 0) -> tuple[Tensor, Tensor, float]:
        """Hide patches and draw them again.

        The model draws patches of mean 0 and variance 1; mean and variance of the hidden patch are put back, so a
        drawn patch shows its structure, not its brightness, which the model was never asked for.

        Args:
            pixels: (B, 3, H, W), normalised by `transform`.
            seed: of what is hidden.

        Returns:
            Which pixels are hidden, bool (B, H, W); normalised pixels (B, 3, H, W) with the hidden ones drawn; and the
            loss.
        """
        generator = torch.Generator().manual_seed(seed)
        was_training = self.model.training
        self.model.eval()
        output = self.model(pixels, noise=self._noise(len(pixels), generator).to(pixels.device))
        self.model.train(was_training)
        patches = self.model.patchify(pixels)  # (B, N, 3 P²)
        mean, variance = patches.mean(-1, keepdim=True), patches.var(-1, keepdim=True)
        hidden = output.mask.unsqueeze(-1)  # (B, N, 1)
        drawn = output.logits.float() * (variance + _EPSILON).sqrt() + mean
        image = self.model.unpatchify(torch.where(hidden > 0, drawn, patches))
        mask = self.model.unpatchify(hidden.expand_as(patches))[:, 0] > 0
        return mask, image, float(output.loss)

    def save(self, folder: Path) -> None:
        """Write configuration, weights and preprocessing; each file is whole or not there.

        Raises:
            RunError: when they cannot be written.
        """
        save_encoder(self.model, self._processor(), folder)

    def _encoder(self) -> DomainEncoder:
        return wrap_encoder(self.name, "vit_mae", self.model.vit, self.transform)

    @contextmanager
    def _nothing_hidden(self) -> Iterator[None]:
        with _one_at_a_time:
            config, training = self.model.vit.config, self.model.training
            hidden = config.mask_ratio
            config.mask_ratio = 0.0
            self.model.eval()
            try:
                yield
            finally:
                config.mask_ratio = hidden
                self.model.train(training)

    def _processor(self) -> dict[str, object]:
        height, width = self.transform.output_size
        return {
            "image_processor_type": "ViTImageProcessor",
            "do_resize": True,
            "size": {"height": height, "width": width},
            "resample": 3,
            "do_rescale": True,
            "rescale_factor": self.transform.rescale,
            "do_normalize": True,
            "image_mean": list(self.transform.mean),
            "image_std": list(self.transform.std),
        }

    def _noise(self, count: int, generator: torch.Generator | None = None) -> Tensor:
        """Random numbers (B, N) whose order says what is hidden; drawn on the CPU, the same for every device."""
        return torch.rand(count, self.model.vit.embeddings.patch_embeddings.num_patches, generator=generator)


def check_shape(size: str, image_size: int | None, patch_size: int | None, mask_ratio: float) -> tuple[int, int]:
    """Return the sides of image and patch in pixels.

    Raises:
        ConfigError: an unknown size, or patches that do not divide the image or leave nothing to see or to draw.
    """
    if size not in SIZES:
        raise ConfigError(f"size={size!r} is unknown; choose one of {', '.join(SIZES)}")
    side, patch = image_size or SIZES[size].image_size, patch_size or SIZES[size].patch_size
    if side % patch:
        near = [number for number in (side - side % patch, side - side % patch + patch) if number]
        raise ConfigError(
            f"patches of {patch} pixels do not divide images of {side}; "
            f"use `image_size={near[0]}`{f' or {near[1]}' if near[1:] else ''}, or another `patch_size`"
        )
    patches = (side // patch) ** 2
    visible = int(patches * (1 - mask_ratio))
    if not 0 < visible < patches:
        raise ConfigError(
            f"mask ratio {mask_ratio:g} shows {visible} of {patches} patches, and at least one must be seen and one "
            "hidden; use smaller patches, a larger image, or another `mask_ratio`"
        )
    return side, patch


@torch.no_grad()
def _initialise(model: Any, grid: int) -> None:
    for module in model.modules():
        if isinstance(module, nn.Linear):
            nn.init.xavier_uniform_(module.weight)
            nn.init.zeros_(module.bias)
    embeddings, decoder = model.vit.embeddings, model.decoder
    projection = embeddings.patch_embeddings.projection
    nn.init.xavier_uniform_(projection.weight.view(len(projection.weight), -1))
    nn.init.zeros_(projection.bias)
    nn.init.normal_(embeddings.cls_token, std=0.02)
    nn.init.normal_(decoder.mask_token, std=0.02)
    for positions in (embeddings.position_embeddings, decoder.decoder_pos_embed):
        positions.copy_(_positions(grid, positions.shape[-1]))


def _positions(grid: int, width: int) -> Tensor:
    """Sine and cosine positions (1, 1 + grid², width): half the channels tell the column, half the row.

    The token that stands for the image has none. The order of the halves is that of the published checkpoints.
    """
    quarter = width // 4
    rates = torch.exp(-math.log(10000.0) * torch.arange(quarter, dtype=torch.float64) / quarter)
    angles = torch.arange(grid, dtype=torch.float64)[:, None] * rates  # (grid, width / 4)
    waves = torch.cat([angles.sin(), angles.cos()], dim=1)  # (grid, width / 2)
    columns, rows = waves.repeat(grid, 1), waves.repeat_interleave(grid, dim=0)
    table = torch.cat([columns, rows], dim=1)
    return torch.cat([torch.zeros(1, width), table]).float().unsqueeze(0)
