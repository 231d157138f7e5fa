"""Shards of WebDataset: tar archives in which files of one name but for the ending are about one image.

`0001.jpg` has its class in `0001.cls`, or as `label` (or another usual name) in `0001.json`, or in `0001.txt`, the
first of these that is there. JSON may say `domain`, `group` and `split`, too. The name ends at its first dot. See
https://github.com/webdataset/webdataset.
"""

from __future__ import annotations

import os
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from acclimate.data.formats import is_image_name
from acclimate.data.held.labelling import Facts, usual_label
from acclimate.data.ordering import some
from acclimate.data.tables import cells_of, plain
from acclimate.data.walking import is_passed_over
from acclimate.documents import load_json
from acclimate.errors import DataError
from acclimate.opening import open_regular

_OTHERS = Facts._fields[1:]
_TEXTS = ("cls", "txt")
_MOST = 1 << 20  # bytes of a text that are read
_BLOCK = 512


@dataclass
class _Sample:
    """What an archive has under one name: the images, each with its place and size, and the texts by their endings."""

    images: list[tuple[str, int, int]] = field(default_factory=list)
    texts: dict[str, bytes] = field(default_factory=dict)


class TarShard:
    """The images of a tar archive, which are read from their places in it.

    Args:
        file: an archive that is not compressed.

    Attributes:
        names: of the images within the file.

    Raises:
        DataError: it is damaged or compressed, has no image, or several under one name.
    """

    def __init__(self, file: Path) -> None:
        self.file = file
        samples = {key: sample for key, sample in _samples(file).items() if sample.images}
        if not samples:
            raise DataError(f"{file}: no image in this archive; WebDataset has KEY.jpg and KEY.cls for each")
        several = next((sample.images for sample in samples.values() if len(sample.images) > 1), None)
        if several is not None:
            names = some([name for name, _, _ in several])
            raise DataError(f"{file.name}: {names} are images of one name; WebDataset has one for each")
        self._places = [sample.images[0][1:] for sample in samples.values()]
        self._texts = {key: sample.texts for key, sample in samples.items()}
        self.names = [sample.images[0][0] for sample in samples.values()]

    def facts(self, labelled: bool) -> Iterator[Facts]:
        """Yield what is said of each image.

        Args:
            labelled: whether a label is asked for.

        Raises:
            DataError: an image has none, or its JSON cannot be read.
        """
        for key, texts in self._texts.items():
            place = f"{self.file.name}: {key!r}"
            found = _described(place, texts)
            if labelled and not found.label:
                raise DataError(f"{place} has no label; WebDataset has it as {key}.cls, or in {key}.json or {key}.txt")
            yield found

    def cell(self, row: int) -> dict[str, Any]:
        """Return the image of a row as `ImageData.store` has it.

        Raises:
            OSError: the archive cannot be read.
        """
        start, size = self._places[row]
        with open_regular(self.file) as stream:
            stream.seek(start)
            return {"bytes": stream.read(size), "path": None}


def _samples(file: Path) -> dict[str, _Sample]:
    samples: dict[str, _Sample] = {}
    try:
        with open_regular(file) as stream, tarfile.open(fileobj=stream, mode="r:") as archive:
            while (member := archive.next()) is not None:
                archive.members = []  # type: ignore[attr-defined]  # else it keeps all of them
                folder, name = os.path.split(member.name)
                if not member.isreg() or is_passed_over(name):
                    continue
                stem, _, ending = name.partition(".")
                sample = samples.setdefault(f"{folder}/{stem}" if folder else stem, _Sample())
                if is_image_name(f"_.{ending}"):
                    sample.images.append((member.name, member.offset_data, member.size))
                elif ending.lower() in (*_TEXTS, "json"):
                    content = archive.extractfile(member)
                    sample.texts[ending.lower()] = content.read(_MOST) if content else b""
            stream.seek(archive.offset)
            if stream.read(_BLOCK).strip(b"\x00"):  # where an archive ends, the standard library stops without a word
                raise tarfile.ReadError(f"byte {archive.offset:,} begins no file")
    except (tarfile.TarError, OSError, EOFError) as error:
        reason = " ".join(str(error).split())[:120] or "it ends early"
        raise DataError(
            f"{file}: not a readable tar archive, or a compressed one ({reason}); unpack it, or download it again"
        ) from error
    return samples


def _described(place: str, texts: dict[str, bytes]) -> Facts:
    """Return what the texts beside an image say; `place` names it in messages."""
    told = dict.fromkeys(Facts._fields, "")
    if "json" in texts:
        record = load_json(plain(texts["json"], f"{place}, its .json,"), f"{place}, its .json,")
        if not isinstance(record, dict):
            raise DataError(f'{place}: its .json is no object; write one, such as {{"label": "cat"}}')
        label = None if "cls" in texts else usual_label(f"{place}, its .json", list(record))
        wanted = [*([label.strip().lower()] if label else []), *_OTHERS]
        cells = cells_of(record, place, wanted, ())
        told |= {name: text for column, text in cells.items() if (name := column.strip().lower()) in _OTHERS}
        told["label"] = cells.get(label, "") if label else ""
    for ending in _TEXTS:
        told["label"] = told["label"] or plain(texts.get(ending, b""), f"{place}, its .{ending},")
    return Facts(**{name: text.strip() for name, text in told.items()})
