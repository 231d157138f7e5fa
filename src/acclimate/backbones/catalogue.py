"""The backbones we know by name, as data; importing this needs neither torch nor transformers."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path

import yaml

from acclimate.backbones.kinds import DUAL

HERE = Path(__file__).parent


@dataclass(frozen=True)
class BackboneInfo:
    """One line of the catalogue.

    Attributes:
        id: Hub id, or the name of an embedded model.
        family: the `model_type` of its config.json.
        title: what people call it.
        input_size: height and width of its images in pixels.
        embed_dim: width of the joint space; of a generative model, width of its language model.
        domain: what it was trained on.
        licence: licence of the weights.
        paper: arXiv id, empty where there is none.
        parameters: millions, None where not stated.
        note: one remark.
        kind: what it is, see `acclimate.backbones.kinds`.
        folder: for an embedded model, its folder beside the catalogue.
    """

    id: str
    family: str
    title: str
    input_size: int
    embed_dim: int
    domain: str
    licence: str
    paper: str = ""
    parameters: float | None = None
    note: str = ""
    kind: str = DUAL
    folder: str = ""

    @property
    def embedded(self) -> bool:
        """Whether it ships with the package and needs no network."""
        return bool(self.folder)

    @property
    def path(self) -> Path | None:
        """Folder of an embedded model."""
        return HERE / self.folder if self.folder else None


@cache
def list_backbones() -> tuple[BackboneInfo, ...]:
    """All known backbones, embedded ones first. Any other folder or Hub id of a supported family loads as well."""
    entries = yaml.safe_load((HERE / "catalogue.yaml").read_text(encoding="utf-8"))
    return tuple(sorted((BackboneInfo(**entry) for entry in entries), key=lambda info: not info.embedded))
