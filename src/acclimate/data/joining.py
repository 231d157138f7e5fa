"""Several data sets as one, to train on all of them."""

from __future__ import annotations

import logging
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from acclimate.data.bands import named
from acclimate.data.columns import integers, text_table
from acclimate.data.dataset import COLUMNS, ImageData
from acclimate.data.held.stores import ChainedImages
from acclimate.data.ordering import some
from acclimate.data.rows import spelled, spelled_differently
from acclimate.errors import DataError

log = logging.getLogger("acclimate.data")


def join_data(parts: Sequence[ImageData], apart: bool = False) -> ImageData:
    """Return the images of several data sets as one, with the classes of all of them.

    Classes of one name become one class; names that differ in case or punctuation only stay apart, with a warning. Keys
    and groups get the name of their set in front; an image without a domain gets the name of its set as domain. Every
    image keeps its split.

    Args:
        parts: one or more data sets of different names.
        apart: whether the joined data know which image is of which set, see `ImageData.sets`.

    Raises:
        DataError: no data set, two of one name, images with several labels, or of which other bands are shown.
    """
    names = [part.name for part in parts]
    if not parts or len(set(names)) < len(names):
        raise DataError(f"cannot join the data sets {', '.join(names) or '(none)'}: give sets of different names")
    several = next((part.name for part in parts if part.targets.ndim > 1), None)
    if several is not None:
        raise DataError(f"{several}: its images have several labels, and such data are not joined; give one data set")
    if len({part.bands for part in parts}) > 1:
        shown = ", ".join(f"{part.name}: {named(part.bands) if part.bands else 'the first'}" for part in parts)
        raise DataError(f"of the images of {'+'.join(names)}, other bands are shown ({shown}); name the same `bands`")
    store = ChainedImages([part.store or () for part in parts]) if any(part.store for part in parts) else None
    columns: dict[str, list[str | None]] = {name: [] for name in (*COLUMNS, *(["set"] if apart else []))}
    for part in parts:
        columns["key"] += [f"{part.name}/{key}" for key in part.keys]
        columns["path"] += part.paths
        columns["label"] += part.label_names
        columns["domain"] += [domain or part.name for domain in part.domains]
        columns["group"] += [group and f"{part.name}/{group}" for group in part.groups]
        columns["split"] += part.splits
        if apart:
            columns["set"] += [part.name] * len(part)
    table = text_table(columns)
    if store is not None:
        table = table.append_column("row", integers(np.concatenate(list(map(_stored, parts, store.starts)))))
    order = sorted(range(len(columns["key"])), key=lambda row: str(columns["key"][row]))
    joined = ImageData(
        name="+".join(names),
        table=table.take(integers(order)),
        class_names=tuple(sorted({name for part in parts for name in part.class_names})),
        split_made={"sets": {part.name: part.split_made for part in parts}} if apart else None,
        split_origin="given" if all(part.split_origin == "given" for part in parts) else "made",
        skipped=tuple(sorted(f"{part.name}/{key}" for part in parts for key in part.skipped)),
        remarks=tuple(remark for part in parts for remark in part.remarks),
        store=store,
        bands=parts[0].bands,
        sets={part.name: part.class_names for part in parts} if apart else {},
        other_files=tuple(sorted(f"{part.name}/{file}" for part in parts for file in part.other_files)),
    )
    alike = spelled_differently(joined.class_names)
    if alike:
        shown = some([" = ".join(names) for names in alike])
        log.warning("%s: %s: %s", joined.name, spelled(len(alike), "class", "classes"), shown)
    return joined


def _stored(part: ImageData, start: int) -> NDArray[np.int64]:
    """Return the rows of the images of a part in a store in which its own begins at a row; 0 for those of files."""
    rows = part.table["row"].to_numpy() + start if part.store is not None else np.zeros(len(part))
    return rows.astype(np.int64)
