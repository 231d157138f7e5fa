"""What can encode images without the network: embedded models and copies in the Hub's cache; and any that is named."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from acclimate.backbones.catalogue import list_backbones
from acclimate.backbones.hub import cached_models, find_folder
from acclimate.backbones.kinds import GENERATIVE, KINDS, is_composed, kind_of
from acclimate.errors import BackboneError

if TYPE_CHECKING:
    import torch

    from acclimate.backbones.backbone import Backbone
    from acclimate.backbones.domain_encoder import DomainEncoder

VISION = "vision encoder"  # what one without a text tower is called; it serves as domain encoder
LARGEST = 4e9  # bytes of weights in the cache beyond which a model is not loaded unless it is named

logger = logging.getLogger("acclimate.backbones")


@dataclass(frozen=True)
class AtHand:
    """A model that can encode images.

    Attributes:
        name: what a user calls it: id, folder, or two of them that make one model.
        source: what loads it, without the network where it is in the cache.
        kind: "dual encoder", "generative VLM" or "vision encoder".
    """

    name: str
    source: str
    kind: str


def find_encoder(name: str) -> AtHand:
    """Return a model by its embedded name, folder or Hub id, downloaded where needed.

    Raises:
        BackboneError: nothing found under that name, or a damaged config.json.
    """
    if is_composed(name):
        return AtHand(name, name, KINDS[GENERATIVE].title)
    folder = find_folder(name)
    return AtHand(name, str(folder), _kind(folder))


def encoders_at_hand() -> list[AtHand]:
    """Return the embedded models, and those of supported families in the Hub's cache, none above `LARGEST`."""
    from acclimate.backbones.checkpoints import model_config
    from acclimate.backbones.families import FAMILIES
    from acclimate.backbones.generative.families import VLM_FAMILIES
    from acclimate.backbones.vision_families import VISION_FAMILIES

    found = [find_encoder(info.id) for info in list_backbones() if info.embedded]
    for name, folder in cached_models():
        try:
            model_type = model_config(folder).get("model_type")
        except BackboneError:  # damaged; nobody has asked for it
            continue
        if model_type not in {*FAMILIES, *VLM_FAMILIES, *VISION_FAMILIES}:
            continue
        if sum(file.stat().st_size for file in folder.glob("model*.safetensors")) > LARGEST:
            logger.info("%s is in the Hub's cache, and large: name it with `backbone` where it is to be tried", name)
            continue
        found.append(AtHand(name, str(folder), _kind(folder)))
    return found


def load_encoder(one: AtHand, device: torch.device | str = "cpu") -> Backbone | DomainEncoder:
    """Load a frozen encoder of images, of whatever kind.

    Raises:
        BackboneError: it cannot be loaded; see `load_backbone`, `load_vlm` and `load_domain_encoder`.
    """
    from acclimate.backbones.domain_encoder import load_domain_encoder
    from acclimate.backbones.generative import load_vlm
    from acclimate.backbones.loading import load_backbone

    if one.kind == VISION:
        return load_domain_encoder(one.source, device=device)
    return (load_vlm if one.kind == KINDS[GENERATIVE].title else load_backbone)(one.source, device=device)


def _kind(folder: Path) -> str:
    from acclimate.backbones.checkpoints import model_config
    from acclimate.backbones.families import FAMILIES
    from acclimate.backbones.vision_families import VISION_FAMILIES

    model_type = model_config(folder).get("model_type")
    if model_type in VISION_FAMILIES and model_type not in FAMILIES:
        return VISION
    return KINDS[kind_of(str(folder))].title
