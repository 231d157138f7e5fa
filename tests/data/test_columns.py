"""Arrow columns hold what they are given, and cost no other package."""

from __future__ import annotations

import subprocess
import sys

import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from acclimate.data.columns import integers, text_table, texts
from tests.helpers.pictures import make_pictures

cells = st.lists(st.none() | st.text(st.characters(codec="utf-8")))


@given(cells)
def test_texts_are_what_arrow_makes_of_them(values):
    column = texts(values)
    column.validate(full=True)
    assert column.equals(pa.array(values, pa.large_string()))


@given(st.lists(st.integers(-(2**63), 2**63 - 1)))
def test_whole_numbers_are_what_arrow_makes_of_them(values):
    assert integers(values).equals(pa.array(values, pa.int64()))


@given(cells.filter(len), st.data())
def test_rows_are_taken_in_the_order_asked_for(values, data):
    rows = data.draw(st.lists(st.integers(0, len(values) - 1)))
    table = text_table({"a": values, "b": values[::-1]}).take(integers(rows))
    assert table.to_pydict() == {"a": [values[row] for row in rows], "b": [values[::-1][row] for row in rows]}


def test_loading_imports_neither_datasets_nor_pandas(tmp_path):
    folder = make_pictures(tmp_path / "data")
    program = (
        "import sys; from acclimate.data import load_data, sample_shots\n"
        "data = load_data(sys.argv[1])\n"
        "assert len(sample_shots(data.train, 2, seed=1)) == 6\n"
        "print(*{'datasets', 'pandas', 'torch'} & sys.modules.keys())"
    )
    done = subprocess.run([sys.executable, "-c", program, str(folder)], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""
