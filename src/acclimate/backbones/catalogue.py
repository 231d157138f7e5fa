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
        group: id of its `Group`.
        activation: of a bare checkpoint file, which the weights do not tell: "quick_gelu" or "gelu".
        file: of a bare checkpoint, its name, with the folders that tell it from others.
        url: where it is, if it is not on the Hub.
        served: whether it can be loaded here.
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
    group: str = "everyday"
    activation: str = ""
    file: str = ""
    url: str = ""
    served: bool = True

    @property
    def embedded(self) -> bool:
        """Whether it ships with the package and needs no network."""
        return bool(self.folder)

    @property
    def path(self) -> Path | None:
        """Folder of an embedded model."""
        return HERE / self.folder if self.folder else None


@dataclass(frozen=True)
class Group:
    """Backbones that were trained on one kind of images.

    Attributes:
        id: how entries name it.
        title: a heading.
        advice: which to take.
        first: id of the one that is suggested for such images; empty: none.
        domains: ids of the domains of `acclimate.prompts` whose images these are.
    """

    id: str
    title: str
    advice: str
    first: str = ""
    domains: tuple[str, ...] = ()


@cache
def list_groups() -> tuple[Group, ...]:
    """Groups of the catalogue, in the order in which they are shown."""
    entries = yaml.safe_load((HERE / "groups.yaml").read_text(encoding="utf-8"))
    return tuple(Group(**{**entry, "domains": tuple(entry.get("domains", ()))}) for entry in entries)


@cache
def list_backbones() -> tuple[BackboneInfo, ...]:
    """All known backbones, embedded ones first. Any other folder or Hub id of a supported family loads as well."""
    entries = yaml.safe_load((HERE / "catalogue.yaml").read_text(encoding="utf-8"))
    return tuple(sorted((BackboneInfo(**entry) for entry in entries), key=lambda info: not info.embedded))


def find_info(name: str) -> BackboneInfo | None:
    """Return the entry of an id; none: it is not in the catalogue."""
    return next((info for info in list_backbones() if info.id == name), None)


def known_file(path: Path) -> BackboneInfo | None:
    """Return the entry whose checkpoint has the name of a file; none: no such one is known."""
    for info in list_backbones():
        parts = Path(info.file).parts
        if parts and path.parts[-len(parts) :] == parts:
            return info
    return None


def specialist(domain: str) -> BackboneInfo | None:
    """Return the backbone that is suggested for images of a domain of `acclimate.prompts`; none: no such one is known.

    Args:
        domain: its id.
    """
    return next((find_info(group.first) for group in list_groups() if domain in group.domains), None)
