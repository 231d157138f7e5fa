"""Classification: one of several classes for each image."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import torch

from acclimate.data import ImageData, load_data, parse_shots
from acclimate.data.several import BETWEEN
from acclimate.errors import ConfigError
from acclimate.methods import AnsweringClassifier, Classifier, Labeller, Method, TrainingFacts
from acclimate.methods.trust import UNKNOWN
from acclimate.metrics import CLASSIFICATION, evaluate_classification, evaluate_levels, evaluate_sets, evaluate_written
from acclimate.metrics.evaluate import group_index
from acclimate.prompts import PromptSet, get_domain, guess_domain
from acclimate.tasks.classified import (
    Answers,
    Prediction,
    class_indices,
    ordered_set,
    probabilities,
    require_images,
    trusted,
    written_classes,
)
from acclimate.tasks.contract import Task
from acclimate.tasks.registry import register_task
from acclimate.tasks.within import Within, temperature_of, told_levels
from acclimate.training.feeds import Feed

if TYPE_CHECKING:
    from acclimate.training.batch import Batch
    from acclimate.training.inputs import Given
    from acclimate.training.stages import Stage

CONFUSIONS = 3  # pairs of classes that are named
SHOWN = 0.9  # coverage of the sets that a reader is told of

logger = logging.getLogger("acclimate.tasks")


@register_task
class Classification(Task[ImageData]):
    """One of several classes for each image; what is measured has intervals over groups."""

    name = "classification"
    title = "Classification"
    hub_task = "image-classification"
    refusal = "{data} has labels, and {method} tells no classes apart; methods that do: {able}"
    capability: ClassVar[type[Method]] = Classifier
    figures = CLASSIFICATION
    has_classes = True
    exclusive = True
    use = ("predict", "NEW_IMAGES")
    writes = "labels.csv"
    validates = True
    joins = True

    def recognises(self, source: object) -> bool:
        """Return nothing: what no other task recognises is labelled images."""
        return False

    def load(self, source: Any, **options: Any) -> ImageData:
        """Load labelled images, see `load_data`."""
        return load_data(source, **options)

    def parse_shots(self, shots: int | str) -> int | str:
        """Return the number of images of each class, `all`, or `budget:N`."""
        return parse_shots(shots)

    def prompts(
        self, data: ImageData, domain: str | None, names: Mapping[str, str] | None, templates: Sequence[str] = ()
    ) -> PromptSet:
        """Return templates, given ones or those of the named or guessed domain, and words for the classes."""
        return choose_prompts(data, domain, names, templates)

    def begin(self, method: Classifier, train: ImageData) -> None:
        """Bind the method to the classes."""
        method.bind(train.class_names)

    def facts(self, train: ImageData) -> TrainingFacts:
        """Return the numbers of images, of shots and of domains, the classes, and groups and domains where they are."""
        groups = tuple(group_index(train.groups, len(train))[0].tolist()) if any(train.groups) else ()
        labels, names = tuple(class_indices(train, train.class_names).tolist()), train.domain_names
        places = tuple(map(names.index, train.domains)) if all(train.domains) else ()
        numbers = (len(train), max(train.counts().values()), len(names))
        return TrainingFacts(*numbers, groups=groups, labels=labels, places=places)

    def stages(self, method: Classifier, facts: TrainingFacts) -> Sequence[Stage]:
        """Return the stages of the method."""
        return method.stages(facts)

    def score(self, method: Classifier) -> Callable[[Feed], float]:
        """Return what the method has its epochs chosen by: the accuracy, if nothing else."""
        return method.validation_score

    def answer(self, method: Classifier, feed: Feed, data: ImageData, given: Given) -> Answers:
        """Return the probabilities beside the labels.

        Raises:
            DataError: there is no image, or a class that the method does not know.
            ConfigError: the method has learned labels, of which an image may have several.
        """
        require_images(data)
        if isinstance(method, Labeller) and method.apart:
            raise ConfigError(
                f"this {method.name} has learned labels, of which an image may have several; load {data.name} with "
                "`multi_label=True`"
            )
        labels = class_indices(data, method.class_names)
        written = written_classes(method, feed) if isinstance(method, AnsweringClassifier) else None
        found = Answers(probabilities(method, feed), labels, method.class_names, written)
        return found if method.trust is None else trusted(method, method.trust, found, feed, data, given)

    def measure(self, answers: Answers, data: ImageData, resamples: int = 1000) -> dict[str, Any]:
        """Return what `evaluate_classification` gives; beside it, where there is any, what else the answers hold."""
        scores, labels, names, written, sets, p_known = answers
        found = evaluate_classification(scores, labels, names, groups=data.groups, resamples=resamples)
        if written is not None:
            found["written"] = evaluate_written(written, labels, len(names))
        if sets:
            how: dict[str, Any] = {"groups": data.groups, "resamples": resamples}
            found["sets"] = {f"{asked:g}": evaluate_sets(own, labels, names, **how) for asked, own in sets.items()}
        if p_known is not None:
            found["known"] = {"share": float((p_known >= UNKNOWN).mean()), "least_p": UNKNOWN}
        return found

    def hits(self, answers: Answers) -> np.ndarray:
        """Return whether the most probable class is the label."""
        return answers.probabilities.argmax(axis=1) == answers.labels

    def kept(self, answers: Answers, data: ImageData) -> dict[str, np.ndarray | Sequence[str | None]]:
        """Return label, prediction and probabilities of each image; beside them, where there are any, set and p-value.

        Sets hold the right class for the share `SHOWN` of images.
        """
        scores, labels, names, written, sets, p_known = answers
        found: dict[str, np.ndarray | Sequence[str | None]] = {
            "label": [names[number] for number in labels],
            "predicted": [names[number] for number in scores.argmax(axis=1)],
            "probability": scores.max(axis=1),
        }
        if written is not None:
            found["written"] = [None if number is None else names[number] for number in written]
        if SHOWN in sets:
            both = zip(scores, sets[SHOWN], strict=True)
            found["set"] = [BETWEEN.join(ordered_set(row, inside, names)) for row, inside in both]
        if p_known is not None:
            found |= {"p_known": p_known, "known": p_known >= UNKNOWN}
        return found | {f"p({name})": scores[:, number] for number, name in enumerate(names)}

    def serves(self, method: Classifier, data: ImageData) -> bool:
        """Return whether the method serves other classes than those that it has learned, or has weights for all."""
        return method.serves_new_classes or set(data.class_names) <= set(method.trained_classes)

    def note(self, metrics: Mapping[str, Any]) -> str:
        """Return the number of images, what the intervals are, and how written answers fare where there are some."""
        note = f"{metrics['samples']} test images; brackets: 95 % bootstrap interval over {metrics['groups']} groups"
        if (written := metrics.get("written")) is not None:
            share = f"{100 * written['accuracy']['value']:.1f} % of the answers that it writes freely are right"
            note += f"; {share}, {written['unmatched']} match no class"
        if (sets := metrics.get("sets", {}).get(f"{SHOWN:g}")) is not None:
            held, size, worst = sets["coverage"]["value"], sets["size"]["value"], sets["worst_class"]
            note += (
                f"; sets at {SHOWN:.0%}: {size:.1f} classes, right for {100 * held:.1f} % "
                f"({100 * worst['coverage']:.1f} % of {worst['name']})"
            )
        if (known := metrics.get("known")) is not None:
            note += f"; {100 * known['share']:.1f} % are like training images"
        if (graded := metrics.get("hierarchy")) is not None:
            note += f"; {told_levels(graded)}"
        return note

    def details(self, metrics: Mapping[str, Any]) -> tuple[list[str], list[list[str]]]:
        """Return precision, recall and F1 of every class."""
        rows = [
            [name, str(row["support"]), *(f"{100 * row[key]:.1f}" for key in ("precision", "recall", "f1"))]
            for name, row in metrics["per_class"].items()
        ]
        return ["class", "images", "precision", "recall", "F1"], rows

    def confusions(self, metrics: Mapping[str, Any]) -> str:
        """Return the most frequent confusions, such as "12 of 30 gneiss called granite"."""
        matrix, names = np.array(metrics["confusion_matrix"]), metrics["class_names"]
        support = matrix.sum(axis=1)
        wrong = [(int(matrix[k, j]), k, j) for k, j in np.ndindex(matrix.shape) if k != j and matrix[k, j]]
        first = sorted(wrong, key=lambda each: (-each[0], -each[0] / support[each[1]]))[:CONFUSIONS]
        return "; ".join(f"{count} of {support[k]} {names[k]} called {names[j]}" for count, k, j in first)

    def floor(self, metrics: Mapping[str, Any]) -> str:
        """Return the accuracy of always naming the commonest class."""
        counts = {name: row["support"] for name, row in metrics["per_class"].items()}
        most = max(counts, key=lambda name: counts[name])
        share = 100 * counts[most] / metrics["samples"]
        return f"Always giving the same answer, such as {most}, would be right for {share:.1f} % at most."

    def decisive(self, common: dict[str, Any], splits: Mapping[str, ImageData]) -> dict[str, Any]:
        """Return all that is common, without files where there are none."""
        return common if common["files"] else {name: value for name, value in common.items() if name != "files"}

    def describe(self, record: dict[str, Any], splits: Mapping[str, ImageData], prompts: PromptSet) -> None:
        """Enter the number of classes and the domain of the templates."""
        record["data"]["classes"] = len(splits["train"].class_names)
        record["domain"] = prompts.domain.id

    def check_predicts(self, method: Any) -> None:
        """Refuse a method that is bound to no class.

        Raises:
            ConfigError: so it is.
        """
        if not isinstance(method, Classifier) or not method.class_names:
            raise ConfigError(f"{method.name} knows no classes; give it some with `rebind`")

    def graded(
        self, method: Classifier, answers: Answers, data: ImageData, within: Within, resamples: int = 1000
    ) -> dict[str, Any]:
        """Return what `evaluate_levels` gives, with the floor, the temperature and the file."""
        within.check(method.class_names)
        nodes = within.nodes(answers.probabilities, temperature_of(method))
        right = [within.holds(node, int(label)) for node, label in zip(nodes, answers.labels, strict=True)]
        found = evaluate_levels([node.level for node in nodes], right, data.groups, resamples=resamples)
        return {"floor": within.floor, "temperature": temperature_of(method), **found}

    def predictor(
        self, method: Classifier, coverage: float | None = None, known: float = 0.0, within: Within | None = None
    ) -> Task[ImageData]:
        """Return itself, or what adds sets of classes, p-values and nodes of a hierarchy, where there are some.

        Raises:
            ConfigError: a value out of its range, or sets of a run that has held nothing out.
        """
        from acclimate.tasks.labelling import labelling_of  # which is a classification itself

        return labelling_of(method, coverage, known, within) or self

    def adapting_to_folder(self, method: Classifier) -> Classification:
        """Return what predicts all images together, see `FolderClassification`.

        Raises:
            ConfigError: the method has nothing that could be adapted.
        """
        from acclimate.tasks.folder import adapting_to_folder  # which is a classification itself

        return adapting_to_folder(self, method)

    @torch.no_grad()
    def predict(self, method: Classifier, batch: Batch, paths: Sequence[str]) -> Iterator[Prediction]:
        """Yield label and probabilities of each image."""
        logits, spread = method.logits_and_spread(batch)
        spreads = [None] * len(logits) if spread is None else spread.tolist()
        shares = method.of_bound(logits).double().softmax(dim=-1).cpu().numpy()
        for path, row, differ in zip(paths, shares, spreads, strict=True):
            best = int(row.argmax())
            yield Prediction(path, method.class_names[best], float(row[best]), row, spread=differ)

    def unreadable(self, path: str, reason: str) -> Prediction:
        """Return a prediction without a label."""
        return Prediction(path, "", 0.0, np.zeros(0), reason)

    def columns(self, method: Classifier) -> dict[str, type]:
        """Return path, label, probability, spread where there is one, the probability of each class, and error."""
        spread: dict[str, type] = {"spread": float} if method.predicts_spread else {}
        classes: dict[str, type] = {f"p({name})": float for name in method.class_names}
        return {"path": str, "label": str, "probability": float, **spread, **classes, "error": str}

    def row(self, method: Classifier, prediction: Prediction) -> dict[str, str | float | None]:
        """Return the row of an image; one that could not be read has no numbers."""
        cells = self._cells(method, prediction)
        return {name: cells[name] for name in self.columns(method)}

    def _cells(self, method: Classifier, prediction: Prediction) -> dict[str, str | float | None]:
        scores = prediction.probabilities.tolist() or [None] * len(method.class_names)
        known: dict[str, str | float | None] = {
            f"p({name})": score for name, score in zip(method.class_names, scores, strict=True)
        }
        known |= {"path": prediction.path, "label": prediction.label, "error": prediction.error}
        known |= {"probability": None if prediction.error else prediction.probability, "spread": prediction.spread}
        return known

    def plain(self, method: Classifier, prediction: Prediction) -> dict[str, Any]:
        """Return path, label, probability, spread where there is one, the probabilities by class, and error."""
        return {
            "path": prediction.path,
            "label": prediction.label,
            "probability": prediction.probability,
            **({} if prediction.spread is None else {"spread": prediction.spread}),
            "probabilities": dict(zip(method.class_names, prediction.probabilities.tolist(), strict=False)),
            "error": prediction.error,
        }

    def line(self, prediction: Prediction) -> str:
        """Return probability, spread where there is one, label and path."""
        spread = "" if prediction.spread is None else f" ±{prediction.spread:5.1%}"
        return f"{prediction.probability:6.1%}{spread}  {prediction.label:<24}  {prediction.path}"


def choose_prompts(
    data: ImageData, domain: str | None, names: Mapping[str, str] | None, templates: Sequence[str] = ()
) -> PromptSet:
    """Return templates, given ones or those of the named or guessed domain, and words for the classes."""
    if domain is None:
        guessed, reason = guess_domain(data.class_names, data.name)
        logger.info("domain '%s': %s; choose another with `domain`", guessed.id, reason)
        domain = guessed.id
    if len(templates) > 1:
        logger.info(
            "%d templates: what averages several takes all, what takes one takes the first: '%s'",
            len(templates),
            templates[0],
        )
    return PromptSet(get_domain(domain).with_templates(templates), overrides=names or {})
