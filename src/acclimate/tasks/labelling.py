"""Labels that say how sure they are: with a set of classes that holds the right one, and whether an image is known."""

from __future__ import annotations

import logging
import math
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from acclimate import arguments
from acclimate.counting import counted
from acclimate.data.several import BETWEEN
from acclimate.errors import ConfigError
from acclimate.methods.trust import HeldOut, Known
from acclimate.metrics import sets_within, tempered, units_needed
from acclimate.tasks.classification import Classification
from acclimate.tasks.classified import Prediction, ordered_set
from acclimate.tasks.within import temperature_of

if TYPE_CHECKING:
    import numpy as np

    from acclimate.methods import Classifier
    from acclimate.methods.trust import Trust
    from acclimate.tasks.within import Within
    from acclimate.training.batch import Batch


class Labelling(Classification):
    """Classification of images without labels, with what the `Trust` of a method adds to each prediction.

    Args:
        held_out: makes the sets; none: there are none.
        coverage: how often a set is to hold the right class, above 0 and below 1.
        known: tells known from unknown; none: nothing does.
        least: the p-value below which an image is called unknown.
        within: the hierarchy whose deepest sure node is said; none: none is.
        temperature: of the probabilities.
    """

    def __init__(
        self,
        held_out: HeldOut | None,
        coverage: float,
        known: Known | None,
        least: float,
        within: Within | None = None,
        temperature: float = 1.0,
    ) -> None:
        self.held_out, self.coverage, self.known, self.least = held_out, coverage, known, least
        self.within, self.temperature = within, temperature
        self.reads = frozenset() if known is None else frozenset({known.look.reads})
        if held_out is not None:
            self.thresholds = held_out.thresholds(coverage)

    def adapting_to_folder(self, method: Classifier) -> Classification:
        """Return what `Classification` does, unless there are sets.

        Raises:
            ConfigError: there are sets, or the method has nothing that could be adapted.
        """
        if self.held_out is not None:
            raise ConfigError(
                f"`coverage={self.coverage:g}` with `adapt_to_folder=True`: sets hold for images that are labelled one "
                "by one; leave out one of the two"
            )
        return super().adapting_to_folder(method)

    def notes(self) -> Iterator[tuple[int, str]]:
        """Yield where there are too few images for sets or p-values to say anything."""
        if self.held_out is not None and (
            few := _too_few("held-out", units_needed(self.coverage), self.held_out.units)
        ):
            asked, source = f"`coverage={self.coverage:g}`", self.held_out.source
            yield logging.WARNING, f"every set holds all classes: {asked} needs {few} ({source})"
        if self.known is not None and (few := _too_few("training", math.floor(1 / self.least), self.known.units)):
            yield logging.INFO, f"no image is called unknown: `known={self.least:g}` needs {few}"

    def predict(self, method: Classifier, batch: Batch, paths: Sequence[str]) -> Iterator[Prediction]:
        """Yield what `Classification` does, with probabilities that are tempered where there are sets."""
        p_known: Sequence[Any] = [None] * len(paths)
        if self.known is not None:
            p_known = self.known.p_known(self.known.look.features(batch)).tolist()
        for prediction, p in zip(super().predict(method, batch, paths), p_known, strict=True):
            known = None if p is None else p >= self.least
            found = self._tempered(replace(prediction, p_known=p, known=known))
            found = found if self.held_out is None else self._with_set(method, found)
            yield found if self.within is None else self._with_node(found, self.within)

    def _tempered(self, prediction: Prediction) -> Prediction:
        if self.temperature == 1.0:
            return prediction
        shares: np.ndarray = tempered(prediction.probabilities[None], self.temperature)[0]
        return replace(prediction, probability=float(shares.max()), probabilities=shares)

    def _with_node(self, prediction: Prediction, within: Within) -> Prediction:
        (node,) = within.nodes(prediction.probabilities[None])
        return replace(prediction, node=node)

    def _with_set(self, method: Classifier, prediction: Prediction) -> Prediction:
        shares = prediction.probabilities[None]
        inside = sets_within(shares, self.thresholds)[0]
        return replace(prediction, set=ordered_set(shares[0], inside, method.class_names))

    def columns(self, method: Classifier) -> dict[str, type]:
        """Return those of `Classification`, and behind the label its set, and whether the image is known."""
        added: dict[str, type] = {} if self.held_out is None else {"set": str, "set_size": float}
        added |= {} if self.known is None else {"p_known": float, "known": str}
        added |= {} if self.within is None else {"node": str, "level": float, "node_probability": float}
        usual = super().columns(method)
        return {name: usual.pop(name) for name in ("path", "label", "probability")} | added | usual

    def row(self, method: Classifier, prediction: Prediction) -> dict[str, str | float | None]:
        """Return the row of an image: the classes of a set with | between, the most probable first."""
        inside, known = prediction.set, prediction.known
        own = {
            "set": None if inside is None else BETWEEN.join(inside),
            "set_size": None if inside is None else len(inside),
            "p_known": prediction.p_known,
            "known": None if known is None else "yes" if known else "no",
        }
        own |= dict(zip(("node", "level", "node_probability"), prediction.node or (None, None, None), strict=True))
        own |= super()._cells(method, prediction)
        return {name: own[name] for name in self.columns(method)}

    def plain(self, method: Classifier, prediction: Prediction) -> dict[str, Any]:
        """Return what `Classification` does, with the set as a list, its size, the p-value and what follows from it."""
        found = super().plain(method, prediction)
        if prediction.set is not None:
            found |= {"set": list(prediction.set), "set_size": len(prediction.set)}
        if prediction.p_known is not None:
            found |= {"p_known": prediction.p_known, "known": prediction.known}
        if (node := prediction.node) is not None:
            found |= {"node": node.name, "level": node.level, "node_probability": node.probability}
        return found

    def line(self, prediction: Prediction) -> str:
        """Return the line of `Classification`, then the set, and a word where the image is unknown."""
        inside = "" if prediction.set is None else f"  {{{BETWEEN.join(prediction.set)}}}"
        if (node := prediction.node) is not None:
            inside += f"  {node.name} {node.probability:.1%}" if node.level else "  no node is sure enough"
        unknown = f"  unknown (p {prediction.p_known:.3f})" if prediction.known is False else ""
        return f"{super().line(prediction)}{inside}{unknown}"


def _too_few(kind: str, needed: int, there: int) -> str:
    """Return in words that there are too few images, each of a group of its own; nothing where there are enough."""
    if there >= needed:
        return ""
    return f"{needed} {kind} images of different groups, {needed - there} more than there are"


def labelling_of(
    method: Classifier, coverage: float | None, least: float, within: Within | None = None
) -> Labelling | None:
    """Return what is said of each image beside its label, or none where nothing is.

    Args:
        method: bound to the classes that it is to tell apart.
        coverage: how often a set is to hold the right class; none: there are no sets.
        least: the p-value below which an image is called unknown; 0: nothing is said of that.
        within: the hierarchy whose deepest sure node is said; none: none is.

    Raises:
        ConfigError: a value out of its range, or sets of a run that has held nothing out.
    """
    coverage = arguments.optional(arguments.share, "coverage", coverage)
    least = arguments.share("known", least, 0)
    trust = method.trust
    held_out = None if coverage is None else _held_out(method, trust, coverage)
    known = trust.known if trust is not None and least > 0 else None
    if within is not None:
        within.check(method.class_names)
    temperature = 1.0 if held_out is None and within is None else temperature_of(method)
    told = held_out or known or within
    return Labelling(held_out, coverage or 0.0, known, least, within, temperature) if told else None


def _held_out(method: Classifier, trust: Trust | None, coverage: float) -> HeldOut:
    asked = f"`coverage={coverage:g}`"
    if trust is None:
        raise ConfigError(
            f"{asked}: this run keeps no calibration, as those of earlier releases, of a bench, or with another domain "
            "encoder; adapt again, with `overwrite=True` into the same folder"
        )
    if trust.held_out is None:
        raise ConfigError(
            f"{asked}: {method.name} has held out no image that sets could be made by; adapt again to data with "
            f"validation images, or label {counted(units_needed(coverage), 'image')} more for them"
        )
    if not trust.serves(method.class_names):
        raise ConfigError(
            f"{asked}: sets are made for the {len(trust.class_names)} classes of the run together; leave out "
            "`classes_of` and `rebind`, or leave out `coverage`"
        )
    return trust.held_out
