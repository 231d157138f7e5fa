"""Several labels of an image, each of which it has or has not, and how often they are right."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

import numpy as np
import torch

from acclimate.data import MultiLabelData, load_data, parse_shots
from acclimate.data.folds import held_together
from acclimate.data.several import join_labels
from acclimate.errors import ConfigError, DataError, TrainingError
from acclimate.methods import Labeller, TrainingFacts
from acclimate.metrics import LABELS, evaluate_several
from acclimate.metrics.evaluate import group_index
from acclimate.tasks.classification import choose_prompts
from acclimate.tasks.classified import require_images
from acclimate.tasks.contract import Task
from acclimate.tasks.registry import register_task
from acclimate.training.feeds import Feed, chunks

if TYPE_CHECKING:
    from acclimate.prompts import PromptSet
    from acclimate.tasks.within import Within
    from acclimate.training.batch import Batch
    from acclimate.training.inputs import Given
    from acclimate.training.stages import Stage

BATCH_SIZE = 256
JUDGED_BY = "subset_accuracy"  # of one image it is right or wrong, which no mean of precisions is


@dataclass(frozen=True)
class LabelledImage:
    """What the adapter says of one image that may have several labels.

    Attributes:
        path: the file, or empty for an image in memory.
        labels: those that it has, the most probable one first.
        probabilities: (K,) of each label of the adapter by itself; empty where the image could not be read.
        error: why the image could not be read, else empty.
    """

    path: str
    labels: tuple[str, ...]
    probabilities: np.ndarray
    error: str = ""


class LabelAnswers(NamedTuple):
    """What a method says of images: probabilities (N, K) and thresholds (K,), beside what they have (N, K)."""

    probabilities: np.ndarray
    thresholds: np.ndarray
    truth: np.ndarray
    names: tuple[str, ...]


@register_task
class MultiLabel(Task[MultiLabelData]):
    """Several labels for each image, or none; thresholds are chosen on the training images, out of fold."""

    name = "multi-label"
    title = "Multi-label classification"
    hub_task = "image-classification"
    refusal = "{data} has images of several labels, and {method} gives each image one; methods that do: {able}"
    capability: ClassVar[type[Labeller]] = Labeller
    figures = LABELS
    options = MappingProxyType({"multi_label": True})
    has_classes = True
    validates = True
    use = ("predict", "NEW_IMAGES")
    writes = "labels.csv"

    @property
    def judged_by(self) -> str:
        """Name of the figure that `hits` are parts of."""
        return JUDGED_BY

    # ------------------------------------------------------------------------------------------------------------ data

    def recognises(self, source: object) -> bool:
        """Return nothing: whoever has such data says so, since | may stand in the name of a class."""
        return False

    def load(self, source: Any, **options: Any) -> MultiLabelData:
        """Load images with several labels, see `load_data`."""
        found = load_data(source, **{**options, **self.options})
        assert isinstance(found, MultiLabelData)
        return found

    def parse_shots(self, shots: int | str) -> int | str:
        """Return the number of images of each label, `all`, or `budget:N`."""
        return parse_shots(shots)

    def prompts(
        self, data: MultiLabelData, domain: str | None, names: Mapping[str, str] | None, templates: Sequence[str] = ()
    ) -> PromptSet:
        """Return templates, given ones or those of the named or guessed domain, and words for the labels."""
        return choose_prompts(data, domain, names, templates)

    # -------------------------------------------------------------------------------------------------------- learning

    def begin(self, method: Labeller, train: MultiLabelData) -> None:
        """Have the method learn the labels."""
        method.learn_labels(train.class_names)

    def facts(self, train: MultiLabelData) -> TrainingFacts:
        """Return the numbers of images, of shots and of domains, and what is learned from as one: groups and copies."""
        groups = tuple(group_index(held_together(train), len(train))[0].tolist())
        return TrainingFacts(len(train), max(train.counts().values()), len(train.domain_names), groups=groups)

    def stages(self, method: Labeller, facts: TrainingFacts) -> Sequence[Stage]:
        """Return the stages of the method."""
        return method.label_stages(facts)

    # ------------------------------------------------------------------------------------------------------- measuring

    @torch.no_grad()
    def answer(self, method: Labeller, feed: Feed, data: MultiLabelData, given: Given) -> LabelAnswers:
        """Return the probability of each label beside the labels.

        Raises:
            DataError: there is no image, or a label that the method does not know.
            ConfigError: the method has learned classes, of which an image has one.
        """
        require_images(data)
        self.check_predicts(method)
        method.eval()
        device, names = method.backbone.device, method.class_names
        found = torch.cat([method.label_probabilities(batch.to(device)).cpu() for batch in chunks(feed, BATCH_SIZE)])
        if not found.isfinite().all():
            raise TrainingError(f"{method.name} gives probabilities that are not finite; adapt again")
        return LabelAnswers(found.numpy(), method.label_thresholds.cpu().numpy(), _truth(data, names), names)

    def measure(self, answers: LabelAnswers, data: MultiLabelData, resamples: int = 1000) -> dict[str, Any]:
        """Return what `evaluate_several` gives."""
        scores, thresholds, truth, names = answers
        return evaluate_several(scores, truth, thresholds, names, data.groups, resamples=resamples)

    def hits(self, answers: LabelAnswers) -> np.ndarray:
        """Return whether all labels of an image are right, those that it has and those that it has not."""
        found: np.ndarray = ((answers.probabilities >= answers.thresholds) == answers.truth).all(axis=1)
        return found

    def kept(self, answers: LabelAnswers, data: MultiLabelData) -> dict[str, np.ndarray | Sequence[str | None]]:
        """Return the labels of each image, those that are predicted, the share that agrees, and all probabilities."""
        scores, thresholds, truth, names = answers
        said = scores >= thresholds
        both = {
            column: [join_labels([name for name, there in zip(names, row, strict=True) if there]) for row in rows]
            for column, rows in (("label", truth), ("predicted", said))
        }
        shares = {f"p({name})": scores[:, number] for number, name in enumerate(names)}
        return {**both, "agreement": (said == truth).mean(axis=1), **shares}

    def note(self, metrics: Mapping[str, Any]) -> str:
        """Return the number of images, what the intervals are, and where thresholds come from."""
        return (
            f"{metrics['samples']} test images; brackets: 95 % bootstrap interval over {metrics['groups']} groups; "
            "thresholds: by F1 on the training images, out of fold"
        )

    def details(self, metrics: Mapping[str, Any]) -> tuple[list[str], list[list[str]]]:
        """Return average precision, precision, recall, F1 and threshold of every label."""
        shares = ("average_precision", "precision", "recall", "f1")
        rows = [
            [
                name,
                str(row["support"]),
                *("" if row[key] is None else f"{100 * row[key]:.1f}" for key in shares),
                f"{row['threshold']:.3f}",
            ]
            for name, row in metrics["per_label"].items()
        ]
        return ["label", "images", "AP", "precision", "recall", "F1", "threshold"], rows

    # --------------------------------------------------------------------------------------------------------- records

    def decisive(self, common: dict[str, Any], splits: Mapping[str, MultiLabelData]) -> dict[str, Any]:
        """Return all that is common, and that labels are told apart."""
        return common | {"task": self.name}

    def describe(self, record: dict[str, Any], splits: Mapping[str, MultiLabelData], prompts: PromptSet) -> None:
        """Enter the task, the number of labels, how many an image has, and the domain of the templates."""
        record["task"] = self.name
        record["data"]["classes"] = len(splits["train"].class_names)
        record["data"]["labels_an_image"] = {
            name: float(part.targets.sum(1).mean()) for name, part in splits.items() if len(part)
        }
        record["domain"] = prompts.domain.id

    # ------------------------------------------------------------------------------------------------------ predicting

    def check_predicts(self, method: Any) -> None:
        """Refuse a method that has learned no labels.

        Raises:
            ConfigError: so it is.
        """
        if not isinstance(method, Labeller) or not method.apart:
            raise ConfigError(
                f"this {method.name} has learned classes, of which an image has one; adapt again to images of several "
                "labels, with `multi_label=True`"
            )

    def predictor(
        self, method: Labeller, coverage: float | None = None, known: float = 0.0, within: Within | None = None
    ) -> Task[Any]:
        """Return itself; it has no p-values.

        Raises:
            ConfigError: sets are asked for, of which one class is right.
        """
        if coverage is not None:
            raise ConfigError(
                "`coverage` makes sets of which one class is right, and images of this run have several labels; leave "
                "it out"
            )
        return super().predictor(method, None, known, within)

    @torch.no_grad()
    def predict(self, method: Labeller, batch: Batch, paths: Sequence[str]) -> Iterator[LabelledImage]:
        """Yield the labels of each image, and the probability of each label."""
        thresholds = method.label_thresholds.cpu().numpy()
        for path, row in zip(paths, method.label_probabilities(batch).cpu().numpy(), strict=True):
            order = (-row).argsort(kind="stable").tolist()
            had = tuple(method.class_names[number] for number in order if row[number] >= thresholds[number])
            yield LabelledImage(path, had, row)

    def unreadable(self, path: str, reason: str) -> LabelledImage:
        """Return a prediction without labels."""
        return LabelledImage(path, (), np.zeros(0), reason)

    def columns(self, method: Labeller) -> dict[str, type]:
        """Return path, label, the probability of each label, and error."""
        return {"path": str, "label": str, **{f"p({name})": float for name in method.class_names}, "error": str}

    def row(self, method: Labeller, prediction: LabelledImage) -> dict[str, str | float | None]:
        """Return the row of an image, its labels as `load_data` reads them; unless it could not be read."""
        scores = prediction.probabilities.tolist() or [None] * len(method.class_names)
        label = "" if prediction.error else join_labels(prediction.labels)
        shares = {f"p({name})": score for name, score in zip(method.class_names, scores, strict=True)}
        return {"path": prediction.path, "label": label, **shares, "error": prediction.error}

    def plain(self, method: Labeller, prediction: LabelledImage) -> dict[str, Any]:
        """Return path, labels as a list, the probabilities by label, and error."""
        return {
            "path": prediction.path,
            "labels": list(prediction.labels),
            "probabilities": dict(zip(method.class_names, prediction.probabilities.tolist(), strict=False)),
            "error": prediction.error,
        }

    def line(self, prediction: LabelledImage) -> str:
        """Return labels and path."""
        return f"{' | '.join(prediction.labels) or '|':<32}  {prediction.path}"


def _truth(data: MultiLabelData, names: tuple[str, ...]) -> np.ndarray:
    """Return which of some labels each image has (N, K).

    Raises:
        DataError: an image has a label that is not among them.
    """
    own = data.counts()
    unknown = next((name for name, count in own.items() if count and name not in names), None)
    if unknown is not None:
        raise DataError(
            f"{data.name}: the adapter does not know the label '{unknown}' (it knows {', '.join(names)}); rename it, "
            "or adapt again"
        )
    place = {name: number for number, name in enumerate(data.class_names)}
    columns = [data.targets[:, place[name]] if name in place else np.zeros(len(data), bool) for name in names]
    return np.stack(columns, axis=1)
