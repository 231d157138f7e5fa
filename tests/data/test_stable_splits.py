"""One image more or less moves hardly any other, and proportions hold all the while."""

from __future__ import annotations

import random
from collections import Counter, defaultdict

import pytest

from acclimate.data import make_splits
from tests.helpers.rows import Row, data_of

SHARES = {"train": 0.5, "val": 0.2, "test": 0.3}
CHANGES = 200


def row(name: str, label: object, domain: object = "", group: object = "") -> Row:
    return name, str(label), str(domain), str(group)


def plain(classes: int, images: int) -> list[Row]:
    return [row(f"{n:04d}", f"c{n % classes}") for n in range(images)]


def in_domains(*sizes: int, classes: int = 3) -> list[Row]:
    return [row(f"{d}-{n:04d}", f"c{n % classes}", f"d{d}") for d, size in enumerate(sizes) for n in range(size)]


def in_groups(sizes: list[int], classes: int = 3) -> list[Row]:
    groups = [(number, size) for number, size in enumerate(sizes) for _ in range(size)]
    return [row(f"{n:04d}", f"c{g % classes}", "", f"g{g}") for n, (g, _) in enumerate(groups)]


SHAPES = {
    "75 images in 3 classes": plain(3, 75),
    "184 images": plain(4, 184),
    "many small classes": plain(40, 200),
    "two large classes": plain(2, 500),
    "four domains": in_domains(36, 36, 36, 36),
    "domains of very different sizes": in_domains(150, 30, 9, 3, 3, 1, 1),
    "a domain for every few images": in_domains(*[5] * 30),
    "groups of two": in_groups([2] * 90),
    "groups of different sizes": in_groups([1, 1, 2, 3, 5, 8, 1, 4, 2, 1] * 8),
}
QUICK = {"75 images in 3 classes", "four domains", "groups of different sizes"}


def splits_of(rows: list[Row]) -> dict[str, str]:
    data = make_splits(data_of(rows))
    return dict(zip(data.keys, data.splits, strict=True))


def moved(before: dict[str, str], after: dict[str, str]) -> list[str]:
    return [key for key in before.keys() & after.keys() if before[key] != after[key]]


def check_proportions(rows: list[Row], splits: dict[str, str]) -> None:
    """Within 2 images of the shares in every class, and the size of the group that may lie at a cut."""
    units: dict[str, Counter] = defaultdict(Counter)
    found: dict[str, Counter] = defaultdict(Counter)
    for key, label, _, group in rows:
        units[label][group or f"/{key}"] += 1
        found[label][splits[key]] += 1
    for label, sizes in units.items():
        if len(sizes) >= 3:
            assert set(found[label]) == set(SHARES)
        for split, share in SHARES.items():
            assert abs(found[label][split] - share * sizes.total()) <= 2 + max(sizes.values()) - 1


def changed(rows: list[Row], draws: random.Random, number: int) -> list[Row]:
    """Return rows with one image more, like another one or alone in its group, or with one image less."""
    if draws.random() < 0.5:
        gone = draws.randrange(len(rows))
        return rows[:gone] + rows[gone + 1 :]
    _, label, domain, group = draws.choice(rows)
    if group and draws.random() < 0.5:
        group = f"new{number}"
    return [*rows, (f"new-{draws.random()}", label, domain, group)]


@pytest.mark.parametrize(
    "shape", [shape if shape in QUICK else pytest.param(shape, marks=pytest.mark.slow) for shape in SHAPES]
)
def test_an_image_more_or_less_moves_hardly_any_other(shape: str) -> None:
    """At most one unit crosses each of the two cuts of its class, two where domains interleave: 2 or 4 units.

    That is at most 3 % of 75 images and more, of 134 and more with domains; in smaller sets two are two.
    """
    rows, draws = SHAPES[shape], random.Random(1)
    before, group_of = splits_of(rows), {key: group or key for key, _, _, group in rows}
    several = len({domain for _, _, domain, _ in rows}) > 1
    counts = []
    for number in range(CHANGES):
        new = changed(rows, draws, number)
        after = splits_of(new)
        crossed = {group_of[key] for key in moved(before, after)}
        assert len(crossed) <= (4 if several else 2)
        check_proportions(new, after)
        counts.append(len(moved(before, after)))
    if not any(group for *_, group in rows):
        assert max(counts) <= max(2, 0.03 * len(rows))
    assert sum(counts) / CHANGES <= 0.015 * len(rows)


def test_three_corrupt_files_of_184() -> None:
    rows = plain(4, 184)
    left = [one for number, one in enumerate(rows) if number not in (17, 90, 151)]
    assert len(moved(splits_of(rows), splits_of(left))) <= 5
    greedy = [make_splits(data_of(some), rule="greedy") for some in (rows, left)]
    before, after = (dict(zip(data.keys, data.splits, strict=True)) for data in greedy)
    assert len(moved(before, after)) > 20  # what the rule is for


def test_a_chain_of_additions_keeps_proportions_and_the_order_of_splits() -> None:
    """Images that are learned from become test images one by one, by way of validation, never several at once."""
    rows, before = plain(2, 6), {}
    for number in range(60):
        after = splits_of(rows)
        check_proportions(rows, after)
        changes = [(before[key], after[key]) for key in moved(before, after)]
        assert len(changes) <= 2
        assert {"train", "test"} not in [{*change} for change in changes]
        rows, before = [*rows, row(f"new-{number}", f"c{number % 2}")], after


def test_another_label_of_a_group_moves_that_group_alone() -> None:
    """A group counts for its most frequent label: one other label within it changes nothing, most of them its class."""
    rows = in_groups([3] * 40, classes=2)
    before = splits_of(rows)
    one = [(key, "c1" if key == "0000" else label, domain, group) for key, label, domain, group in rows]
    assert splits_of(one) == before
    most = [(key, "c1" if group == "g0" else label, domain, group) for key, label, domain, group in rows]
    others = {group for key, *_, group in rows if key in moved(before, splits_of(most))} - {"g0"}
    assert len(others) <= 4


@pytest.mark.parametrize("count", range(1, 6))
def test_few_images_of_a_class_stay_where_they_can(count: int) -> None:
    few = [row(f"few-{n}", "few") for n in range(count)]
    rest = plain(2, 20)
    before, after = splits_of([*few, *rest]), splits_of([*few, row("one-more", "few"), *rest])
    assert {before[key] for key, *_ in few} == {1: {"train"}, 2: {"train", "test"}}.get(count, set(SHARES))
    assert len(moved(before, after)) <= 2
    assert all(before[key] == after[key] for key, *_ in rest)


def test_domains_are_divided_in_proportion_however_many_there_are() -> None:
    rows = in_domains(200, *[10] * 20, classes=1)
    splits = splits_of(rows)
    found = Counter((domain, splits[key]) for key, _, domain, _ in rows)
    for domain, size in Counter(domain for _, _, domain, _ in rows).items():
        for split, share in SHARES.items():
            assert abs(found[domain, split] - share * size) <= (6 if size == 200 else 1.5)
