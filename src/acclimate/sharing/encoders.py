"""The frozen encoders of a run that is sent: by the name under which anybody finds them, or with it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path
from typing import TYPE_CHECKING, Any

from acclimate.backbones.catalogue import BackboneInfo, find_info
from acclimate.backbones.domain_encoder import SELF
from acclimate.backbones.hub import HUB_FILE, HUB_ID
from acclimate.backbones.kinds import JOIN, is_composed
from acclimate.errors import RunError
from acclimate.runs.places import PLACES
from acclimate.runs.remote import ENCODERS
from acclimate.sharing.private import last_part, without_paths

if TYPE_CHECKING:
    from acclimate.runs import AdaptedModel

CONFIGS = (
    *("config.json", "preprocessor_config.json", "processor_config.json", "*image_processor*.json"),
    *("generation_config.json", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json"),
    *("chat_template.json", "head.json"),
)
OTHERS = (
    *("model.safetensors", "model-*.safetensors", "model.safetensors.index.json", "head.safetensors", "images.txt"),
    *("tokenizer.json", "vocab.json", "vocab.txt", "merges.txt", "chat_template.jinja"),
)
"""Files of an encoder that hold no paths: weights, vocabularies, and the SHA-256 of what a pretraining has seen."""


@dataclass(frozen=True)
class Needed:
    """A frozen encoder that a run needs.

    Attributes:
        option: what names it, `backbone` or `domain_encoder`.
        name: what it is called where the run is sent to.
        public: whether anybody finds it under this name: it is embedded or on the Hub.
        infos: what the catalogue knows of it; of two that make one, of each.
        sent: whether it goes with the run.
    """

    option: str
    name: str
    public: bool
    infos: tuple[BackboneInfo | None, ...]
    sent: bool = False

    @property
    def words(self) -> str:
        """What it is, in words."""
        return self.option.replace("_", " ")

    @property
    def hub_ids(self) -> list[str]:
        """The repositories of the Hub that it is made of."""
        parts = self.name.split(JOIN) if self.public and self.name != SELF else []
        return ["/".join(part.split("/")[:2]) for part in parts if "/" in part]

    @property
    def licences(self) -> list[str | None]:
        """The licence of the weights of each of its parts, where the catalogue knows it."""
        return [None if info is None else info.licence for info in self.infos]


def needed_encoders(adapter: Mapping[str, Any], record: Mapping[str, Any]) -> tuple[Needed, ...]:
    """Return the encoders that a run was trained with.

    Args:
        adapter, record: what `adapter.json` and `record.json` hold, as they are here.
    """
    places = record.get(PLACES) or {}
    known = {option: adapter.get(option) for option in ENCODERS}
    return tuple(_needed(option, one["id"], option in places) for option, one in known.items() if one)


def _needed(option: str, name: str, local: bool) -> Needed:
    parts = name.split(JOIN) if is_composed(name) else [name]
    infos = tuple(find_info(part) for part in parts)
    public = not local and all(
        part == SELF or info is not None or ((HUB_ID.fullmatch(part) or HUB_FILE.fullmatch(part)) and not _here(part))
        for part, info in zip(parts, infos, strict=True)
    )
    return Needed(option, name if public else JOIN.join(last_part(part) for part in parts), public, infos)


def _here(part: str) -> bool:
    return Path(part).expanduser().exists()


def encoder_files(model: AdaptedModel, option: str) -> dict[str, bytes | Path]:
    """Return the files of a local encoder of a loaded run, by the names under which they are sent.

    Raises:
        RunError: it is no folder of safetensors.
    """
    encoder = model.backbone if option == "backbone" else model.method.domain_encoder
    place = None if encoder is None else encoder.place
    folder = None if place is None else place.folder
    if folder is None or not folder.is_dir() or not any(folder.glob("model*.safetensors")):
        raise RunError(
            f"the {option.replace('_', ' ')} {model.method.name} was trained with is no folder with model.safetensors, "
            "which alone is sent; write it as one with `acclimate backbones convert`, and adapt with that"
        )
    return {f"{option}/{name}": content for name, content in _files(folder)}


def _files(folder: Path) -> Iterator[tuple[str, bytes | Path]]:
    for file in sorted(folder.iterdir()):
        if any(fnmatch(file.name, pattern) for pattern in OTHERS):
            yield file.name, file
        elif any(fnmatch(file.name, pattern) for pattern in CONFIGS):
            told = json.loads(file.read_text(encoding="utf-8"))
            clean = without_paths(told)
            yield file.name, file if clean == told else (json.dumps(clean, indent=2) + "\n").encode()
