"""A machine without the packages of the extras that read images."""

from __future__ import annotations

import sys

import pytest


def hide_extras(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make the packages that read HEIC and DICOM look as if they were not installed."""
    for package in ("pillow_heif", "pydicom"):
        monkeypatch.setitem(sys.modules, package, None)
