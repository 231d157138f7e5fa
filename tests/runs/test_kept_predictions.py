"""What a run keeps of what its method said of the test images."""

from __future__ import annotations

import copy
import pickle
import shutil

import numpy as np
import pyarrow.parquet as pq
import pytest

import acclimate
from acclimate.data import load_data
from acclimate.errors import RunError
from acclimate.metrics import evaluate_classification
from tests.helpers.pictures import make_split_pictures, with_domains
from tests.helpers.runs import quick

FILE = "predictions.parquet"


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Pictures of two domains, hard to tell apart."""
    splits = {"train": 12, "val": 3, "test": 8}
    folder = make_split_pictures(tmp_path_factory.mktemp("kept") / "many", splits=splits, noise=400.0)
    return with_domains(load_data(folder), ("here", "there"))


@pytest.fixture(scope="module")
def probe(tmp_path_factory, tiny, data):
    """A linear probe with its folder."""
    folder = tmp_path_factory.mktemp("probe") / "run"
    return quick(data, tiny, method="linear-probe", out=folder, settings={}, shots="all"), folder


def test_they_are_those_that_the_record_measures(probe, data):
    model, folder = probe
    table, test = pq.read_table(folder / FILE), data.test
    assert table.equals(model.predictions)
    names = model.class_names
    assert table["key"].to_pylist() == test.keys
    assert table["path"].to_pylist() == test.paths
    assert table["domain"].to_pylist() == test.domains
    assert table["label"].to_pylist() == test.label_names
    assert set(table["test"].to_pylist()) == {"test"}
    assert set(table["ablation"].to_pylist()) == {""}
    shares = np.stack([table[f"p({name})"].to_numpy() for name in names], axis=1)
    assert shares.dtype == np.float32
    assert table["predicted"].to_pylist() == [names[best] for best in shares.argmax(1)]
    assert np.array_equal(table["probability"].to_numpy(), shares.max(1))
    again = evaluate_classification(shares.astype(float), test.labels, names, groups=test.groups)
    for name in ("accuracy", "balanced_accuracy", "macro_f1", "nll"):
        assert again[name]["value"] == pytest.approx(model.record["metrics"][name]["value"], abs=1e-6)


def test_sets_and_p_values_are_those_of_predict(probe, data):
    model, _ = probe
    said = model.predict(data.test, coverage=0.9)
    table = model.predictions
    assert table["set"].to_pylist() == ["|".join(one.set) for one in said]
    assert table["p_known"].to_numpy() == pytest.approx([one.p_known for one in said], abs=1e-6)
    assert table["known"].to_pylist() == [one.known for one in said]


def test_they_go_with_the_model(probe, tiny, tmp_path):
    model, folder = probe
    loaded = acclimate.load(folder, tiny)
    assert loaded.predictions.equals(model.predictions)
    for other in (copy.deepcopy(loaded), pickle.loads(pickle.dumps(loaded))):
        other.save(tmp_path / "again")
        assert (tmp_path / "again" / FILE).read_bytes() == (folder / FILE).read_bytes()


def test_a_run_of_an_earlier_release_has_none(probe, tiny, tmp_path):
    earlier = shutil.copytree(probe[1], tmp_path / "run")
    (earlier / FILE).unlink()
    loaded = acclimate.load(earlier, tiny)
    assert loaded.predictions is None
    assert not (loaded.save(tmp_path / "again") / FILE).exists()


def test_a_damaged_file_is_named_and_hinders_no_prediction(probe, tiny, tmp_path, data):
    damaged = shutil.copytree(probe[1], tmp_path / "run")
    (damaged / FILE).write_bytes(b"PAR1 and nothing else")
    loaded = acclimate.load(damaged, tiny)
    assert len(loaded.predict(data.test.select([0]))) == 1
    with pytest.raises(RunError, match=r"predictions\.parquet is damaged .*; restore it, or delete it"):
        _ = loaded.predictions


def test_several_sets_have_a_column_for_every_class(tiny, tmp_path):
    own = {"one": ("red", "green"), "two": ("blue", "red")}
    made = [load_data(make_split_pictures(tmp_path / name, classes=keys)) for name, keys in own.items()]
    model = quick(made, tiny, method="zero-shot", settings={}, shots="all", out=tmp_path / "run")
    rows = model.predictions.to_pylist()
    assert {row["test"] for row in rows} == {"one", "two"}
    for row in rows:
        told = {name for name, value in row.items() if name.startswith("p(") and value is not None}
        assert told == {f"p({name})" for name in own[row["test"]]}
