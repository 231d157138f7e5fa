"""Base-to-novel: learn half of the classes, and be tested on them, on the other half, and on all of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from acclimate.data import ImageData
from acclimate.errors import DataError
from acclimate.metrics import get_measure
from acclimate.protocols.contract import Figures, Protocol, Trial, only, protocol
from acclimate.protocols.layout import Layout

BASE, NOVEL, ALL, MEAN = "base", "novel", "all classes", "harmonic mean"


@protocol
@dataclass(frozen=True, kw_only=True)
class BaseToNovel(Protocol):
    """Train on the first half of the classes; test among base, among novel, and among all classes.

    Classes are sorted, or in the order of their numbers where the data are a published split list. The base side has
    the odd class. The harmonic mean is 2 b n / (b + n); "all classes" is the generalised setting, in which base and
    novel images are told apart among the classes of both sides.
    Source: Zhou et al. 2022 (arXiv 2203.05557), section 4.1; the harmonic mean after Xian et al. 2017
    (arXiv 1707.00600), who also argue for the generalised setting.
    """

    name: ClassVar[str] = "base-to-novel"
    title: ClassVar[str] = "Base-to-novel generalisation"
    layout: ClassVar[Layout] = Layout(order=2, mean=False, columns=(BASE, NOVEL, MEAN, ALL), derived=(MEAN, ALL))

    def trials(self, sets: Mapping[str, ImageData]) -> tuple[str, ...]:
        """Return the one data set.

        Raises:
            DataError: a single class would be novel, and every image of it right; or a side has no test images.
        """
        data = only(sets, self.name)
        base, novel = halves(data)
        if len(novel) < 2:
            raise DataError(
                f"{data.name}: {len(data.class_names)} classes leave {len(novel)} on the novel side, where nothing can "
                "be told apart; base-to-novel needs 4 classes or more"
            )
        tested = set(data.test.label_names)
        for side, names in ((BASE, base), (NOVEL, novel)):
            if not tested & set(names):
                raise DataError(f"{data.name}: no test image of any {side} class; correct the split")
        return tuple(sets)

    def count_trials(self, names: Sequence[str]) -> int:
        """Return one for the data set."""
        return len(names)

    def draw(self, trial: str, sets: Mapping[str, ImageData], shots: int | str, seed: int) -> Trial:
        """Return shots of the base classes, and the test images of either side and of both."""
        data = only(sets, self.name)
        base, novel = (data.filter_classes(side) for side in halves(data))
        tests = {BASE: base.test, NOVEL: novel.test, ALL: data.test}
        return self.make_trial(base.train, base.val, tests, shots, seed)

    def figures(self, tests: Mapping[str, Mapping[str, Any] | None]) -> Figures:
        """Return the three tests, and the harmonic mean of the first two."""
        found = super().figures(tests)
        means: dict[str, float | None] = {}
        for name, base in found[BASE].items():
            novel = found[NOVEL][name]
            if not get_measure(name).harmonic:
                continue
            if base is None or novel is None:
                means[name] = None
            else:
                means[name] = 2 * base * novel / (base + novel) if base + novel else 0.0
        return {BASE: found[BASE], NOVEL: found[NOVEL], MEAN: means, ALL: found[ALL]}


def halves(data: ImageData) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the base and the novel classes: the names, cut in the middle, the odd one to base."""
    middle = (len(data.class_names) + 1) // 2
    return data.class_names[:middle], data.class_names[middle:]
