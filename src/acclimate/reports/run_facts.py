"""`RunFacts`: what the folder of a run says of it; no model is loaded."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from acclimate.data.bands import Bands, parse_bands
from acclimate.data.frozen import joined_sets, load_splits, splits_of_set
from acclimate.errors import RunError
from acclimate.files import read_json
from acclimate.runs import folder
from acclimate.runs.kept_predictions import read_predictions
from acclimate.runs.remote import find_run
from acclimate.tasks import get_task
from acclimate.telling.words import rows_beside, tests_of, verdict_of

if TYPE_CHECKING:
    from pyarrow import Table

    from acclimate.tasks import Task

NEXT = "give the folder of a finished run, as `acclimate adapt` writes it"


@dataclass(frozen=True)
class RunFacts:
    """What the folder of a run says.

    Attributes:
        path: the folder.
        record: what `record.json` holds.
        adapter: what `adapter.json` holds.
        splits: what `splits.json` holds; nothing where there is none.
        predictions: what was said of the test images; none where it was not kept.
    """

    path: Path
    record: Mapping[str, Any]
    adapter: Mapping[str, Any]
    splits: Mapping[str, Any]
    predictions: Table | None

    @classmethod
    def read(cls, path: Path) -> RunFacts:
        """Read the folder of a run.

        Raises:
            RunError: it is none, or a file of it is damaged.
        """
        path = find_run(path)
        if not path.is_dir():
            raise RunError(f"{path}: there is no such run folder; {NEXT}")
        record, adapter = (read_json(path / name, NEXT) for name in (folder.RECORD, folder.ADAPTER_INFO))
        if not isinstance(record, dict) or not {"method", "metrics", "data"} <= record.keys():
            raise RunError(f"{path / folder.RECORD}: not the record of a run on images; {NEXT}")
        splits = load_splits(path / folder.SPLITS) if (path / folder.SPLITS).exists() else {}
        return cls(path, record, adapter, splits, read_predictions(path))

    @property
    def bands(self) -> Bands | None:
        """The bands of images that it was shown; none: the first ones."""
        return parse_bands(self.record["data"].get("bands"))

    @cached_property
    def task(self) -> Task[Any]:
        """What it has learned."""
        return get_task(self.record.get("task", "classification"))

    def measured(self) -> Iterator[tuple[str, Mapping[str, Any]]]:
        """Yield the tests that were measured, by name, with the metrics of the method."""
        return tests_of(self.record)

    def rows(self, test: str) -> dict[str, Mapping[str, Any]]:
        """Return the metrics of the method and of all that stands beside it on a test, by name, its own the last."""
        return {name: metrics for name, metrics in rows_beside(self.record, test).items() if metrics}

    def verdict(self, test: str) -> Mapping[str, Any] | None:
        """Return how the method stands to the best of the others on a test; none where that is not known."""
        return verdict_of(self.record, test)

    def said(self, test: str, ablation: str = "") -> list[dict[str, Any]]:
        """Return what was said of the images of a test, a row for each, without the probabilities of all classes."""
        import pyarrow.compute as pc

        if self.predictions is None:
            return []
        told = self.predictions
        table = told.select([name for name in told.column_names if not name.startswith("p(")])
        return table.filter(pc.and_(pc.equal(table["test"], test), pc.equal(table["ablation"], ablation))).to_pylist()

    @cached_property
    def domains(self) -> list[str]:
        """The domains of the training images, sorted."""
        return sorted({row.get("domain", "") for row in self.splits.get("splits", {}).get("train", [])} - {""})

    def learned(self, test: str, most: int) -> list[dict[str, Any]]:
        """Return training images with `path`, `key` and `label`, which lie where test images do.

        Args:
            test: where it is of one of several data sets, the images are those of this one.
            most: so many at most, evenly chosen.
        """
        joined = test in joined_sets(self.splits)
        root = self.root(test, f"{test}/" if joined else "")
        if root is None:
            return []
        splits = splits_of_set(self.splits, test) if joined else self.splits
        rows = splits.get("splits", {}).get("train", [])
        step = -(-len(rows) // most) or 1
        return [{"path": root + row["key"], "key": row["key"], "label": row.get("label", "")} for row in rows[::step]]

    def root(self, test: str, lead: str = "") -> str | None:
        """Return what stands before the key of an image of a test in its path; none where that is not known.

        Args:
            test: its name.
            lead: what the keys begin with and the paths do not, such as the name of one of several data sets.
        """
        for row in self.said(test):
            path, key = row["path"], row["key"].removeprefix(lead)
            return path.removesuffix(key) if path and path.endswith(key) else None
        return None

    def split_counts(self) -> tuple[list[str], dict[str, list[int]]]:
        """Return the names of the splits, and of each class the number of its images in them."""
        splits: dict[str, list[dict[str, str]]] = self.splits.get("splits", {})
        classes = sorted({row.get("label", "") for rows in splits.values() for row in rows})
        places = {name: number for number, name in enumerate(splits)}
        counts = {name: [0] * len(splits) for name in classes if name}
        for name, rows in splits.items():
            for row in rows:
                if row.get("label"):
                    counts[row["label"]][places[name]] += 1
        return list(splits), counts
