"""Images that may have several labels."""

from __future__ import annotations

import numpy as np
import pytest

from acclimate.data import MultiLabelData, join_data, load_data, sample_shots
from acclimate.data.units import SPLITS
from acclimate.errors import DataError


@pytest.fixture
def table(tmp_path):
    """Makes a table of empty files with these cells in the column `label`, and loads it."""

    def load(cells, **options):
        (tmp_path / "images").mkdir(exist_ok=True)
        lines = ["path,label"]
        for number, cell in enumerate(cells):
            (tmp_path / f"images/{number:04}.png").write_bytes(b"%d" % number)
            lines.append(f"images/{number:04}.png,{cell}")
        (tmp_path / "labels.csv").write_text("\n".join(lines) + "\n")
        return load_data(tmp_path / "labels.csv", **{"multi_label": True, **options})

    return load


def test_labels_are_read(table):
    data = table(["rain|night", "night | rain|night", "|", "rain", "dry"])
    assert isinstance(data, MultiLabelData)
    assert data.class_names == ("dry", "night", "rain")
    assert data.label_names == ["night|rain", "night|rain", "|", "rain", "dry"]
    assert data.targets.astype(int).tolist() == [[0, 1, 1], [0, 1, 1], [0, 0, 0], [0, 0, 1], [1, 0, 0]]
    assert data.counts() == {"dry": 1, "night": 2, "rain": 3}
    assert data.strata == ["night", "night", "|", "rain", "dry"]
    assert data.labels.tolist() == [1, 1, 3, 2, 0]
    part = data.select([0, 3])
    assert part.class_names == data.class_names
    assert part.targets.tolist() == [[False, True, True], [False, False, True]]


def test_a_forgotten_label_is_not_none_of_them(table):
    with pytest.raises(DataError, match="row 3: the label is empty"):
        table(["rain", ""])
    with pytest.raises(DataError, match=r"no image has a label; write them with '\|' between"):
        table(["|", "|"])


def test_without_the_option_a_cell_is_one_class(table):
    data = table(["rain|night", "rain", "rain|night"], multi_label=False)
    assert data.class_names == ("rain", "rain|night")


@pytest.fixture
def mixed(table):
    """Ten labels, of which an image has one to three, hardly two images the same ones; ten images have none."""
    random = np.random.default_rng(0)
    names = [f"label {number}" for number in range(10)]
    cells = ["|".join(random.choice(names, 1 + number % 3, replace=False)) for number in range(200)]
    return table(cells + ["|"] * 10)


def test_every_label_is_in_every_split(mixed):
    assert len(set(mixed.label_names)) > 90
    shares = {name: mixed.split(name).targets.sum(0) / mixed.targets.sum(0) for name in SPLITS}
    assert np.abs(shares["train"] - 0.5).max() < 0.25
    assert all((share > 0).all() for share in shares.values())
    assert {name: mixed.split(name).strata.count("|") for name in SPLITS} == {"train": 5, "val": 2, "test": 3}


def test_shots_are_of_each_label(mixed):
    one, four = (sample_shots(mixed, shots, 1) for shots in (1, 4))
    assert set(one.keys) < set(four.keys)
    for shots, drawn in ((1, one), (4, four)):
        assert drawn.targets.sum(0).min() >= shots
        assert drawn.strata.count("|") == shots
        assert len(drawn) <= 11 * shots
        assert len(set(drawn.keys)) == len(drawn)


def test_what_cannot_be_done_with_several_labels(mixed):
    with pytest.raises(DataError, match="several labels, and classes cannot be parted"):
        mixed.filter_classes(["label 1"])
    with pytest.raises(DataError, match="several labels, and such data are not joined"):
        join_data([mixed])
