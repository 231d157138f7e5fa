"""`RunFacts`: what the folder of a run says of it; no model is loaded."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from acclimate.data.bands import Bands, parse_bands
from acclimate.data.frozen import load_splits
from acclimate.errors import RunError
from acclimate.files import read_json
from acclimate.reports.words import rows_beside
from acclimate.runs import folder
from acclimate.runs.kept_predictions import read_predictions
from acclimate.tasks import get_task

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
        if self.record["metrics"]:
            yield "test", self.record["metrics"]
        for name, metrics in self.record["tests"].items():
            if metrics:
                yield name, metrics

    def rows(self, test: str) -> dict[str, Mapping[str, Any]]:
        """Return the metrics of the method and of all that stands beside it on a test, by name, its own the last."""
        return {name: metrics for name, metrics in rows_beside(self.record, test).items() if metrics}

    def verdict(self, test: str) -> Mapping[str, Any] | None:
        """Return how the method stands to the best of the others on a test; none where that is not known."""
        if test == "test":
            return self.record.get("verdict")
        found: Mapping[str, Any] | None = self.record.get("sets", {}).get(test, {}).get("verdict")
        return found

    def said(self, test: str, ablation: str = "") -> list[dict[str, Any]]:
        """Return what was said of the images of a test, a row for each, without the probabilities of all classes."""
        import pyarrow.compute as pc

        if self.predictions is None:
            return []
        told = self.predictions
        table = told.select([name for name in told.column_names if not name.startswith("p(")])
        return table.filter(pc.and_(pc.equal(table["test"], test), pc.equal(table["ablation"], ablation))).to_pylist()

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
