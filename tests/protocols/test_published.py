from __future__ import annotations

import math
from collections import Counter, defaultdict

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from acclimate.errors import DataError
from acclimate.protocols import CrossDataset, LeaveOneDomainOut
from acclimate.protocols.published import SPLIT_RULES, apply_rule, get_split_rule
from tests.helpers.tables import Row, grid, images, leaks, table

SEVENTY = ("spg-pacs", "spg-officehome", "spg-terraincognita")


def cells(data):
    """Images by domain, class and split."""
    return Counter(zip(data.domains, data.label_names, data.splits, strict=True))


@pytest.mark.parametrize("rule", SEVENTY)
@pytest.mark.parametrize("size", [10, 37, 120])
def test_seventy_to_thirty_in_every_class_of_every_domain(tmp_path, rule, size):
    data = table(tmp_path, grid("ab", {"test": size}, ("art", "photo")))  # what split they had does not matter
    found = apply_rule(rule, data)
    assert found.keys == data.keys
    for (_, _, split), count in cells(found).items():
        assert abs(count - {"train": 0.7, "val": 0.3}[split] * size) <= 1
    assert (found.split_origin, len(cells(found))) == ("made", 8)
    assert apply_rule(rule, data).splits == found.splits  # one split, whatever the seed of the shots


@pytest.mark.parametrize("size", [1, 2, 49, 50, 51, 100, 150, 201])
def test_two_and_one_percent_rounded_up_and_the_rest_dropped(tmp_path, size):
    data = table(tmp_path, grid("ab", {"": size}, ("clipart", "real")))
    found = apply_rule("spg-domainnet", data)
    train = math.ceil(size * 2 / 100)
    val = min(math.ceil(size / 100), size - train)
    expected = {"train": train, "val": val}
    assert {split: {count for (_, _, s), count in cells(found).items() if s == split} for split in expected} == {
        split: ({count} if count else set()) for split, count in expected.items()
    }
    assert images(found) <= images(data)


def test_what_is_dropped_is_not_tested_either(tmp_path):
    data = table(tmp_path, grid("ab", {"": 100}, ("clipart", "real")))
    protocol = LeaveOneDomainOut(splits="spg-domainnet")
    assert protocol.trials({"made": data}) == ("clipart", "real")
    trial = protocol.draw("real", {"made": data}, "all", 1)
    assert {name: len(part) for name, part in trial.splits.items()} == {"train": 4, "val": 2, "real": 6}
    assert not leaks(trial)


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.tuples(st.sampled_from("ab"), st.sampled_from("xy"), st.integers(0, 8)), min_size=1, max_size=80),
    st.sampled_from([*SEVENTY, "spg-domainnet"]),
)
def test_groups_stay_whole(tmp_path_factory, rows, rule):
    made = [Row(label, "", domain, (group and f"g{group}") or "") for label, domain, group in rows]
    data = table(tmp_path_factory.mktemp("groups"), made)
    found = apply_rule(rule, data)
    sides = defaultdict(set)
    for group, split in zip(found.groups, found.splits, strict=True):
        sides[group].add(split)
    assert all(len(splits) == 1 for group, splits in sides.items() if group)
    whole, kept = Counter(data.groups), Counter(found.groups)
    assert all(kept[group] == whole[group] for group in kept if group)
    assert {"train"} <= set(found.splits) <= {"train", "val"}


def test_the_split_of_vlcs_is_given(tmp_path):
    rows = grid("ab", {"train": 6, "val": 4}, ("caltech", "sun"))
    given_split, made = (table(tmp_path / origin, rows, origin=origin) for origin in ("given", "made"))
    protocol = LeaveOneDomainOut(splits="spg-vlcs")
    trial = protocol.draw("sun", {"made": given_split}, "all", 1)
    assert {name: len(part) for name, part in trial.splits.items()} == {"train": 12, "val": 8, "sun": 20}
    message = "splits=spg-vlcs takes the given split, and the data give none; name it in a column"
    with pytest.raises(DataError, match=message):
        protocol.trials({"made": made})
    with pytest.raises(DataError, match=message):
        CrossDataset(splits="spg-vlcs").trials({"a": made, "b": given_split})


def test_ones_own_split_is_kept(tmp_path):
    data = table(tmp_path, grid("ab", {"train": 6, "val": 4}))
    assert apply_rule("own", data) is data


def test_rules_by_name():
    assert all(get_split_rule(name).name == name and rule.meaning for name, rule in SPLIT_RULES.items())
    assert set(SPLIT_RULES) == {"own", "spg-vlcs", "spg-domainnet", *SEVENTY}
