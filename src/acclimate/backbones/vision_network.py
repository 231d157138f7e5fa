"""`VisionNetwork`: a copy of a vision encoder whose weights are learned, and which is a domain encoder after that."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from acclimate.backbones.domain_encoder import SPARE, DomainEncoder, wrap_encoder
from acclimate.backbones.saving import save_encoder
from acclimate.backbones.vision_families import POOLINGS, VISION_FAMILIES, watched_model
from acclimate.errors import BackboneError

if TYPE_CHECKING:
    from acclimate.backbones.dual_encoder import DualEncoder
    from acclimate.data.transforms import ImageTransform

BLOCK = re.compile(
    r"\b(?:layers?|blocks?|stages?)\.(\d+)"
)  # what the families call stages and blocks; ResNet has more inside


class VisionNetwork(nn.Module):
    """A copy of a vision encoder in float32 that learns all of its weights; the original stays as it is.

    Its features are exactly those of the domain encoder that `frozen` returns, or that is read from where `save` has
    put it. Of a backbone's own image tower ("self") they are the pooled ones, before the projection.

    Args:
        encoder: where its weights come from.

    Attributes:
        model: the transformers model.
        width: width F of its features.
        transform: its preprocessing.
    """

    transform: ImageTransform

    def __init__(self, encoder: DomainEncoder) -> None:
        super().__init__()
        self.model_type, self.model = encoder.copy_model()
        self.transform = encoder.transform
        self.width = self._wrapped("").width
        for name, weight in self.model.named_parameters():
            weight.requires_grad_(SPARE not in name)

    def forward(self, pixels: Tensor) -> Tensor:
        """Return the features (B, F) of pixels (B, 3, H, W), normalised by `transform`."""
        with watched_model(self, self.model_type, self.model.config):
            features: Tensor = POOLINGS[VISION_FAMILIES[self.model_type].pooling](self.model, pixels)
        return features

    def train(self, mode: bool = True) -> VisionNetwork:
        """Set the mode of learning, in which the statistics of batch norms stay those of pretraining."""
        super().train(mode)
        for module in self.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.eval()
        return self

    def depths(self) -> tuple[list[int], int]:
        """Return how deep each learned weight stands, in the order of `parameters`, and how many blocks there are.

        What comes before the first block is 0, block k is k (counted over all stages), and what comes after is the
        number of blocks plus 1.
        """
        keys = [
            tuple(BLOCK.findall(name)[:2]) for name, weight in self.model.named_parameters() if weight.requires_grad
        ]
        blocks = {key: number for number, key in enumerate(dict.fromkeys(key for key in keys if key), start=1)}
        last = max((place for place, key in enumerate(keys) if key), default=-1)
        return [blocks[key] if key else (len(blocks) + 1) * (place > last) for place, key in enumerate(keys)], len(
            blocks
        )

    def frozen(self, name: str) -> DomainEncoder:
        """Return the domain encoder that it is, with the same weights, which are not learned any more."""
        self.eval().requires_grad_(False)
        return self._wrapped(name)

    def save(self, folder: Path, processor: dict[str, Any]) -> None:
        """Write configuration, weights and preprocessing; `load_domain_encoder` reads them.

        Args:
            folder: where to.
            processor: what preprocessor_config.json says, see `DomainEncoder.processor`.

        Raises:
            RunError: when they cannot be written.
        """
        save_encoder(self.model, processor, folder)

    def _wrapped(self, name: str) -> DomainEncoder:
        return wrap_encoder(name, self.model_type, self.model, self.transform)


def copy_image_tower(backbone: DualEncoder) -> tuple[str, Any]:
    """Return the `model_type` and a copy of the image tower of a dual encoder, as a vision encoder of its family.

    Raises:
        BackboneError: the tower ends in a pooler, which an encoder of its family has not.
    """
    import transformers

    own, config = backbone._family.vision_model, backbone._family.vision_config
    family = VISION_FAMILIES[config.model_type]
    if getattr(own, "pooler", None) is not None and family.pooling != "pooler":
        raise BackboneError(
            f"{backbone.name}: the image tower ends in a pooler, which no encoder of the family {config.model_type} "
            "has, so it cannot be trained as a copy; name another domain encoder than self"
        )
    with torch.random.fork_rng(devices=[]):  # its first weights are not kept
        alone = getattr(transformers, family.model)(type(config)(**config.to_dict()), **family.options)
    # Some releases of transformers nest each tower once more inside its wrapper.
    getattr(alone, "vision_model", alone).load_state_dict(own.state_dict())
    return config.model_type, alone.to(backbone.device)
