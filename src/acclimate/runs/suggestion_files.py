"""Suggestions as files: a table of them, and a contact sheet that shows them."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from PIL import Image

from acclimate.data.held import open_place
from acclimate.errors import DataError, RunError
from acclimate.files import replace_file
from acclimate.runs.contact_sheet import draw_contact_sheet
from acclimate.runs.prediction_files import SUFFIXES, open_writer
from acclimate.runs.suggesting import COLUMNS, Suggestions

SIDE = 256  # pixels that the shorter side of a JPEG keeps at least when it is decoded for the sheet

logger = logging.getLogger("acclimate.runs")


@dataclass(frozen=True)
class SuggestionFiles:
    """Where suggestions are written.

    Attributes:
        table: CSV, JSON lines or Parquet.
        sheet: PNG.
    """

    table: Path
    sheet: Path

    @classmethod
    def at(cls, out: Path) -> SuggestionFiles:
        """Return the files in a folder, or a table with the sheet beside it where a table is named.

        Raises:
            RunError: the folder cannot be made, or the name is that of another kind of file.
        """
        if out.suffix.lower() in SUFFIXES and not out.is_dir():
            return cls(out, out.with_suffix(".png"))
        try:
            out.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise RunError(f"cannot make the folder {out}: {error.strerror}; choose another `out`") from None
        return cls(out / "suggestions.csv", out / "sheet.png")

    def write(self, found: Suggestions) -> None:
        """Write both.

        Raises:
            RunError: they cannot be written.
        """
        writer = open_writer(self.table, COLUMNS)
        try:
            for row in found.rows:
                writer.write(asdict(row))
            writer.close()
        except BaseException:
            writer.abandon()
            raise
        replace_file(self.sheet, draw_contact_sheet(_cells(found)))


def _cells(found: Suggestions) -> Iterator[tuple[Image.Image, tuple[str, str]]]:
    for row in found.rows:
        try:
            image = open_place(row.path, SIDE, found.bands)
        except DataError as error:  # it was there a moment ago
            logger.warning("not on the sheet: %s", error)
            continue
        yield image, (f"{row.rank}. {row.label} {row.probability:.0%}", row.path)
