"""`keep_split`: the split of an earlier run for every image that it knows, and a place for what is new."""

from __future__ import annotations

import logging
import os
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from acclimate import arguments
from acclimate.counting import counted
from acclimate.data.dataset import ImageData
from acclimate.data.frozen import FILE, joined_sets, load_splits, splits_of_set
from acclimate.data.splits import STABLE, SplitPlan
from acclimate.data.stable import divide_stably
from acclimate.data.units import SPLITS, by_class, served, units, warn_of_crossing
from acclimate.errors import ConfigError, DataError

log = logging.getLogger("acclimate.data")

D = TypeVar("D", bound=ImageData)


@dataclass
class Earlier:
    """The split of an earlier run.

    Attributes:
        title: its file, for messages.
        entries: its images, each with the name of its `split`.
        complete: whether images that were not drawn are among them; files of earlier releases lack these.
        hash: that of the file.
    """

    title: str
    entries: list[dict[str, str]]
    complete: bool
    hash: str


@dataclass
class Known:
    """Which images of some data an earlier split knows.

    Attributes:
        splits: the split of each, by its row.
        used: numbers of the entries that were found.
        renamed, relabelled, changed: how many have another name, another label, or other bytes under the same name.
    """

    splits: dict[int, str] = field(default_factory=dict)
    used: set[int] = field(default_factory=set)
    renamed: int = 0
    relabelled: int = 0
    changed: int = 0

    @property
    def remarks(self) -> str:
        """What is different about them, in brackets, or nothing."""
        named = {
            "under another name": self.renamed,
            "labelled otherwise": self.relabelled,
            "with other bytes": self.changed,
        }
        told = ", ".join(f"{count} {what}" for what, count in named.items() if count)
        return f" ({told})" if told else ""


def keep_split(data: D, source: str | os.PathLike[str] | Mapping[str, Any], plan: SplitPlan | None = None) -> D:
    """Return the data with the split of an earlier run, in which only images that it does not know are placed.

    An image is known by its bytes, whatever its name; or by its name, where the bytes that had it are gone. It keeps
    its split although its label may be another one. A new image goes with its group. Everything else that is new is
    divided by the stable rule among the splits that lack images, class by class.

    Args:
        data: the images, whose source gives no split.
        source: run folder, its `splits.json`, or what that holds.
        plan: how new images are placed; by default as in `make_splits`.

    Raises:
        RunError: the file is missing, not such a file, or was edited.
        ConfigError: it does not hold a whole split; or the data give a split; or a rule other than the stable one.
        DataError: no image of the data is in it.
    """
    plan = plan or SplitPlan()
    if data.split_origin == "given":
        raise ConfigError(f"{data.name} gives a split, which is kept; leave `split_from` out, or remove that split")
    if plan.rule != STABLE:
        raise ConfigError(f"`split_from` places new images by the stable rule; leave `split_rule={plan.rule!r}` out")
    earlier = read_earlier(source, data.name)
    known = know(data, earlier)
    if not known.splits:
        raise DataError(f"{data.name}: none of its images is in {earlier.title}; name a run on these data")
    column = _place(data, earlier, known, plan)
    result = data.with_splits(column, "made", {**plan.to_dict(), "kept": earlier.hash})
    _report(result, earlier, known)
    return result


def read_earlier(source: str | os.PathLike[str] | Mapping[str, Any], name: str = "") -> Earlier:
    """Read the split of a run.

    Args:
        source: as in `keep_split`.
        name: of the data set whose split is read, where the run has learned from several together.

    Raises:
        RunError: the file is missing, not such a file, or was edited.
        ConfigError: it does not hold a whole split, or none of a data set of that name.
    """
    if isinstance(source, Mapping):
        path, document = Path(FILE), source
    else:
        path = Path(os.path.expanduser(arguments.path("split_from", source)))
        path = path / FILE if path.is_dir() else path
        document = load_splits(path)
    if sets := joined_sets(document):
        if name not in sets:
            raise ConfigError(f"{path} holds the splits of {', '.join(sets)}, and none of '{name}'; name another run")
        document = splits_of_set(document, name)
    of_release = "made" in document  # earlier ones wrote neither this nor what was not drawn
    parts: list[Mapping[str, Any]] = [document["splits"], document.get("undrawn", {})]
    others = sorted({name for part in parts for name in part} - {*SPLITS})
    if others or (of_release and "undrawn" not in document):
        what = f"it lists {', '.join(others)}" if others else "images that were not drawn are missing"
        raise ConfigError(f"{path} does not hold the whole split of data ({what}); name a run of `acclimate adapt`")
    entries = [{**entry, "split": name} for part in parts for name, rows in part.items() for entry in rows]
    return Earlier(str(path), entries, of_release or document.get("shots") == "all", document["hash"])


def know(data: ImageData, earlier: Earlier) -> Known:
    """Find the images of some data in an earlier split: by their bytes, where it has digests, else by their names."""
    entries, labels = earlier.entries, data.label_names
    by_key = {entry["key"]: number for number, entry in enumerate(entries)}
    by_digest: dict[str, list[int]] = defaultdict(list)
    for number, entry in sorted(enumerate(entries), key=lambda one: SPLITS.index(one[1]["split"])):
        if "sha256" in entry:
            by_digest[entry["sha256"]].append(number)
    digests = [data.digest(row) if by_digest else "" for row in range(len(data))]
    present, known = set(digests), Known()
    for row, (key, digest) in enumerate(zip(data.keys, digests, strict=True)):
        number, copies = by_key.get(key, -1), by_digest.get(digest, [])
        if copies and number not in copies:
            number = copies[0]  # of several the one that may have been learned from
            known.renamed += 1
        elif not copies and number >= 0 and by_digest:
            if entries[number].get("sha256") in present:
                continue  # the image that had this name has another one now
            known.changed += 1
        if number >= 0:
            known.splits[row] = entries[number]["split"]
            known.used.add(number)
            known.relabelled += entries[number]["label"] != labels[row]
    return known


def _place(data: ImageData, earlier: Earlier, known: Known, plan: SplitPlan) -> list[str]:
    """Return the split of every image, of those that are known the one they had."""
    column = [known.splits.get(row, "") for row in range(len(data))]
    for members in by_class(units(data)).values():
        new, counts, settled = [], Counter[str](), 0
        for unit in members:
            sides = Counter(column[row] for row in unit.rows if column[row])
            if not sides and earlier.complete:
                new.append(unit)
                continue
            # with its group; where it may have been learned from, nowhere but to train
            side = min(sides, key=lambda name: (-sides[name], SPLITS.index(name))) if sides else "train"
            for row in unit.rows:
                column[row] = column[row] or side
                counts[column[row]] += 1
            settled += 1
        if not new:
            continue
        total = sum(counts.values()) + sum(len(unit.rows) for unit in new)
        lacking = {split: max(0.0, share * total - counts[split]) for split, share in plan.shares.items()}
        shares = {split: lack / sum(lacking.values()) for split, lack in lacking.items()}
        empty = [split for split in served(plan.shares, settled + len(new)) if not counts[split]]
        for unit, split in divide_stably(new, plan.seed, shares, empty[: len(new)]).items():
            for row in unit.rows:
                column[row] = split
    return column


def _report(data: ImageData, earlier: Earlier, known: Known) -> None:
    placed = _sizes(split for row, split in enumerate(data.splits) if row not in known.splits)
    new, gone = len(data) - len(known.splits), len(earlier.entries) - len(known.used)
    log.info(
        "%s: the split of %s is kept (%s) for %s%s; %s%s, %s",
        data.name,
        earlier.title,
        _sizes(data.splits),
        counted(len(known.splits), "image"),
        known.remarks,
        counted(new, "is new", "are new"),
        f" ({placed})" if new else "",
        counted(gone, "is gone", "are gone"),
    )
    if new and not earlier.complete:
        log.warning(
            "%s: %s is of an earlier release and does not list images that were not drawn; the %d that it does not "
            "know may have been training images, so they all go to train",
            data.name,
            earlier.title,
            new,
        )
    warn_of_crossing(data, "kept")


def _sizes(splits: Iterable[str]) -> str:
    counts = Counter(splits)
    return ", ".join(f"{split} {counts[split]}" for split in SPLITS)
