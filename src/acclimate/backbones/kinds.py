"""The kinds of backbones; importing this needs neither torch nor transformers."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

DUAL = "dual"
JOIN = "+"  # between the names of a dual encoder and a language model that make one generative model
GENERATIVE = "generative"


@dataclass(frozen=True)
class Kind:
    """A kind of backbone, for messages.

    Attributes:
        title: what it is called.
        example: an embedded backbone of this kind.
        method: a method that adapts it.
    """

    title: str
    example: str
    method: str


KINDS = {
    DUAL: Kind("dual encoder", "mini-clip", "coop"),
    GENERATIVE: Kind("generative VLM", "mini-vlm", "vitask"),
}


def is_composed(name: str) -> bool:
    """Return whether a name is that of two models that make one, and of no folder."""
    return JOIN in name and not Path(name).expanduser().exists()


def kind_of(name: str) -> str:
    """Return the kind of a backbone by its config.json; what neither kind knows is taken for a dual encoder.

    Args:
        name: an embedded backbone, a folder or a Hub id.

    Raises:
        BackboneError: nothing found under that name, or a damaged config.json.
    """
    if is_composed(name):
        return GENERATIVE
    from acclimate.backbones.checkpoints import model_config
    from acclimate.backbones.generative.families import VLM_FAMILIES
    from acclimate.backbones.hub import find_folder

    model_type = model_config(find_folder(name)).get("model_type")
    return GENERATIVE if isinstance(model_type, str) and model_type in VLM_FAMILIES else DUAL
