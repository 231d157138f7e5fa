"""`predict_on`: many images, labelled on a Ray cluster into a folder of Parquet files, what is there left alone."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from acclimate import arguments
from acclimate.bench.resources import Resources
from acclimate.counting import counted
from acclimate.files import claimed, file_digest, make_folder
from acclimate.scaling.cluster import RETRIES, Cluster
from acclimate.scaling.labelling import CORES, Crew, Order
from acclimate.scaling.manifest import describe, drop_others, identity, is_done, open_output, write_manifest
from acclimate.scaling.parts import ROWS, Part, find_parts
from acclimate.training.progress import Progress

logger = logging.getLogger("acclimate.scaling")


@dataclass
class Labelled:
    """What a folder of predictions holds.

    Attributes:
        rows: images in it.
        unread: how many of them could not be read; their rows say why.
        parts: files in it.
        before: how many of these were there when it began.
        failures: parts that failed, with the reason; while there are any, the numbers are those of the others.
    """

    rows: int = 0
    unread: int = 0
    parts: int = 0
    before: int = 0
    failures: list[tuple[Part, str]] = field(default_factory=list)


class _Told:
    """Passes on what the crew does, and keeps what failed."""

    def __init__(self, progress: Progress) -> None:
        self.progress = progress
        self.failures: list[tuple[Part, str]] = []

    def advanced(self, images: int) -> None:
        self.progress.advance(images)

    def finished(self, part: Part) -> None:
        logger.debug("%s is written", part.file)

    def repeated(self, part: Part, reason: str) -> None:
        logger.warning("part %d is tried again (%s)", part.number, reason)

    def failed(self, part: Part, reason: str) -> None:
        self.failures.append((part, reason))


def predict_on(
    cluster: Cluster,
    run: str | os.PathLike[str],
    sources: Iterable[str | os.PathLike[str]],
    out: str | os.PathLike[str],
    progress: Progress,
    *,
    load: Mapping[str, Any],
    stream: Mapping[str, Any],
    asked: Resources | None = None,
    rows: int = ROWS,
    retries: int = RETRIES,
    plugins: Iterable[str] = (),
) -> Labelled:
    """Label images on a cluster, those whose rows are in the folder already aside.

    The folder gets a file `part-NUMBER-DIGEST.parquet` for each part, with the columns that `predict` writes, and
    `_manifest.json`. Every part is written whole or not at all, so that after a kill the same call does the rest.

    Args:
        cluster: where the actors are.
        run: folder of the run.
        sources: files, folders, patterns, lists of images and shards.
        out: folder of the predictions, on a file system that all machines share, as the images and the run are.
        progress: told of images, those of parts that are there already aside.
        load: options of `acclimate.load`.
        stream: `batch_size`, `coverage`, `known`, `hierarchy`, `floor` and `precision` of `AdaptedModel.stream`.
        asked: resources of an actor; by default a GPU where the cluster has any, or else 4 cores.
        rows: images of a part, 1 or more.
        retries: how often a part that fails is tried again.
        plugins: modules with methods.

    Raises:
        AcclimateError: nothing can be labelled as it is asked for.
    """
    rows, run, place = arguments.whole("rows", rows, 1), Path(run), Path(os.path.abspath(out))
    tree = stream.get("hierarchy")
    decisive = {**load, **stream, "hierarchy": tree and file_digest(Path(tree)), "device": None, "batch_size": None}
    known = identity(run, {name: value for name, value in decisive.items() if value is not None})
    make_folder(place)
    with claimed(place, f"another process writes to {place}; wait for its end, or name another `out`"):
        open_output(place, known)
        parts = find_parts(sources, rows)
        missing = [part for part in parts if not is_done(place, part)]
        counts = [part.count for part in missing if part.count is not None]
        progress.start("images", sum(counts) if len(counts) == len(missing) else None)
        told = _Told(progress)
        if missing:
            order = Order({"run": str(run), **load}, dict(stream), str(place), tuple(plugins))
            Crew(cluster, order, asked or usual(cluster), retries).run(missing, told)
        progress.finish()
        return _settle(place, parts, len(parts) - len(missing), known, told.failures)


def usual(cluster: Cluster) -> Resources:
    """Return what an actor asks for where nothing is said: a GPU if there is any, or else some cores of a machine."""
    nodes = cluster.nodes()
    if any(node.get("GPU", 0) >= 1 for node in nodes):
        return Resources(gpus=1)
    return Resources(cpus=min([CORES, *(int(node["CPU"]) for node in nodes if node.get("CPU", 0) >= 1)]))


def _settle(
    out: Path, parts: list[Part], before: int, known: Mapping[str, Any], failures: list[tuple[Part, str]]
) -> Labelled:
    """Write the manifest of a folder in which all parts are there, and say what it holds."""
    failed = {part.number for part, _ in failures}
    there = [describe(out, part) for part in parts if part.number not in failed]
    found = Labelled(
        sum(row["rows"] for row in there), sum(row["unread"] for row in there), len(there), before, failures
    )
    if not failures:
        if dropped := drop_others(out, parts):
            logger.warning("%s: %s of other images removed", out, counted(dropped, "earlier part"))
        write_manifest(out, known, there)
    return found
