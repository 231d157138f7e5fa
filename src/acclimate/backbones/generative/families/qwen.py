"""Qwen2.5-VL and Qwen3-VL: images of any shape as grids of patches, positions in three dimensions."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from acclimate.backbones.generative.families.base import Grid, OwnShape, VLMFamily, square

CELLS = 16  # vectors a side of an image of the fixed grid


class Qwen25VLFamily(VLMFamily):
    """Every image stretched to one square grid, by default 16 x 16 vectors; own shapes with `encode_images`."""

    name: ClassVar[str] = "qwen2_5_vl"
    model_class: ClassVar[str] = "Qwen2_5_VLForConditionalGeneration"
    processor: ClassVar[str] = "clip"
    shapes: ClassVar[str | None] = "Qwen2VLImageProcessor"
    axes: ClassVar[int] = 3

    def __init__(self, model: Any) -> None:
        super().__init__(model)
        vision = self.vision_config
        self.patch, self.merge, self.frames = vision.patch_size, vision.spatial_merge_size, vision.temporal_patch_size
        self.vision_width = int(vision.hidden_size)
        self._pin(CELLS)

    def prepare(self, processor: Mapping[str, Any]) -> None:
        """Take a smaller grid where the processor allows fewer pixels."""
        most = (processor.get("size") or {}).get("longest_edge") or processor.get("max_pixels")
        if most:
            self._pin(max(1, min(CELLS, math.isqrt(int(most)) // (self.patch * self.merge))))

    def _pin(self, cells: int) -> None:
        self.side, self.image_tokens = cells * self.patch * self.merge, cells**2

    @property
    def connector(self) -> nn.Module:
        """What merges patches into vectors."""
        return self.inner.visual.merger

    def processor_config(self, config: Mapping[str, Any]) -> Mapping[str, Any]:
        """Stretch to the grid."""
        return square(config, self.side)

    def closing(self, tokenizer: Any) -> int | None:
        """The token that ends an image."""
        return int(tokenizer.convert_tokens_to_ids("<|vision_end|>"))

    def positions(self, ids: Tensor, mask: Tensor, grids: Sequence[Grid | None]) -> Tensor:
        """Text counts in all three dimensions alike, an image in rows and columns (M-RoPE)."""
        is_image = ids == self.image_id
        counts = is_image.sum(1).tolist()
        side = self.side // self.patch
        pinned = {self.image_tokens: (1, side, side)}
        begins = is_image & ~torch.cat([torch.zeros_like(is_image[:, :1]), is_image[:, :-1]], dim=1)
        several = begins.sum(1).tolist()
        found: list[Grid] = []
        for grid, count, images in zip(grids, counts, several, strict=True):
            own = count // max(1, images)
            found += [grid or pinned.get(own, (1, self.merge, self.merge * own))] * images  # other vectors: one row
        return self.inner.get_rope_index(
            ids,
            mm_token_type_ids=is_image.int(),
            image_grid_thw=torch.tensor(found, device=ids.device),
            attention_mask=mask.long(),
        )[0]

    def patches(self, pixels: Tensor) -> Tensor:
        """Pixels (B, 3, H, W) to rows of patches, those of a vector together, (B * H * W / patch^2, values)."""
        patch, merge = self.patch, self.merge
        cells = pixels.unflatten(3, (-1, merge, patch)).unflatten(2, (-1, merge, patch))  # (B, 3, h, m, p, w, m, p)
        cells = cells.permute(0, 2, 5, 3, 6, 1, 4, 7)  # (B, h, w, m, m, 3, p, p)
        return cells[..., None, :, :].expand(*cells.shape[:6], self.frames, patch, patch).flatten(5).flatten(0, 4)

    def own(self, inputs: Mapping[str, Tensor]) -> OwnShape:
        """A grid of as many patches as the image has room for."""
        found = self.inner.get_image_features(inputs["pixel_values"], inputs["image_grid_thw"], return_dict=True)
        frames, rows, columns = inputs["image_grid_thw"][0].tolist()
        return OwnShape(self._payload(found), (frames, rows, columns))

    def _features(self, pixels: Tensor) -> Tensor:
        grid = [1, pixels.shape[2] // self.patch, pixels.shape[3] // self.patch]
        grids = torch.tensor([grid] * len(pixels), device=pixels.device)
        return self._payload(self.inner.get_image_features(self.patches(pixels), grids, return_dict=True))

    def _payload(self, found: Any) -> Tensor:
        return torch.cat(list(found.pooler_output))


class Qwen3VLFamily(Qwen25VLFamily):
    """As Qwen2.5-VL; features of lower layers are added to the states of the first layers (DeepStack).

    A vector is followed by those features, so it is as many times as wide.
    """

    name: ClassVar[str] = "qwen3_vl"
    model_class: ClassVar[str] = "Qwen3VLForConditionalGeneration"
    processor: ClassVar[str] = "siglip"

    def __init__(self, model: Any) -> None:
        super().__init__(model)
        self.levels = len(self.vision_config.deepstack_visual_indexes)
        self.payload = self.token_width * (1 + self.levels)

    def _payload(self, found: Any) -> Tensor:
        levels = [level if isinstance(level, Tensor) else torch.cat(list(level)) for level in found.deepstack_features]
        return torch.cat([torch.cat(list(found.pooler_output)), *levels], dim=-1)

    def language_inputs(self, image: Tensor, where: Tensor) -> dict[str, Any]:
        """The features of lower layers, and where they are added."""
        _, *levels = image.split(self.token_width, dim=1)
        return {"visual_pos_masks": where, "deepstack_visual_embeds": levels}
