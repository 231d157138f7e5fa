"""Texts in CSV files that spreadsheets open: none of them is taken for a formula, and each can be read back as it was.

A spreadsheet runs a cell that begins with one of a few characters, and formulas can start programs or send what they
see (OWASP, "CSV injection"). As advised there, such texts get an apostrophe in front; numbers, such as -1, stay.
"""

from __future__ import annotations

import re

_STARTS = "=+\\-@\t\r\n＝＋－＠"
_FORMULA = re.compile(f"'*[{_STARTS}]")
_MARKED = re.compile(f"'+[{_STARTS}]")
_NUMBER = re.compile(r"[+-]?(\d+([.,]\d*)?|[.,]\d+)([eE][+-]?\d+)?")


def as_text(value: str) -> str:
    """Return a cell that a spreadsheet shows as `value`, and does not run.

    >>> as_text("=1+2"), as_text("-1"), as_text("cat"), as_text("'=x")
    ("'=1+2", '-1', 'cat', "''=x")
    """
    return f"'{value}" if _FORMULA.match(value) and not _NUMBER.fullmatch(value) else value


def from_text(cell: str) -> str:
    """Return what `as_text` was given.

    >>> from_text("'=1+2"), from_text("-1"), from_text("'cat'"), from_text("''=x")
    ('=1+2', '-1', "'cat'", "'=x")
    """
    return cell[1:] if _MARKED.match(cell) else cell
