"""The package `datasets` is an extra: all but its own data sets works without it."""

from __future__ import annotations

import subprocess
import sys

import pytest

from acclimate.errors import AcclimateError
from acclimate.extras import require
from tests.helpers.pictures import make_pictures

PROGRAM = """
import sys
from pathlib import Path

sys.modules["datasets"] = None  # importing it fails
from acclimate.data import ImageData, apply_splits, check_data, freeze_splits, load_data, sample_shots
from acclimate.data.columns import integers
from acclimate.errors import AcclimateError

folder = Path(sys.argv[1])
data = load_data(folder, on_corrupt="skip")
shots = sample_shots(data.train, 2, seed=1)
freeze_splits({"train": shots}, folder.parent / "splits.json", seed=1, shots=2)
assert apply_splits(data, folder.parent / "splits.json")["train"].keys == shots.keys
assert check_data(folder).pictures == 24

store = [{"image": {"bytes": data.image_bytes(row), "path": None}} for row in range(len(data))]
paths = data.table.schema.get_field_index("path")
table = data.table.append_column("row", integers(range(len(data))))
held = ImageData(data.name, table.set_column(paths, "path", [[None] * len(data)]), data.class_names, store=store)
assert [held.digest(row) for row in range(24)] == [data.digest(row) for row in range(24)]
assert held.select([-1]).image(0).tobytes() == data.image(23).tobytes()

try:
    load_data({"train": [], "test": []})
except AcclimateError as error:
    print(error)
"""


@pytest.mark.slow
def test_only_data_sets_of_the_package_need_it(tmp_path):
    folder = make_pictures(tmp_path / "data")
    done = subprocess.run([sys.executable, "-c", PROGRAM, str(folder)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout == (
        "cannot import 'datasets' (import of datasets halted; None in sys.modules); install it with "
        "`pip install 'acclimate[datasets]'`\n"
    )


def test_what_is_required():
    assert require("json", "never").loads("1") == 1
    with pytest.raises(
        AcclimateError, match=r"^cannot import 'no_such' \(No module named 'no_such'\); install it with"
    ):
        require("no_such", "some")
