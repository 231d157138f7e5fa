"""Tables in memory: the same data as the manifest that they would be as a file."""

from __future__ import annotations

import pathlib

import numpy as np
import pyarrow as pa
import pytest

from acclimate.data import find_captions, load_captions, load_data
from acclimate.errors import DataError
from tests.helpers.pictures import make_captioned_pictures, make_pictures

KINDS = ("arrow", "pandas", "batch")


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    return make_pictures(tmp_path_factory.mktemp("frames") / "data", per_class=5)


def frame(kind, columns):
    """A table in memory of one kind."""
    if kind == "pandas":
        return pytest.importorskip("pandas").DataFrame(columns)
    return pa.RecordBatch.from_pydict(columns) if kind == "batch" else pa.table(columns)


def columns_of(place, relative=False):
    paths = sorted(place.glob("*/*.png"))
    groups = [None if number % 2 else f"g{number}" for number in range(len(paths))]
    return {
        "Path": [str(path.relative_to(place) if relative else path) for path in paths],
        "label": [path.parent.name for path in paths],
        "group": groups,
        "pixels": [np.zeros(2).tolist()] * len(paths),  # nobody reads it
    }


@pytest.mark.parametrize("kind", KINDS)
def test_a_table_is_read_as_its_manifest(kind, place, tmp_path):
    columns = columns_of(place, relative=True)
    rows = [",".join([*(value or "" for value in row)]) for row in zip(*list(columns.values())[:3], strict=True)]
    (tmp_path / "table.csv").write_text("\n".join(["path,label,group", *rows]))
    expected = load_data(tmp_path / "table.csv", images_root=place)
    data = load_data(frame(kind, columns), images_root=place)
    assert data.table.equals(expected.table)
    assert data.class_names == expected.class_names
    assert load_data(frame(kind, columns_of(place))).paths == expected.paths


@pytest.mark.parametrize("kind", KINDS)
def test_tables_that_are_no_data(kind, place):
    columns = columns_of(place)
    for broken, words in [
        ({name: values for name, values in columns.items() if name != "label"}, "no column 'label' among Path, group"),
        ({**columns, "Path": [*columns["Path"][:-1], "gone.png"]}, r"row 14: no such image 'gone\.png'"),
        ({**columns, "label": [None, *columns["label"][1:]]}, "row 0: the label is empty"),
        ({name: values[:0] for name, values in columns.items()}, "no rows"),
    ]:
        with pytest.raises(DataError, match=words):
            load_data(frame(kind, broken))


def test_cells_of_pandas(place):
    """Paths, categories, numbers, and the missing values of several kinds."""
    pandas = pytest.importorskip("pandas")
    columns = columns_of(place)
    table = pandas.DataFrame({**columns, "path": [pathlib.Path(path) for path in columns["Path"]]}).drop(columns="Path")
    table["label"] = table["label"].map({"cat": 0, "dog": 1, "river": 2}).astype("category")
    table["group"] = pandas.Series([pandas.NA, None, float("nan"), pandas.NaT, "x"] * 3, dtype=object)
    table["features"] = 1  # of its own, which makes no data set of the package `datasets` of it
    data = load_data(table)
    assert data.class_names == ("0", "1", "2")
    assert sorted(set(data.groups)) == ["", "x"]
    twice = pandas.concat([table, table["label"]], axis=1)
    with pytest.raises(DataError, match="two columns are named 'label'"):
        load_data(twice)


@pytest.mark.parametrize("kind", KINDS)
def test_captions_in_a_table(kind, tmp_path):
    folder = make_captioned_pictures(tmp_path / "scenes")
    expected = load_captions(folder)
    lines = [line.split(",") for line in (folder / "captions.csv").read_text().splitlines()]
    columns = dict(zip(lines[0], map(list, zip(*lines[1:], strict=True)), strict=True))
    table = frame(kind, columns)
    assert find_captions(table) is table
    data = load_captions(table, images_root=folder)
    assert data.fingerprint == expected.fingerprint
    assert data.table.equals(expected.table)
    assert repr(data) == "CaptionData('table', 18 images, 54 captions, split given)"
    assert find_captions(frame(kind, {**columns, "label": columns["split"]})) is None


def test_no_image_at_all():
    datasets = pytest.importorskip("datasets")
    features = datasets.Features({"image": datasets.Image(), "label": datasets.ClassLabel(names=["cat", "dog"])})
    empty = datasets.Dataset.from_dict({"image": [], "label": []}, features=features)
    for source in (empty, datasets.DatasetDict({"train": empty, "test": empty})):
        with pytest.raises(DataError, match=r"^dataset: there is no image in these data; give at least one"):
            load_data(source)
