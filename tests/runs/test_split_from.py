"""Runs on data that have grown, and run folders whose split was made by another rule."""

from __future__ import annotations

import json

import pytest
import torch

from acclimate.data import load_data
from acclimate.errors import RunError
from acclimate.runs import choose_evaluation_images
from acclimate.training.checkpoint import save_tensors
from tests.helpers.pictures import make_pictures, picture
from tests.helpers.runs import quick


def splits(data):
    return dict(zip(data.keys, data.splits, strict=True))


@pytest.fixture
def folder(tmp_path):
    return make_pictures(tmp_path / "data", per_class=10)


@pytest.fixture
def earlier(folder, tmp_path, tiny):
    """A run as releases before the stable rule left it, and the split that it had."""
    data = load_data(folder, split_rule="greedy")
    quick(data, tiny, method="zero-shot", settings={}, shots=2, out=tmp_path / "run")
    for name, forget in {"splits.json": ("made", "undrawn", "undrawn_hash"), "record.json": ()}.items():
        document = json.loads((tmp_path / "run" / name).read_text())
        document = {key: value for key, value in document.items() if key not in forget}
        document.get("data", {}).pop("split_made", None)
        (tmp_path / "run" / name).write_text(json.dumps(document))
    return tmp_path / "run", splits(data)


def test_a_run_holds_its_whole_split_for_the_next_one(folder, tmp_path, tiny):
    data = load_data(folder)
    first = quick(data, tiny, method="zero-shot", settings={}, shots=2, out=tmp_path / "first")
    document = json.loads((tmp_path / "first/splits.json").read_text())
    listed = [row["key"] for part in ("splits", "undrawn") for rows in document[part].values() for row in rows]
    assert sorted(listed) == data.keys
    assert document["made"] == first.record["data"]["split_made"] == dict(data.split_made)
    for number in range(5):
        picture(0, 50 + number).save(folder / f"cat/{50 + number}.png")
    grown = load_data(folder, split_from=tmp_path / "first")
    assert {key: splits(grown)[key] for key in data.keys} == splits(data)
    second = quick(grown, tiny, method="zero-shot", settings={}, shots=2, out=tmp_path / "second")
    assert second.record["data"]["split_made"]["kept"] == document["hash"]
    third = load_data(folder, split_from=tmp_path / "second")
    assert splits(third) == splits(grown)
    second.save(tmp_path / "saved")
    assert splits(load_data(folder, split_from=tmp_path / "saved")) == splits(grown)


def test_a_run_of_the_earlier_rule_is_found_with_that_rule(folder, earlier, tiny, caplog):
    run, _ = earlier
    with pytest.raises(RunError, match=r"other data or settings; .* was made with `split_rule='greedy'`, and that of"):
        quick(load_data(folder), tiny, method="zero-shot", settings={}, shots=2, out=run)
    with caplog.at_level("INFO", "acclimate"):
        quick(load_data(folder, split_rule="greedy"), tiny, method="zero-shot", settings={}, shots=2, out=run)
    assert "holds this very run, finished" in caplog.text
    with pytest.raises(RunError) as found:  # where the split is the same, it is not blamed
        quick(load_data(folder, split_rule="greedy"), tiny, method="zero-shot", settings={}, shots=3, out=run)
    assert "split" not in str(found.value)


def test_a_killed_run_of_the_earlier_rule_says_so_too(folder, earlier, tiny):
    run, _ = earlier
    (run / "record.json").unlink()
    save_tensors({"weight": torch.zeros(1)}, run / "checkpoint.safetensors", {"identity": "another"})
    with pytest.raises(RunError, match=r"a checkpoint of another run; .* was made with `split_rule='greedy'`"):
        quick(load_data(folder), tiny, method="zero-shot", settings={}, shots=2, out=run)


@pytest.mark.parametrize("split", ["auto", "test"])
def test_measuring_a_run_on_its_own_data_never_meets_what_it_has_seen(folder, earlier, split):
    """Whatever rule makes the split of the data now."""
    run, before = earlier
    data = load_data(folder)
    assert splits(data) != before
    chosen = choose_evaluation_images(run, data, split)
    assert set(chosen.keys) == {key for key, split in before.items() if split == "test"}


def test_a_split_that_is_named_for_other_data_is_the_one_they_have(earlier, tmp_path):
    data = load_data(make_pictures(tmp_path / "other", per_class=6, seed=9))
    assert choose_evaluation_images(earlier[0], data, "test").keys == data.test.keys
