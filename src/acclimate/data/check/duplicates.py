"""Images that are in the data twice: the same bytes, or nearly the same to the eye, also mirrored or turned."""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from acclimate.counting import counted
from acclimate.data.check.facts import TURNS, Fact
from acclimate.data.check.report import EXAMPLES, Finding, Level
from acclimate.data.dataset import ImageData

log = logging.getLogger("acclimate.data")

RADIUS = 4
"""Largest number of bits, of 64, by which the perceptual hashes of near duplicates differ."""

CORRELATION = 0.97
"""Smallest correlation of the 16 x 16 grey thumbnails of near duplicates; by the hash alone X-rays look all alike."""

FLAT = 4.0
"""Images with a contrast (standard deviation of grey) below this have no structure to compare."""

MOST_PAIRS = 2_000_000
"""Pairs after which the search stops, with a warning: data that are mostly copies need no full list."""

_AT_ONCE = 4_000_000


@dataclass(frozen=True)
class Pair:
    """Two rows that show the same; `how` is "exact", or one of `acclimate.data.check.facts.TURNS`."""

    first: int
    second: int
    how: str


def find_duplicates(data: ImageData, facts: Sequence[Fact | None]) -> list[Finding]:
    """Report exact and near duplicates: across splits, with different labels, and the harmless rest."""
    exact, single = exact_pairs(facts)
    near = near_pairs(facts, single)
    return [
        *_report(data, exact, "duplicate", "exact duplicates"),
        *_report(data, near, "near_duplicate", "near duplicates"),
    ]


def exact_pairs(facts: Sequence[Fact | None]) -> tuple[list[Pair], list[int]]:
    """Return pairs of rows with the same bytes, and one row of each distinct content.

    Of n equal images, the first is paired with each other one, and neighbours are paired where their splits or labels
    may differ too.
    """
    rows: dict[str, list[int]] = defaultdict(list)
    for row, fact in enumerate(facts):
        if fact is not None:
            rows[fact.digest].append(row)
    pairs = {
        (one, other)
        for same in rows.values()
        for one, other in [*((same[0], row) for row in same[1:]), *pairwise(same)]
    }
    return [Pair(one, other, "exact") for one, other in sorted(pairs)], [same[0] for same in rows.values()]


def near_pairs(facts: Sequence[Fact | None], rows: Sequence[int]) -> list[Pair]:
    """Return pairs among `rows` that look the same, each once, with the way in which they do."""
    kept = [(row, fact) for row in rows if (fact := facts[row]) is not None and fact.contrast >= FLAT]
    if len(kept) < 2:
        return []
    order = np.array([row for row, _ in kept])
    hashes = np.array([fact.hashes for _, fact in kept], dtype=np.uint64)  # (N, turns)
    small = np.stack([fact.small for _, fact in kept])  # (N, 16, 16)
    found: dict[tuple[int, int], str] = {}
    for column, how in enumerate(TURNS):
        first, second = close(hashes[:, column], hashes[:, 0])
        alike = _correlation(_turned(small, how), small, first, second) >= CORRELATION
        for one, other in zip(order[first[alike]].tolist(), order[second[alike]].tolist(), strict=True):
            found.setdefault((min(one, other), max(one, other)), how)
    return [Pair(one, other, how) for (one, other), how in sorted(found.items())]


def close(queries: np.ndarray, hashes: np.ndarray, radius: int = RADIUS) -> tuple[np.ndarray, np.ndarray]:
    """Return index pairs (i, j), i < j, whose `queries` and `hashes` differ in at most `radius` of 64 bits.

    Multi-index hashing (Norouzi, Punjani and Fleet, CVPR 2012): cut the hashes into `radius` + 1 blocks. Two hashes
    within the radius agree in at least one whole block, so only pairs that share a block are compared.
    """
    total = len(hashes)
    found: list[np.ndarray] = []
    edges = np.linspace(0, 64, radius + 2).round().astype(int).tolist()
    for first, second in _candidates(queries, hashes, edges):
        near = (np.bitwise_count(queries[first] ^ hashes[second]) <= radius) & (first != second)
        one, other = first[near], second[near]
        found.append(np.unique(np.minimum(one, other) * total + np.maximum(one, other)))
        if sum(map(len, found)) > MOST_PAIRS:
            log.warning("more than %d pairs look alike; only the first are compared further", MOST_PAIRS)
            break
    codes = np.unique(np.concatenate(found)) if found else np.empty(0, np.int64)
    return codes // total, codes % total


def _candidates(queries: np.ndarray, hashes: np.ndarray, edges: list[int]) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    for low, high in pairwise(edges):
        yield from _sharing(_block(queries, low, high), _block(hashes, low, high))


def _block(hashes: np.ndarray, low: int, high: int) -> np.ndarray:
    return (hashes >> np.uint64(low)) & np.uint64((1 << (high - low)) - 1)


def _sharing(queries: np.ndarray, blocks: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield index pairs with the same block, some millions at once."""
    order = np.argsort(blocks, kind="stable")
    ordered = blocks[order]
    start, stop = np.searchsorted(ordered, queries, "left"), np.searchsorted(ordered, queries, "right")
    ends = np.cumsum(stop - start)
    begin = 0
    while begin < len(queries):
        done = ends[begin - 1] if begin else 0
        end = max(begin + 1, int(np.searchsorted(ends, done + _AT_ONCE, "right")))
        counts = (stop - start)[begin:end]
        first = np.repeat(np.arange(begin, end), counts)
        offset = np.arange(len(first)) - np.repeat(np.cumsum(counts) - counts, counts)
        yield first, order[np.repeat(start[begin:end], counts) + offset]
        begin = end


def _turned(small: np.ndarray, how: str) -> np.ndarray:
    axes = {"same": (), "mirrored": (2,), "upside down": (1,), "turned by 180°": (1, 2)}[how]
    return np.flip(small, axes) if axes else small


def _correlation(one: np.ndarray, other: np.ndarray, first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Return the correlation of thumbnails `one[first]` and `other[second]`, (pairs,)."""
    result = np.empty(len(first), np.float32)
    for begin in range(0, len(first), 50_000):
        piece = slice(begin, begin + 50_000)
        a = one[first[piece]].reshape(len(first[piece]), -1).astype(np.float32)
        b = other[second[piece]].reshape(len(a), -1).astype(np.float32)
        a -= a.mean(1, keepdims=True)
        b -= b.mean(1, keepdims=True)
        scale = np.sqrt((a * a).sum(1) * (b * b).sum(1))
        result[piece] = (a * b).sum(1) / np.maximum(scale, 1e-6)
    return result


def _report(data: ImageData, pairs: list[Pair], kind: str, words: str) -> list[Finding]:
    keys, splits, labels, groups = data.keys, data.splits, data.labels, data.groups
    leaks = [pair for pair in pairs if splits[pair.first] != splits[pair.second]]
    conflicts = [pair for pair in pairs if labels[pair.first] != labels[pair.second]]
    spoilt = {*leaks, *conflicts}
    harmless = [pair for pair in pairs if pair not in spoilt]
    grouped = sum(bool(groups[pair.first]) and groups[pair.first] == groups[pair.second] for pair in harmless)
    level: Level = "error" if kind == "duplicate" else "warning"
    remedy = (
        "give both the same group"
        if data.split_origin == "made"
        else "correct the given split, or leave it out and give both the same group"
    )
    texts: list[tuple[Level, str, list[Pair], str]] = [
        (
            level,
            "across_splits",
            leaks,
            f"are in different splits, so the test measures memory; {remedy}, or remove one",
        ),
        (
            level,
            "with_different_labels",
            conflicts,
            "have different labels; decide which label is right, and remove one",
        ),
        (
            "info",
            "within_split",
            harmless,
            f"are in the same split with the same label ({grouped} of them share a group)",
        ),
    ]
    return [
        Finding(
            rank,
            f"{kind}_{where}",
            f"{counted(len(some), 'pair')} of {words}{_ways(some)} {text}",
            len(some),
            _examples(keys, some),
        )
        for rank, where, some, text in texts
        if some
    ]


def _ways(pairs: list[Pair]) -> str:
    turned = sum(pair.how not in ("exact", "same") for pair in pairs)
    return f" ({turned} of them mirrored or turned)" if turned else ""


def _examples(keys: list[str], pairs: list[Pair]) -> tuple[tuple[str, ...], ...]:
    return tuple((keys[pair.first], keys[pair.second]) for pair in pairs[:EXAMPLES])
