from __future__ import annotations

import pytest

from acclimate.data import load_data
from acclimate.errors import ConfigError, DataError
from acclimate.protocols import LeaveOneDomainOut, SingleSource
from tests.helpers.pictures import make_split_pictures
from tests.helpers.tables import Row, grid, images, leaks, table

PARTS = {"train": 8, "val": 6, "test": 4}
DOMAINS = ("art", "photo", "sketch")
BOTH = pytest.mark.parametrize("kind", [LeaveOneDomainOut, SingleSource], ids=lambda kind: kind.name)
RULES = pytest.mark.parametrize("selection", LeaveOneDomainOut.rules)


@pytest.fixture
def data(tmp_path):
    return table(tmp_path / "data", grid("abc", PARTS, DOMAINS))


def draw(protocol, data, trial, shots=2, seed=1):
    return protocol.draw(trial, {"made": data}, shots, seed)


@BOTH
@RULES
def test_which_domains_train_validate_and_test(data, kind, selection):
    protocol = kind(selection=selection)
    assert protocol.trials({"made": data}) == DOMAINS
    for name in DOMAINS:
        trial = draw(protocol, data, name)
        others = set(DOMAINS) - {name}
        sources, targets = (others, {name}) if kind is LeaveOneDomainOut else ({name}, others)
        assert set(trial.train.domains) <= sources
        assert set(trial.train.counts().values()) == {2}  # of every class, domains pooled
        assert set(trial.train.splits) == {"train"}
        assert set(trial.val.domains) <= (targets if selection == "oracle" else sources)
        assert set(trial.val.counts().values()) == {2}
        assert set(trial.val.splits) == {"val"}
        assert set(trial.tests) - {"test"} == targets
        for target in targets:
            assert set(trial.tests[target].domains) == {target}
        assert not leaks(trial)


@RULES
def test_all_images_of_a_target_are_measured_but_those_the_oracle_saw(data, selection):
    for name in DOMAINS:
        trial = draw(LeaveOneDomainOut(selection=selection), data, name, "all")
        whole = images(data.filter_domains([name]))
        seen = images(trial.val) if selection == "oracle" else set()
        assert images(trial.tests[name]) == whole - seen
        assert list(trial.tests) == [name]
        assert len(trial.train) == 2 * 3 * 8
        assert len(seen) == (18 if selection == "oracle" else 0)


@RULES
def test_the_union_of_a_single_source_is_that_of_its_targets(data, selection):
    trial = draw(SingleSource(selection=selection), data, "photo")
    assert list(trial.tests) == ["art", "sketch", "test"]
    union = [key for name in ("art", "sketch") for key in trial.tests[name].keys]
    assert sorted(union) == trial.tests["test"].keys
    assert trial.tests["test"].class_names == trial.train.class_names


def test_two_domains_have_one_target_and_no_union(tmp_path):
    data = table(tmp_path, grid("ab", PARTS, ("art", "photo")))
    assert list(draw(SingleSource(), data, "art").tests) == ["photo"]


@BOTH
def test_groups_and_copies_that_reach_into_a_target_are_not_learned_from(tmp_path, kind, caplog):
    rows = grid("ab", PARTS, DOMAINS)
    for split in ("train", "val"):
        rows += [Row("a", split, domain, group="slide 7") for domain in DOMAINS]
        rows += [Row("b", split, domain, content="the same") for domain in DOMAINS]
    data = table(tmp_path, rows)
    for name in DOMAINS:
        trial = draw(kind(), data, name, "all")
        assert not leaks(trial)
        assert len(trial.train) == 2 * 8 * (2 if kind is LeaveOneDomainOut else 1)
        target = trial.tests[name] if kind is LeaveOneDomainOut else trial.tests["test"]
        assert len(target) == sum(domain in target.domains for domain in data.domains)


def test_the_oracle_measures_no_companion_of_what_it_saw(tmp_path):
    """Its images bring their groups and their copies along, although the given split tears these apart."""
    rows = grid("ab", {"train": 8, "val": 1, "test": 4}, ("art", "photo"))
    rows += [Row("a", "val", "photo", group="g"), *(Row("a", "test", "photo", group="g") for _ in range(5))]
    rows += [Row("b", "val", "photo", content="twin"), *(Row("b", "test", "photo", content="twin") for _ in range(5))]
    data = table(tmp_path, rows)
    trial = draw(LeaveOneDomainOut(selection="oracle"), data, "photo", 2)
    assert len(trial.val) == 4
    assert trial.tests["photo"].counts() == {"a": 12, "b": 12}
    assert not leaks(trial)
    honest = draw(LeaveOneDomainOut(), data, "photo", 1)
    assert honest.tests["photo"].counts() == {"a": 13 + 6, "b": 13 + 6}


def test_an_oracle_that_looks_at_everything(tmp_path):
    rows = grid("ab", PARTS, ("art",)) + grid("ab", {"val": 2}, ("photo",))
    data = table(tmp_path, rows)
    with pytest.raises(DataError, match=r"the oracle looks at all images of the domain 'photo'.*give fewer shots"):
        draw(LeaveOneDomainOut(selection="oracle"), data, "photo", 4)
    assert len(draw(LeaveOneDomainOut(selection="oracle"), data, "photo", 1).tests["photo"]) == 2


@BOTH
def test_data_without_domains_enough(tmp_path, kind):
    none, one = (table(tmp_path / str(n), grid("ab", PARTS, names)) for n, names in enumerate([("",), ("art",)]))
    for data, have in ((none, "none"), (one, "art")):
        with pytest.raises(DataError, match=f"needs two domains or more and there are {have}; give a column `domain`"):
            kind().trials({"made": data})
    partly = table(tmp_path / "2", grid("ab", PARTS, ("art", "photo")) + grid("ab", {"train": 2}))
    with pytest.raises(DataError, match="made: 4 images have no domain; give each of them one"):
        kind().trials({"made": partly})


@BOTH
@pytest.mark.parametrize("name", ["train", "val", "test"])
def test_domains_that_are_called_like_a_split(tmp_path, kind, name):
    data = table(tmp_path, grid("ab", PARTS, ("art", name)))
    with pytest.raises(DataError, match=f"a domain is named '{name}'"):
        kind().trials({"made": data})


@BOTH
def test_unknown_domains_and_rules(data, kind):
    with pytest.raises(DataError, match="made: no domain 'skecth'; it has art, photo, sketch"):
        draw(kind(), data, "skecth")
    with pytest.raises(ConfigError, match=r"unknown selection rule 'orcale'; did you mean 'oracle'\?"):
        kind(selection="orcale")
    with pytest.raises(ConfigError, match=r"unknown split rule 'spg-pac'; did you mean 'spg-pacs'\?"):
        kind(splits="spg-pac")


def test_selection_needs_validation_images_where_it_looks(tmp_path):
    rows = grid("ab", {"train": 6}, ("art", "photo")) + grid("ab", {"val": 4}, ("photo",))
    data = table(tmp_path, rows)
    with pytest.raises(DataError, match="needs validation images and there are none"):
        draw(LeaveOneDomainOut(), data, "photo")  # trains on art, which has none
    assert len(draw(LeaveOneDomainOut(selection="oracle"), data, "photo").val) == 4
    assert len(draw(LeaveOneDomainOut(selection="last-step"), data, "photo").val) == 0


def test_a_class_that_only_the_target_has(tmp_path):
    data = table(tmp_path, grid("ab", PARTS, ("art", "photo")) + grid("c", PARTS, ("photo",)))
    assert draw(LeaveOneDomainOut(), data, "art").tests["art"].class_names == ("a", "b", "c")
    with pytest.raises(DataError, match="made: the class 'c' has no training image"):
        draw(LeaveOneDomainOut(), data, "photo")


def test_folders_of_domains(tmp_path):
    data = load_data(
        make_split_pictures(tmp_path / "world", splits={"north": 10, "south": 12}, size=(8, 8)), layout="domain/class"
    )
    trial = draw(LeaveOneDomainOut(), data, "south", 3)
    assert images(trial.tests["south"]) == {key for key in data.keys if key.startswith("south/")}
    assert {key.partition("/")[0] for key in trial.train.keys + trial.val.keys} == {"north"}
    assert not leaks(trial)
