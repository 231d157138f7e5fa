from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
from collections import Counter, defaultdict
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from acclimate.data import ImageData, apply_splits, freeze_splits, load_splits, make_splits, sample_shots
from acclimate.errors import ConfigError, DataError, RunError
from tests.helpers.rows import Row, data_of, rows_of_anything, simple

rules = st.sampled_from(["stable", "greedy"])
fractions = st.sampled_from([(0.2, 0.3), (0.0, 0.3), (0.2, 0.0), (0.01, 0.01), (0.45, 0.5), (0.0, 0.0)])


@settings(max_examples=80, deadline=None)
@given(rows_of_anything, st.integers(0, 5), fractions, rules)
def test_groups_stay_whole(rows: list[Row], seed: int, shares: tuple[float, float], rule: str) -> None:
    data = make_splits(data_of(rows), seed, *shares, rule=rule)
    assert data.keys == [row[0] for row in rows]
    assert set(data.splits) <= {"train"} | ({"val"} if shares[0] else set()) | ({"test"} if shares[1] else set())
    sides = defaultdict(set)
    for group, split in zip(data.groups, data.splits, strict=True):
        if group:
            sides[group].add(split)
    assert all(len(found) == 1 for found in sides.values())
    assert sum(len(part) for part in (data.train, data.val, data.test)) == len(data)


@settings(max_examples=40, deadline=None)
@given(rows_of_anything, st.integers(0, 5), st.randoms(), rules)
def test_a_split_does_not_depend_on_the_order_of_the_rows(
    rows: list[Row], seed: int, random: object, rule: str
) -> None:
    shuffled = list(rows)
    random.shuffle(shuffled)
    first, second = (make_splits(data_of(order), seed, rule=rule) for order in (rows, shuffled))
    assert dict(zip(first.keys, first.splits, strict=True)) == dict(zip(second.keys, second.splits, strict=True))
    assert sample_shots(first, 2, seed).keys == sample_shots(second, 2, seed).keys


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(1, 30), min_size=1, max_size=12), fractions.filter(all), rules)
def test_every_class_with_groups_enough_is_on_every_side(
    sizes: list[int], shares: tuple[float, float], rule: str
) -> None:
    rows = [(f"{g}-{n}", "a", "", f"g{g}") for g, size in enumerate(sizes) for n in range(size)] + [("z", "b", "", "")]
    data = make_splits(data_of(rows), 0, *shares, rule=rule)
    sides = {split for split, label in zip(data.splits, data.label_names, strict=True) if label == "a"}
    assert sides == {1: {"train"}, 2: {"train", "test"}}.get(len(sizes), {"train", "val", "test"})


@pytest.mark.parametrize("per_class", [4, 5, 10, 11, 37, 100])
@pytest.mark.parametrize("domains", [1, 3])
@pytest.mark.parametrize("rule", ["stable", "greedy"])
def test_proportions_are_near_in_every_class_and_domain(per_class: int, domains: int, rule: str) -> None:
    data = make_splits(simple(per_class, domains=domains), rule=rule)
    for counted, total in (
        (data.label_names, per_class * domains),
        (list(zip(data.label_names, data.domains, strict=True)), per_class),
    ):
        found = Counter(zip(counted, data.splits, strict=True))
        for label in set(counted):
            for split, share in (("train", 0.5), ("val", 0.2), ("test", 0.3)):
                assert abs(found[label, split] - share * total) <= 2


def test_seeds_differ_and_the_same_seed_is_stored_for_all_machines() -> None:
    data = simple(10, classes=2)
    assert make_splits(data, 0).splits != make_splits(data, 1).splits
    letters = {"train": "R", "val": "v", "test": "t"}
    stored = {"greedy": "tRRvRRtvtRRvRRtRvttR", "stable": "ttRtRRvvRRRvtRtRtRvR"}
    for rule, splits in stored.items():
        assert "".join(letters[split] for split in make_splits(data, 0, rule=rule).splits) == splits
    assert make_splits(data).splits == make_splits(data, rule="stable").splits
    domains = "".join(letters[split] for split in make_splits(simple(5, 1, domains=3), 0).splits)
    assert domains == "vRRtRtRRvtRRvRt"
    with pytest.raises(ConfigError, match="`split_rule='greddy'` is unknown; say one of stable, greedy"):
        make_splits(data, rule="greddy")


def test_a_group_with_several_labels_follows_its_most_frequent_one() -> None:
    rows = [(f"{g}-{n}", "b" if n == 2 else "a", "", f"g{g}") for g in range(10) for n in range(3)]
    data = make_splits(data_of(rows))
    assert Counter(data.splits) == {"train": 15, "test": 9, "val": 6}


def test_single_pictures_stay_in_train_and_are_named(caplog: pytest.LogCaptureFixture) -> None:
    rows = [(f"a{n}", "a", "", "") for n in range(5)] + [("b", "lonely", "", "")]
    with caplog.at_level(logging.INFO, "acclimate.data"):
        data = make_splits(data_of(rows))
    assert data.splits[-1] == "train"
    assert [record.levelname for record in caplog.records if "lonely" in record.getMessage()] == ["WARNING"]


@pytest.mark.parametrize("shares", [(-0.1, 0.3), (0.2, 1.0), (0.5, 0.5), (float("nan"), 0.1), ("a", 0.1)])
def test_impossible_fractions(shares: tuple[float, float]) -> None:
    with pytest.raises(ConfigError, match=r"`(val|test)_fraction="):
        make_splits(simple(4), 0, *shares)


# ---------------------------------------------------------------- frozen splits


def freeze(data: ImageData, path: Path) -> dict:
    return freeze_splits(
        {"train": sample_shots(data.train, 2, 1), "val": data.val, "test": data.test}, path, seed=1, shots=2
    )


def test_frozen_splits_come_back(tmp_path: Path) -> None:
    data = make_splits(simple(10, domains=2, group_size=2))
    written = freeze(data, tmp_path / "new" / "splits.json")
    assert load_splits(tmp_path / "new" / "splits.json") == written
    assert set(written) == {"version", "seed", "shots", "source", "made", "splits", "hash"}
    assert written["made"] == {"rule": "stable", "seed": 0, "val_fraction": 0.2, "test_fraction": 0.3}
    assert set(written["splits"]["train"][0]) == {"key", "label", "domain", "group"}
    assert [file.name for file in (tmp_path / "new").iterdir()] == ["splits.json"]
    back = apply_splits(data, tmp_path / "new" / "splits.json")
    assert back["test"].keys == data.test.keys
    assert back["train"].keys == sample_shots(data.train, 2, 1).keys
    assert apply_splits(data, written)["val"].labels.tolist() == data.val.labels.tolist()


def test_the_hash_is_that_of_the_assignment_alone(tmp_path: Path) -> None:
    data = make_splits(simple(10))
    order = np.random.default_rng(0).permutation(len(data))
    shuffled = data.select(order)
    first = freeze(data, tmp_path / "a.json")
    second = freeze(shuffled, tmp_path / "b.json")
    assert (tmp_path / "a.json").read_bytes() == (tmp_path / "b.json").read_bytes()
    parts = {"train": data.train, "val": data.val, "test": data.test}
    third = freeze_splits(parts, tmp_path / "c.json", seed=1, shots="all")
    assert first["hash"] == second["hash"] != third["hash"]


def test_edited_and_foreign_files_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "splits.json"
    document = freeze(make_splits(simple(10)), path)
    document["splits"]["test"].append(document["splits"]["train"].pop())
    for content, message in (
        (json.dumps(document), "edited"),
        ("{", "not valid JSON"),
        ("[]", "not a file of splits"),
        (json.dumps({**document, "version": 99}), "version 99"),
        (json.dumps({**document, "splits": {"train": [3]}}), "damaged"),
    ):
        path.write_text(content)
        with pytest.raises(RunError, match=message):
            load_splits(path)
    with pytest.raises(RunError, match="cannot read"):
        load_splits(tmp_path / "none.json")
    path.write_text("in the way")
    with pytest.raises(RunError, match="cannot write"):
        freeze(make_splits(simple(10)), path / "splits.json")


def test_pictures_that_are_gone_or_relabelled_are_named(tmp_path: Path) -> None:
    data = make_splits(simple(10, classes=2))
    freeze(data, tmp_path / "splits.json")
    with pytest.raises(DataError, match="not in made: 1/0/"):
        apply_splits(data.select(range(10)), tmp_path / "splits.json")
    swap = {"class0": "class1", "class1": "class0"}
    swapped = data_of([(key, swap[label], "", "") for key, label in zip(data.keys, data.label_names, strict=True)])
    with pytest.raises(DataError, match="from 'class0' to 'class1'"):
        apply_splits(swapped, tmp_path / "splits.json")


def test_another_process_makes_the_same_split(tmp_path: Path) -> None:
    data = make_splits(simple(10))
    program = (
        "import pyarrow; from acclimate.data import ImageData, make_splits; "
        "k=[f'{c}/0/{n:04d}' for c in range(3) for n in range(10)]; l=['class'+x[0] for x in k]; e=['']*30; "
        "t=pyarrow.table(dict(key=k,path=k,label=l,domain=e,group=e,split=e)); "
        "print(' '.join(make_splits(ImageData('x',t,('class0','class1','class2'))).splits))"
    )
    command = [sys.executable, "-c", program]
    done = subprocess.run(
        command, capture_output=True, text=True, check=True, env={**os.environ, "PYTHONHASHSEED": "7"}
    )
    assert done.stdout.split() == data.splits
