"""The real data sets, where they are at hand.

They are looked for in the folder that ACCLIMATE_SHARED_DATA names, or in `shared/data` beside the repository.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

DATA = Path(os.environ.get("ACCLIMATE_SHARED_DATA", Path(__file__).parents[3] / "shared" / "data"))

needs_real_data = pytest.mark.skipif(
    not DATA.is_dir(), reason=f"the real data sets are not in {DATA}; set ACCLIMATE_SHARED_DATA"
)


def real_set(name: str) -> Path:
    """The folder of one of them; a test that asks is skipped where it is missing."""
    if not (DATA / name).is_dir():
        pytest.skip(f"the real data set {name} is not in {DATA}; set ACCLIMATE_SHARED_DATA")
    return DATA / name
