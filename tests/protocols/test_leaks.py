"""No image that is measured was learned from or chosen by: under its name, in its group, or as a copy of it."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import acclimate
from acclimate.errors import DataError
from acclimate.protocols import BaseToNovel, CrossDataset, FewShot, LeaveOneDomainOut, SingleSource
from tests.helpers.real_data import DATA, needs_real_data
from tests.helpers.tables import Row, grid, images, leaks, table

PROTOCOLS = [
    FewShot(),
    FewShot(selection="training-domain-validation"),
    BaseToNovel(),
    *(kind(selection=rule) for kind in (LeaveOneDomainOut, SingleSource) for rule in kind.rules),
    *(kind(splits=rule) for kind in (LeaveOneDomainOut, SingleSource) for rule in ("spg-pacs", "spg-domainnet")),
]
SHOTS = [1, 2, 4, "all", "budget:1", "budget:9", "budget:30"]

anything = st.tuples(
    st.sampled_from("abcd"),
    st.sampled_from(["train", "val", "test"]),
    st.sampled_from(["art", "photo", "sketch"]),
    st.sampled_from(["", "", "g1", "g2", "g3"]),
    st.sampled_from(["", "", "twin 1", "twin 2", "twin 3"]),
).map(lambda values: Row(*values))
enough = grid("abcd", {"train": 3, "val": 2, "test": 2}, ("art", "photo", "sketch"))


def check(protocol, trial, shots):
    assert not leaks(trial)
    counts = trial.train.counts().values()
    if isinstance(shots, int):
        assert max(counts) <= shots
        assert all(count <= min(shots, 4) for count in trial.val.counts().values())
    elif shots != "all":
        assert len(trial.train) <= int(shots.removeprefix("budget:"))
    if isinstance(shots, int) or shots == "all":
        assert min(counts) > 0  # every class is learned
    assert all(len(test) for test in trial.tests.values())
    assert not set(trial.tests) & {"train", "val"}
    if protocol.rule.epoch == "best-val":
        assert len(trial.val)


@settings(max_examples=20, deadline=None)
@given(st.lists(anything, max_size=25), st.sampled_from(PROTOCOLS), st.sampled_from(SHOTS), st.integers(0, 3))
def test_nothing_leaks_from_any_data(tmp_path_factory, rows, protocol, shots, seed):
    data = table(tmp_path_factory.mktemp("any"), enough + rows)
    sets = {"made": data}
    for name in protocol.trials(sets):
        try:
            trial = protocol.draw(name, sets, shots, seed)
        except DataError:
            if getattr(protocol, "splits", "") != "spg-domainnet":
                raise
            continue  # its two of a hundred images, rounded up, may all be copies of tested ones
        check(protocol, trial, shots)


@settings(max_examples=12, deadline=None)
@given(st.lists(anything, max_size=20), st.lists(anything, max_size=20), st.sampled_from(SHOTS), st.booleans())
def test_nothing_leaks_between_sets(tmp_path_factory, first, second, shots, every):
    place = tmp_path_factory.mktemp("sets")
    sets = {name: table(place / name, enough + rows, name) for name, rows in (("one", first), ("two", second))}
    sets["three"] = table(place / "three", grid("xy", {"train": 2, "test": 2}), "three")
    for sources in ("", "one+two"):
        protocol = CrossDataset(sources=sources, test_images="all" if every else "test")
        for name in protocol.trials(sets):
            check(protocol, protocol.draw(name, sets, shots, 1), shots)


@settings(max_examples=12, deadline=None)
@given(st.lists(anything, max_size=25), st.sampled_from(PROTOCOLS), st.integers(0, 3))
def test_more_shots_hold_all_of_fewer(tmp_path_factory, rows, protocol, seed):
    sets = {"made": table(tmp_path_factory.mktemp("any"), enough + rows)}
    name = protocol.trials(sets)[0]
    for sizes in ([1, 2, 4], ["budget:1", "budget:9", "budget:30"]):
        drawn = [images(protocol.draw(name, sets, size, seed).train) for size in sizes]
        if not protocol.rule.target:  # an oracle of more images leaves fewer to measure, and more to learn from
            assert drawn[0] <= drawn[1] <= drawn[2]


# ---------------------------------------------------------------- the real data sets


@pytest.fixture(scope="module")
def load():
    known = {}

    def loaded(name):
        if name not in known:
            known[name] = acclimate.load_data(DATA / name)
        return known[name]

    return loaded


def suits(protocol, data):
    if isinstance(protocol, BaseToNovel):
        return len(data.class_names) >= 4
    return isinstance(protocol, FewShot) or len(data.domain_names) >= 2


@pytest.mark.slow
@needs_real_data
@pytest.mark.parametrize("name", ["aid", "sar_acd", "lithology", "chest_xray", "pacs"])
def test_nothing_leaks_on_real_data(load, name):
    sets = {name: load(name)}
    for protocol in PROTOCOLS:
        if not suits(protocol, sets[name]):
            with pytest.raises(DataError, match=r"base-to-novel needs 4 classes|needs two domains or more"):
                protocol.trials(sets)
            continue
        for trial in protocol.trials(sets)[:2]:
            for shots in (4, "budget:40"):
                check(protocol, protocol.draw(trial, sets, shots, 1), shots)


@pytest.mark.slow
@needs_real_data
def test_nothing_leaks_between_real_sets(load):
    sets = {name: load(name) for name in ("aid", "lithology", "pacs")}
    for protocol in (CrossDataset(), CrossDataset(sources="aid+pacs")):
        for trial in protocol.trials(sets):
            check(protocol, protocol.draw(trial, sets, 4, 1), 4)


@pytest.mark.slow
@needs_real_data
@pytest.mark.parametrize(("name", "refused"), [("lithology", 3), ("chest_xray", 2), ("sar_acd", None), ("aid", None)])
def test_base_to_novel_on_real_data(load, name, refused):
    if refused is None:
        assert BaseToNovel().trials({name: load(name)}) == (name,)
        return
    with pytest.raises(DataError, match=f"{name}: {refused} classes leave 1 on the novel side"):
        BaseToNovel().trials({name: load(name)})


@pytest.mark.slow
@needs_real_data
@pytest.mark.parametrize("name", ["lithology", "sar_acd"])
def test_a_budget_has_the_imbalance_of_the_data(load, name):
    """The share of a class in the budgets of twenty seeds is that in the training images."""
    train = load(name).train
    drawn = [FewShot().draw(name, {name: load(name)}, "budget:64", seed).train.counts() for seed in range(20)]
    for label, count in train.counts().items():
        share = sum(counts[label] for counts in drawn) / (20 * 64)
        assert share == pytest.approx(count / len(train), abs=0.045)
