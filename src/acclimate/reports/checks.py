"""What a check of the data of a run finds, where its images are still there."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from acclimate.data import check_data
from acclimate.data.frozen import joined_sets
from acclimate.data.held import is_place
from acclimate.errors import AcclimateError
from acclimate.reports.features import as_data

if TYPE_CHECKING:
    from acclimate.reports.run_facts import RunFacts

MOST = 3000  # images that are checked: about ten seconds
SPLITS = ("train", "val", "test")


def check_of(run: RunFacts) -> dict[str, Any] | None:
    """Return what `data check` finds in the images of a run: `images`, and `findings` with `level` and `message`.

    The images are those of all splits, drawn or not. None where they are not of one class each, have gone, are of
    several data sets, or are more than `MOST`, which take too long here.
    """
    rows = _rows(run) if run.task.exclusive else []
    if not 0 < len(rows) <= MOST or not all(is_place(row["path"]) for row in rows):
        return None
    try:
        found = check_data(replace(as_data(rows, run.bands), split_origin=run.record["data"]["split"]))
    except AcclimateError:  # what cannot be checked can be reported on
        return None
    told = [{"level": one.level, "message": one.message} for one in found.findings]
    return {"images": len(rows), "findings": told}


def _rows(run: RunFacts) -> list[dict[str, str]]:
    """Return the images of a run, each once, with `key`, `path`, `label`, `domain`, `group` and `split`."""
    test = next((name for name, _ in run.measured()), "test")
    root = None if joined_sets(run.splits) else run.root(test)
    if root is None:
        return []
    parts = [*run.splits.get("splits", {}).items(), *run.splits.get("undrawn", {}).items()]
    found: dict[str, dict[str, str]] = {}
    for split, rows in parts:
        for row in rows:
            own = split if split in SPLITS else "test"
            found.setdefault(row["key"], {**row, "path": root + row["key"], "split": own})
    return [found[key] for key in sorted(found)]
