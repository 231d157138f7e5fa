from __future__ import annotations

import pytest

from tests.helpers.runs import quick


@pytest.fixture(scope="session")
def run(tmp_path_factory, pictures, tiny):
    """A run that needs no training."""
    out = tmp_path_factory.mktemp("scaling") / "animals"
    quick(pictures, tiny, method="zero-shot", settings={}, out=out)
    return out
