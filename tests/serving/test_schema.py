"""The server holds what its own schema says, whatever is sent."""

from __future__ import annotations

import subprocess
import sys

import pytest

from acclimate.serving import Limits
from tests.helpers.serving import serving
from tests.helpers.waiting import HANG

EXAMPLES = 25  # of each path
# Random bytes are what the schema calls an image, and no image: they are refused, as they should be.
LEFT_OUT = "positive_data_acceptance"


@pytest.mark.slow
def test_schemathesis_finds_nothing(model, tmp_path):
    with serving({"animals": model}, Limits(max_body_mb=1, max_files=4), token="s3cret") as client:
        words = [f"{client.url}/openapi.json", "--max-examples", EXAMPLES, "--seed", 1, "--workers", 1, "--no-color"]
        words += ["--exclude-checks", LEFT_OUT, "--mode", "all", "--generation-database", "none"]
        words += [word for name, value in client.headers.items() for word in ("--header", f"{name}: {value}")]
        done = subprocess.run(
            [sys.executable, "-m", "schemathesis.cli", "run", *map(str, words)],
            capture_output=True,
            text=True,
            timeout=HANG,
            cwd=tmp_path,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        assert "Operations:" in done.stdout
        assert client.get("/health").json()["status"] == "ok"
