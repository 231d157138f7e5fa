"""Tables that keep every figure and every word, however narrow the terminal is.

Figures that do not fit beside each other stand in blocks below each other, each with the first column. Words wrap
between words; where their columns would become too narrow to read, every row stands by itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from rich.cells import cell_len
from rich.console import Console
from rich.text import Text

from acclimate.cli.terminal import one_line

GAP = "  "
READABLE = 16  # columns that a wrapped cell of words needs


@dataclass
class Sheet:
    """Headings and rows of plain strings.

    Attributes:
        headings: one for each column.
        title: stands above; empty: nothing does.
        rows: a string for each heading, and the style of the row.
    """

    headings: Sequence[str]
    title: str = ""
    rows: list[tuple[list[str], str]] = field(default_factory=list)

    def __post_init__(self) -> None:
        """Names of data sets, which stand in headings and titles, may come from anywhere."""
        self.headings, self.title = [*map(one_line, self.headings)], one_line(self.title)

    def add(self, *cells: str, style: str = "") -> None:
        """Add a row."""
        self.rows.append(([*map(one_line, cells)], style))

    def widths(self) -> list[int]:
        """Return how many terminal columns each column needs."""
        cells = [list(self.headings), *(row for row, _ in self.rows)]
        return [max(map(cell_len, column)) for column in zip(*cells, strict=True)]


def figures(sheet: Sheet, width: int) -> list[Text]:
    """Return the lines of a table of figures: the first column left, the others right, in blocks that fit."""
    widths, lines = sheet.widths(), _title(sheet, width)
    for number, block in enumerate(_blocks(widths, width)):
        if number:
            lines.append(Text())
        for cells, style in [(list(sheet.headings), "bold"), *sheet.rows]:
            parts = [_pad(cells[k], widths[k], right=bool(k)) for k in block]
            lines.append(Text(GAP.join(parts).rstrip(), style))
    return lines


def words(sheet: Sheet, width: int) -> list[Text]:
    """Return the lines of a table of words, wrapped between words, or of one row below the other."""
    lines, widths = _title(sheet, width), _narrowed(sheet, width)
    if widths is None:
        return lines + _records(sheet, width)
    for cells, style in [(list(sheet.headings), "bold"), *sheet.rows]:
        wrapped = [wrap(cell, size) for cell, size in zip(cells, widths, strict=True)]
        for number in range(max(map(len, wrapped))):
            parts = [some[number] if number < len(some) else "" for some in wrapped]
            padded = [_pad(part, size) for part, size in zip(parts, widths, strict=True)]
            lines.append(Text(GAP.join(padded).rstrip(), style))
    return lines


def _title(sheet: Sheet, width: int) -> list[Text]:
    return [Text(line, "italic") for line in wrap(sheet.title, width)] if sheet.title else []


def show(lines: Sequence[Text], console: Console) -> None:
    """Print lines as they are; nothing is cut."""
    for line in lines:
        console.print(line, soft_wrap=True)


def _blocks(widths: Sequence[int], width: int) -> list[list[int]]:
    """Return the columns of each block: the first one, and as many others as fit beside it."""
    blocks: list[list[int]] = [[0]]
    used = widths[0]
    for column in range(1, len(widths)):
        if used + len(GAP) + widths[column] > width and len(blocks[-1]) > 1:
            blocks.append([0])
            used = widths[0]
        blocks[-1].append(column)
        used += len(GAP) + widths[column]
    return blocks


def _narrowed(sheet: Sheet, width: int) -> list[int] | None:
    """Return widths with which words fit, the widest columns narrowed first; none where they would be unreadable."""
    widths, cells = sheet.widths(), [list(sheet.headings), *(row for row, _ in sheet.rows)]
    longest = [
        max(cell_len(word) for cell in column for word in [*cell.split(), ""]) for column in zip(*cells, strict=True)
    ]
    floors = [max(word, min(whole, READABLE)) for word, whole in zip(longest, widths, strict=True)]
    floors[0] = widths[0]
    room = width - len(GAP) * (len(widths) - 1)
    if sum(floors) > room:
        return None
    while sum(widths) > room:
        widths[max((k for k in range(len(widths)) if widths[k] > floors[k]), key=lambda k: widths[k])] -= 1
    return widths


def _records(sheet: Sheet, width: int) -> list[Text]:
    """Return each row as its first cell, with the others below it, behind their headings."""
    lines = []
    for cells, _ in sheet.rows:
        lines.append(Text(cells[0], "bold"))
        for heading, cell in zip(sheet.headings[1:], cells[1:], strict=True):
            if cell:
                lines += [Text(f"{GAP}{part}") for part in wrap(f"{heading}: {cell}", width - len(GAP))]
    return lines


def wrap(text: str, width: int) -> list[str]:
    """Return text in lines of whole words; a word that is longer than a line is left whole."""
    lines = [""]
    for word in text.split():
        longer = f"{lines[-1]} {word}" if lines[-1] else word
        if cell_len(longer) > width and lines[-1]:
            lines.append(word)
        else:
            lines[-1] = longer
    return lines


def _pad(text: str, width: int, right: bool = False) -> str:
    gap = " " * (width - cell_len(text))
    return gap + text if right else text + gap
