"""Tables in memory whose cells are images: `{bytes, path}` as `datasets` has them, or the bytes of files."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self

from acclimate.data.frames import frame_columns, read_frame
from acclimate.data.held.labelling import IMAGES, Facts, in_usual_order, usual_label
from acclimate.data.held.stores import Images
from acclimate.data.manifests import split_meant
from acclimate.data.ordering import some
from acclimate.data.rows import Gaps, Rows, tidy
from acclimate.errors import DataError

_OTHERS = Facts._fields[1:]


class FrameImages(Images):
    """A column of images as `ImageData.store` has them.

    Args:
        cells: the column: it has a length, and cells by their number.
    """

    def __init__(self, cells: Any) -> None:
        self._cells = cells

    @classmethod
    def of(cls, frame: Any) -> Self | None:
        """Return the images of a table of pandas, polars or Arrow; none where it has paths, or no such cells."""
        names = {name: str(name).strip().lower() for name in frame_columns(frame)}
        usual = [] if "path" in names.values() else [name for name, word in names.items() if word in IMAGES]
        columns = [_cells(frame[name]) for name in in_usual_order(usual)]
        return next((cls(cells) for cells in columns if _are_images(cells)), None)

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(self._cells)

    def cell(self, row: int) -> Any:
        """Return the image of a row."""
        found = _plain(self._cells[row])
        return {"bytes": bytes(found), "path": None} if isinstance(found, bytes | bytearray) else found


def read_frame_images(frame: Any, images: FrameImages) -> tuple[Rows, FrameImages]:
    """Return the rows of a table in memory whose cells are images, and these.

    Raises:
        DataError: there is no column of labels, or several; or a row has none, or a split of unknown meaning.
    """
    columns = list(map(str, frame_columns(frame)))
    title = type(frame).__name__
    label = usual_label(title, columns)
    if label is None:
        raise DataError(f"{title}: no column 'label' among {some(columns, 20)}; add one with the class of each image")
    _, columns, records = read_frame(frame, (label.strip().lower(), *_OTHERS))
    rows, gaps = Rows(title), Gaps(title)
    for number, cells in records:
        told = {name: tidy(text) for column, text in cells.items() if (name := column.strip().lower()) in _OTHERS}
        text = tidy(cells[label])
        if not text:
            raise DataError(f"{title} row {number}: the label is empty; fill it in or remove the row")
        told["split"] = split_meant(title, number, told.get("split", ""))
        rows.add(f"row/{number:09d}", None, text, **told)
        gaps.note(number, told | {"label": text})
    rows.remarks += gaps.remarks()
    rows.settle_numbers()
    return rows, images


def _cells(column: Any) -> Any:
    """Return a column whose cells are counted from 0: of pandas without its index."""
    return column.to_list() if hasattr(column, "to_list") and hasattr(column, "index") else column


def _plain(cell: Any) -> Any:
    return cell.as_py() if hasattr(cell, "as_py") else cell


def _are_images(cells: Any) -> bool:
    """Return whether the first cell that holds something holds an image rather than its path."""
    first = next((found for cell in cells if (found := _plain(cell)) is not None), None)
    return isinstance(first, bytes | bytearray) or (isinstance(first, Mapping) and "bytes" in first)
