"""Sources that are already `datasets` data sets: which column is the image, which the label."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from acclimate import arguments
from acclimate.data.held.labelling import LABELS, in_usual_order
from acclimate.data.manifests import OPTIONAL, REQUIRED, collect
from acclimate.data.ordering import some
from acclimate.data.rows import Gaps, Rows, split_of, tidy
from acclimate.data.tables import plain
from acclimate.errors import DataError
from acclimate.extras import require

if TYPE_CHECKING:
    import datasets

log = logging.getLogger("acclimate.data")


def read_datasets(source: Any, images_root: Path | None = None) -> tuple[Rows, datasets.Dataset | None]:
    """Read a `datasets.Dataset` or `DatasetDict`; return its rows and its encoded images (None where it names files).

    Raises:
        DataError: no image or label column, a split of unknown meaning, an empty label, or a streamed data set.
        AcclimateError: the package `datasets` is not installed.
    """
    datasets = require("datasets", extra="datasets")
    if isinstance(source, (datasets.IterableDataset, datasets.IterableDatasetDict)):
        raise DataError("a streamed data set has no fixed rows; load it with streaming=False")
    parts = {str(word): part for word, part in source.items()} if isinstance(source, Mapping) else {"": source}
    if not parts:
        raise DataError("the DatasetDict is empty; give it at least one split")
    for part in parts.values():
        if not isinstance(part, datasets.Dataset):
            what = f"{arguments.kind_of(source)} of {arguments.kind_of(part)}"
            raise DataError(f"cannot load data from {what}; give a DatasetDict, or a table with the columns path,label")
    for word in parts:
        if word and split_of(word) is None:
            raise DataError(
                f"unknown split {word!r} in the DatasetDict ({some(list(parts))}); rename it to train, val or test, "
                "or leave it out"
            )
    first = next(iter(parts.values()))
    name = first.info.dataset_name or first.info.builder_name or "dataset"
    image = image_column(first)
    if image is None:
        return _files(name, parts, images_root), None
    label = _label_column(name, first, image)
    rows = Rows(name)
    stores = []
    for word, part in parts.items():
        if {image, label} - set(part.column_names):
            raise DataError(
                f"{name}: split {word!r} has columns {some(part.column_names, 20)}, not {image!r} and {label!r}; "
                "give all splits the same"
            )
        _append(rows, name, part, label, word)
        encoded = part.select_columns([image]).with_format(None)
        encoded = encoded.rename_column(image, "image") if image != "image" else encoded
        stores.append(encoded.cast_column("image", datasets.Image(decode=False)))
    rows.settle_numbers()
    store = stores[0] if len(stores) == 1 else datasets.concatenate_datasets(stores)
    return rows, store


def _append(rows: Rows, name: str, part: datasets.Dataset, label: str, word: str) -> None:
    split = split_of(word) if word else None
    labels = _texts(part, label)
    extra = {
        field: _texts(part, field) if field in part.column_names else [""] * len(part)
        for field in ("domain", "group", "split")
    }
    gaps = Gaps(f"{name}{f' split {word!r}' if word else ''}")
    for row, text in enumerate(labels):
        place = f"{name}{f' split {word!r}' if word else ''} row {row}"
        if not text:
            raise DataError(f"{place}: no label in column {label!r}; label it or filter the row out")
        value = extra["split"][row]
        given = split if split is not None else (split_of(value) if value else "")
        if given is None:
            raise DataError(f"{place}: unknown split {value!r}; say train, val or test, or leave it empty")
        # Keys of fixed width keep the order of the rows when they are sorted.
        facts = {"domain": extra["domain"][row], "group": extra["group"][row], "split": given}
        rows.add(f"{word or 'row'}/{row:09d}", None, text, **facts)
        gaps.note(row, {"label": text, **facts})
    rows.remarks += gaps.remarks()


def _texts(part: datasets.Dataset, column: str) -> list[str]:
    import datasets

    feature = part.features[column]
    values = part.with_format(None)[column][:]
    if isinstance(feature, datasets.ClassLabel):
        return ["" if value is None or value < 0 else tidy(feature.int2str(int(value))) for value in values]
    return [tidy(plain(value, f"row {row}: column {column!r}")) for row, value in enumerate(values)]


def image_column(part: datasets.Dataset) -> str | None:
    """Return the column with the images of a data set, None where there is none."""
    import datasets

    found = [name for name, feature in part.features.items() if isinstance(feature, datasets.Image)]
    if len(found) > 1:
        found = in_usual_order(found)
        log.info("reading images from column %r, not %s", found[0], some(found[1:]))
    return found[0] if found else None


def _label_column(name: str, part: datasets.Dataset, image: str) -> str:
    import datasets

    columns = {column.lower(): column for column in reversed(part.column_names) if column != image}
    classes = [column for column in columns.values() if isinstance(part.features[column], datasets.ClassLabel)]
    usual = [columns[word] for word in LABELS if word in columns]
    candidates = [column for column in usual if column in classes] or usual or classes
    if not candidates or (not usual and len(classes) > 1):
        raise DataError(
            f"{name}: no label column among {some(part.column_names, 20)}; rename the one that holds the class to "
            "'label'"
        )
    feature = part.features[candidates[0]]
    if not isinstance(feature, (datasets.ClassLabel, datasets.Value)):
        raise DataError(
            f"{name}: column {candidates[0]!r} does not hold one label per image but {feature}; keep one class per row"
        )
    return candidates[0]


def _files(name: str, parts: dict[str, datasets.Dataset], images_root: Path | None) -> Rows:
    """Read data sets that hold the paths of images, not images: the columns of a manifest."""
    columns = list(next(iter(parts.values())).column_names)
    if set(REQUIRED) - {column.strip().lower() for column in columns}:
        raise DataError(
            f"{name}: no image column among {some(columns, 20)}; cast it with cast_column('image', "
            "datasets.Image()), or give path and label"
        )
    records = []
    for word, part in parts.items():
        known = [column for column in part.column_names if column.strip().lower() in (*REQUIRED, *OPTIONAL)]
        cells = {column: _texts(part, column) for column in known}
        for row in range(len(part)):
            record = {column: values[row] for column, values in cells.items()}
            records.append((row, {**record, "split": word} if word else record))
    if any(parts) and "split" not in columns:
        columns.append("split")
    rows = collect(name, name, columns, records, images_root or Path())
    rows.settle_numbers()
    return rows
