"""What to label next: a batch of images without labels that the model is unsure of and that stand for many others."""

from __future__ import annotations

import hashlib
import heapq
import logging
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from acclimate import arguments
from acclimate.data import each_image
from acclimate.data.bands import Bands
from acclimate.data.check.duplicates import near_pairs
from acclimate.data.check.facts import Fact, measure
from acclimate.data.finding import ImageSource, find_images
from acclimate.data.given import Several
from acclimate.data.held import HeldImage
from acclimate.errors import ConfigError, DataError
from acclimate.opening import read_bytes
from acclimate.runs.herding import herd, kernel_radius, margin_uncertainty, similarities
from acclimate.runs.model import AdaptedModel
from acclimate.runs.prediction import stream_predictions
from acclimate.training.inputs import IMAGE, POOLED
from acclimate.training.progress import Progress, Silent

if TYPE_CHECKING:
    from acclimate.training.batch import Batch

MOST = 5000  # images that are compared with each other; their similarities take 100 MB
COMPARED = 5  # of the nearest images that are labelled or suggested, a near duplicate is looked for among these

logger = logging.getLogger("acclimate.runs")


@dataclass(frozen=True)
class Suggestion:
    """An image that should be labelled.

    Attributes:
        rank: 1 for the one that helps most.
        path: its file, or empty for an image in memory.
        label: what the model takes it for.
        probability: of that label.
        uncertainty: 1 less the lead of the most probable class over the second: 0 is sure, 1 a guess.
        stands_for: how many of the images compared are nearer to it than to any other suggestion: its cluster.
    """

    rank: int
    path: str
    label: str
    probability: float
    uncertainty: float
    stands_for: int


@dataclass
class Suggestions:
    """What `suggest` gives.

    Attributes:
        rows: the suggestions, the first one first.
        images: that were looked at.
        labelled: of these, images that have labels in the data of the run, which are never suggested.
        copies: of these, exact copies of others.
        compared: images among which was chosen.
        unreadable: why images could not be read, one reason each.
        bands: those that are shown of the images, none for the first ones.
    """

    rows: list[Suggestion] = field(default_factory=list)
    images: int = 0
    labelled: int = 0
    copies: int = 0
    compared: int = 0
    unreadable: list[str] = field(default_factory=list)
    bands: Bands | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return everything as JSON values."""
        return asdict(self)


COLUMNS: dict[str, type] = {
    "rank": int, "path": str, "label": str, "probability": float, "uncertainty": float, "stands_for": int
}  # fmt: skip


def suggest(
    model: AdaptedModel, images: Several, count: int = 20, batch_size: int = 32, progress: Progress | None = None
) -> Suggestions:
    """Suggest which images to label next: uncertain, typical of many others, and unlike what has a label or was chosen.

    By `acclimate.runs.herding`, on the frozen features of whole images, L2-normalised. Images that the model has
    learned from count as labelled where they are among the images, so that what is near them is left alone; images of
    its data are never suggested, nor are exact copies and near duplicates of others. Images stream through; beyond
    5,000, that many drawn by a hash of their bytes are compared. The order of the images changes nothing.

    Args:
        model: tells classes apart.
        images: as in `AdaptedModel.predict`.
        count: how many to suggest; fewer where there are no more.
        batch_size: images a pass.
        progress: told of every image.

    Raises:
        ConfigError: a model that tells no classes apart, or an option out of its range.
        DataError: images that cannot be found, or none without a label.
    """
    count, batch_size = arguments.whole("count", count, 1), arguments.whole("batch_size", batch_size, 1)
    if not isinstance(model, AdaptedModel):
        raise ConfigError(f"`model` is {arguments.shown(model)}; give what `adapt` or `load` returns")
    if not model.class_names:
        raise ConfigError(f"suggestions need a run that tells classes apart, and {model.method.name} does not")
    if not model.task.exclusive:
        raise ConfigError(
            "suggestions go by the lead of one class over the others, and images of this run have several labels"
        )
    pool = _Pool(model)
    progress = arguments.progress("progress", progress) or Silent()
    progress.start("images", None)
    seen = pool.passing(each_image(images))
    for found in stream_predictions(pool, model.method, seen, batch_size, "skip", model.bands):
        pool.take(found)
        progress.advance(1)
    progress.finish()
    told, candidates = pool.told, sorted(pool.kept.values(), key=lambda one: one.digest)
    told.compared = sum(not one.learned for one in candidates)
    if not told.compared and not told.unreadable:
        raise DataError(
            f"none of the {told.images} images is without a label: they are those of the run; name others, or adapt "
            "again with more `shots`"
        )
    told.bands = model.bands
    told.rows = _choose(candidates, count) if told.compared else []
    return told


@dataclass(frozen=True)
class Candidate:
    """An image as it is compared with others.

    Attributes:
        digest: sha256 of its bytes, or of its pixels where it is in memory.
        source: the image.
        learned: whether the model has learned from it.
        label, probability, uncertainty: see `Suggestion`.
        features: (F,).
    """

    digest: str
    source: ImageSource
    learned: bool
    label: str
    probability: float
    uncertainty: float
    features: Tensor


class _Pool:
    """Candidates, of which the `MOST` with the least digests are kept; what the stream asks for a prediction."""

    def __init__(self, model: AdaptedModel) -> None:
        self.task, self.method, self.told = model.task, model.method, Suggestions()
        self.kind = POOLED if POOLED in model.backbone.widths else IMAGE
        self.reads = frozenset({self.kind})
        document = model.frozen or {"splits": {}}
        rows = {name: _digests(rows) for name, rows in document["splits"].items()}
        self.learned = rows.get("train", set()) | model.seen_before
        every = [*rows.values(), *map(_digests, document.get("undrawn", {}).values())]
        self.labelled = set[str]().union(*every)
        self.kept: dict[str, Candidate] = {}
        self.order: list[int] = []  # a heap with the largest digest first
        self.seen: set[int] = set()
        self.coming: deque[tuple[ImageSource, str]] = deque()

    def passing(self, images: Iterator[ImageSource]) -> Iterator[ImageSource]:
        """Yield the images that are to be looked at: no copies, none that has a label the model has not learned."""
        for image in find_images(images):
            self.told.images += 1
            digest = _digest(image)
            number = int(digest[:16], 16)
            if number in self.seen:
                self.told.copies += 1
                continue
            self.seen.add(number)
            self.told.labelled += digest in self.labelled or digest in self.learned
            if digest not in self.labelled or digest in self.learned:
                self.coming.append((image, digest))
                yield image

    def predict(self, method: Any, batch: Batch, paths: Sequence[str]) -> Iterator[Any]:
        """Yield the prediction and the features of each image."""
        features = F.normalize(getattr(batch, self.kind).float(), dim=-1).cpu()
        yield from zip(self.task.predict(method, batch, paths), features, strict=True)

    def unreadable(self, path: str, reason: str) -> Any:
        """Return the reason alone."""
        return reason

    def take(self, found: Any) -> None:
        """Keep what was found out about an image, if its turn comes among the `MOST`."""
        source, digest = self.coming.popleft()
        if isinstance(found, str):
            self.told.unreadable.append(found)
            return
        prediction, features = found
        uncertainty = float(margin_uncertainty(torch.from_numpy(prediction.probabilities)[None]))
        told = (prediction.label, prediction.probability, uncertainty)
        self.kept[digest] = Candidate(digest, source, digest in self.learned, *told, features.clone())
        heapq.heappush(self.order, -int(digest, 16))
        if len(self.order) > MOST:
            self.kept.pop(f"{-heapq.heappop(self.order):064x}")


def _digests(rows: Sequence[dict[str, str]]) -> set[str]:
    return {row["sha256"] for row in rows if row.get("sha256")}


def _digest(image: ImageSource) -> str:
    """Return the sha256 of an image; of one that cannot be read, of its name, since reading it says why."""
    try:
        content = image.tobytes() if isinstance(image, Image.Image) else _content(image)
    except OSError:
        content = str(image).encode("utf-8", "surrogateescape")
    return hashlib.sha256(content).hexdigest()


def _content(image: Any) -> bytes:
    if isinstance(image, HeldImage):
        return image.read()
    return image if isinstance(image, bytes) else read_bytes(image)


def _choose(candidates: Sequence[Candidate], count: int) -> list[Suggestion]:
    """Return the suggestions among candidates, of which some are labelled."""
    points = torch.stack([one.features for one in candidates])
    labelled = [row for row, one in enumerate(candidates) if one.learned]
    radius = kernel_radius(points)
    looks = _Looks(candidates, points, labelled)
    weights = torch.tensor([one.uncertainty for one in candidates])
    rows = []
    for row in herd(points, weights, labelled, radius, looks.repeats):
        rows.append(row)
        if len(rows) == count:
            break
    free = [row for row, one in enumerate(candidates) if not one.learned]
    nearest = similarities(points[free], points[rows], radius).argmax(1) if rows else torch.zeros(0, dtype=torch.long)
    sizes = torch.bincount(nearest, minlength=len(rows)).tolist()
    chosen = [(candidates[row], size) for row, size in zip(rows, sizes, strict=True)]
    return [
        Suggestion(rank, _path(one.source), one.label, one.probability, one.uncertainty, size)
        for rank, (one, size) in enumerate(chosen, start=1)
    ]


def _path(source: ImageSource) -> str:
    return "" if isinstance(source, Image.Image | bytes) else str(source)


class _Looks:
    """Whether images look nearly the same, mirrored and turned, too; each is measured once, when it is asked for."""

    def __init__(self, candidates: Sequence[Candidate], points: Tensor, labelled: Sequence[int]) -> None:
        self.candidates, self.points, self.labelled = candidates, points, list(labelled)
        self.facts: dict[int, Fact | None] = {}

    def repeats(self, row: int, chosen: Sequence[int]) -> bool:
        """Return whether an image is a near duplicate of one that is labelled or chosen."""
        others = [*self.labelled, *chosen]
        if not others:
            return False
        nearest = (self.points[others] @ self.points[row]).topk(min(COMPARED, len(others))).indices.tolist()
        some = [self.fact(other) for other in [row, *(others[place] for place in nearest)]]
        return any(0 in (pair.first, pair.second) for pair in near_pairs(some, range(len(some))))

    def fact(self, row: int) -> Fact | None:
        """Return what is known of the look of an image; nothing of one in memory."""
        if row not in self.facts:
            source = self.candidates[row].source
            try:
                self.facts[row] = None if isinstance(source, Image.Image) else measure(_content(source), "")
            except (OSError, DataError):  # it has changed since
                self.facts[row] = None
        return self.facts[row]
