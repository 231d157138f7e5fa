"""A run as a folder that predicts without this package: a graph, how images are prepared, the labels, and a script."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import shutil
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from acclimate import __version__, arguments
from acclimate.data.bands import named
from acclimate.errors import ConfigError, DataError, RunError
from acclimate.exporting.graph import ClassifierGraph
from acclimate.exporting.int8 import MOST_MEASURED, Cost, cost_of, measured_images, quantise
from acclimate.exporting.onnx import EXTRA, Parity, compare, open_session, write_graph
from acclimate.extras import require
from acclimate.files import part_of, remove_parts, write_json
from acclimate.runs.remote import in_the_hubs_cache

if TYPE_CHECKING:
    from acclimate.runs import AdaptedModel

MODEL, PREPROCESS, LABELS, SCRIPT = "model.onnx", "preprocess.json", "labels.json", "infer.py"
FILES = (MODEL, PREPROCESS, LABELS, SCRIPT)
WEIGHTS = MODEL + ".data"  # of graphs that are too large for one file
USUAL = "onnx"  # name of the folder in that of the run
MOST_IMAGES = 32  # test images that the script is tried on

logger = logging.getLogger("acclimate.exporting")


@dataclass(frozen=True)
class Exported:
    """What was written.

    Attributes:
        folder: where.
        classes: number of classes.
        size: bytes of all files.
        random: how far the graph agrees with the run on random numbers.
        tested: how far the script agrees with the run on test images; none where none of them is at hand.
        int8: what the graph of 8 bits costs that was put in the place of the one that was compared; none: none was.
    """

    folder: Path
    classes: int
    size: int
    random: Parity
    tested: Parity | None
    int8: Cost | None = None


def export_onnx(model: AdaptedModel, out: str | os.PathLike[str] | None = None, int8: bool = False) -> Exported:
    """Write a run as a folder for onnxruntime, after it was seen to say what the run says.

    The folder has `model.onnx`, which takes normalised pixels in batches of any size and gives `logits` and
    `probabilities` (B, C) of the classes that are bound; `preprocess.json`, `labels.json`, and `infer.py`, which labels
    image files with numpy, onnxruntime and Pillow alone. It is whole or not there at all; an earlier export in its
    place is replaced.

    Args:
        model: of a run that tells one class an image apart; on the CPU.
        out: the folder; none: `onnx` in the run folder.
        int8: multiply whole numbers of 8 bits, see `quantise`. The graph is compared before; then what this costs is
            measured on test images, and `preprocess.json` says it.

    Raises:
        AcclimateError: the extra `onnx` is not installed.
        ConfigError: the run says something else than one class of each image, reads something that is not made of
            pixels, or computes what has no form in ONNX; or the model is not on the CPU.
        RunError: the folder holds something else or cannot be written, or the graph does not say what the run says.
    """
    for module in ("onnx", "onnxscript", "onnxruntime"):
        require(module, EXTRA)
    if not model.task.exclusive:
        raise ConfigError(
            f"{model.task.title.lower()} has no ONNX export; give a run that tells one class an image apart"
        )
    if model.backbone.device.type != "cpu":
        raise ConfigError(f"the model is on {model.backbone.device}; load it with `device='cpu'` to export it")
    graph = ClassifierGraph(model.method)
    if model.bands:
        logger.warning(
            "the run is shown the bands %s of its images, which the script cannot choose; give it images that have "
            "these three alone, as red, green and blue",
            named(model.bands),
        )
    with whole_or_not(target_of(model, out)) as (target, part):
        random, tested = _written(model, graph, part)
        cost = _shortened(model, part) if int8 else None
        size = sum(file.stat().st_size for file in part.iterdir())
    return Exported(target, len(model.class_names), size, random, tested, cost)


def _written(model: AdaptedModel, graph: ClassifierGraph, folder: Path) -> tuple[Parity, Parity | None]:
    """Write the files into a folder, and return how far they agree with the run, see `Exported`."""
    write_graph(graph, folder / MODEL)
    takes = {view.name: view.encoder.transform.to_dict() | {"grids": list(view.grids)} for view in graph.views}
    how = {"acclimate": __version__, "method": model.method.name, "bands": model.bands, "inputs": takes}
    write_json(folder / PREPROCESS, how)
    write_json(folder / LABELS, list(model.class_names))
    script = resources.files("acclimate.exporting").joinpath(SCRIPT).read_text(encoding="utf-8")
    (folder / SCRIPT).write_text(script, encoding="utf-8")
    session = open_session(folder / MODEL)
    return compare(graph, session), try_script(model, folder, session, images_at_hand(model))


def _shortened(model: AdaptedModel, folder: Path) -> Cost:
    """Put a graph of 8 bits in the place of that of a folder; return what it costs, which the folder says, too."""
    from acclimate.exporting import infer

    paths = _readable(measured_images(model, images_at_hand(model, MOST_MEASURED)))
    whole = infer.probabilities(paths, folder, open_session(folder / MODEL))
    size = (folder / MODEL).stat().st_size
    quantise(folder / MODEL)
    short = infer.probabilities(paths, folder, open_session(folder / MODEL))
    cost = cost_of(model, paths, whole, short, size)
    how = json.loads((folder / PREPROCESS).read_text(encoding="utf-8"))
    write_json(folder / PREPROCESS, how | {"int8": cost.to_dict()})
    return cost


def _readable(paths: Sequence[str]) -> list[str]:
    """Return those of some files that the script can open."""
    from acclimate.exporting import infer

    found = []
    for path in paths:
        with contextlib.suppress(OSError, Image.DecompressionBombError):
            infer.opened(path)
            found.append(path)
    return found


def images_at_hand(model: AdaptedModel, most: int = MOST_IMAGES) -> list[str]:
    """Return files of test images of a run that are where they were, evenly chosen, at most so many."""
    table = model.predictions
    paths = [] if table is None else list(dict.fromkeys(table["path"].to_pylist()))
    there = [path for path in paths if path and Path(path).is_file()]
    return there[:: max(1, -(-len(there) // most))]


def try_script(model: AdaptedModel, folder: Path, session: Any, paths: Sequence[str]) -> Parity | None:
    """Return how far the script of an export agrees with `predict` on image files; none where it can open none.

    Raises:
        RunError: they do not agree, see `Parity`.
    """
    from acclimate.exporting import infer

    readable = _readable(paths)
    if not readable:
        return None
    try:
        ours = np.stack([found.probabilities for found in model.predict(readable, known=0.0)])
    except DataError:  # a file that has changed since
        return None
    return Parity.of(ours, infer.probabilities(readable, folder, session), "test images")


def target_of(
    model: AdaptedModel,
    out: str | os.PathLike[str] | None,
    usual: str = USUAL,
    known: Collection[str] = (*FILES, WEIGHTS),
) -> Path:
    """Return the folder to write, which is not there, empty, or an earlier export.

    Args:
        model: that is exported.
        out: the folder that is named; none: `usual` in that of the run.
        usual: name of the folder in that of the run.
        known: names of the files of such an export.

    Raises:
        RunError: it is something else, or none is named and the model has no run folder.
    """
    if out is None and model.run is None:
        raise RunError("this model was not loaded from a run folder; name a folder with `out`")
    target = (model.run / usual if out is None and model.run else arguments.path("out", out)).absolute()
    if target.exists() and not target.is_dir():
        raise RunError(f"{target} is a file; name a folder with `out`")
    if out is None and in_the_hubs_cache(target):
        raise RunError("this run is in the Hub's cache, where nothing is written; name a folder with `out`")
    others = sorted({file.name for file in target.iterdir()} - {*known}) if target.is_dir() else []
    if others:
        raise RunError(f"{target} holds {others[0]!r}, which is no part of an export; name another folder with `out`")
    return target


@contextlib.contextmanager
def whole_or_not(target: Path) -> Iterator[tuple[Path, Path]]:
    """Give a folder and one to write in its stead, which takes its place at the end; nothing is left of one that fails.

    Raises:
        RunError: it cannot be made.
    """
    part = part_of(target)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        remove_parts(target)
        shutil.rmtree(part, ignore_errors=True)
        part.mkdir()
        yield target, part
        if target.exists():
            shutil.rmtree(target)
        os.replace(part, target)
    except OSError as error:
        raise RunError(f"cannot write {target}: {error.strerror}; free some space or choose another `out`") from None
    finally:
        shutil.rmtree(part, ignore_errors=True)


def plain(found: Exported) -> dict[str, Any]:
    """Return what was written as JSON values."""

    def told(parity: Parity | None) -> dict[str, Any] | None:
        return None if parity is None else {"images": parity.images, "largest_difference": parity.difference}

    files = sorted(file.name for file in found.folder.iterdir())
    return {
        "folder": str(found.folder),
        "files": files,
        "classes": found.classes,
        "bytes": found.size,
        "random_numbers": told(found.random),
        "test_images": told(found.tested),
        "int8": None if found.int8 is None else found.int8.to_dict(),
    }
