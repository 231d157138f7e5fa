"""The check of a data set before training: corrupt files, duplicates, shortcuts, problems with classes and splits."""

from __future__ import annotations

from acclimate.data.check.checking import check_data
from acclimate.data.check.report import CheckReport, Finding

__all__ = ["CheckReport", "Finding", "check_data"]
