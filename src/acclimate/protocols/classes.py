"""Base-to-novel: learn half of the classes, and be tested on them, on the other half, and on all of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

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
    measured: ClassVar[Literal["test", "val"]] = "test"  # the split that is measured

    def trials(self, sets: Mapping[str, ImageData]) -> tuple[str, ...]:
        """Return the one data set.

        Raises:
            DataError: a single class would be novel, and every image of it right; or no image of a side is measured.
        """
        data = only(sets, self.name)
        base, novel = halves(data)
        if len(novel) < 2:
            raise DataError(
                f"{data.name}: {len(data.class_names)} classes leave {len(novel)} on the novel side, where nothing can "
                "be told apart; base-to-novel needs 4 classes or more"
            )
        tested = set(self._measured(data).label_names)
        for side, names in ((BASE, base), (NOVEL, novel)):
            if not tested & set(names):
                what = {"test": "test", "val": "validation"}[self.measured]
                raise DataError(f"{data.name}: no {what} image of any {side} class; correct the split")
        return tuple(sets)

    def count_trials(self, names: Sequence[str]) -> int:
        """Return one for the data set."""
        return len(names)

    def draw(self, trial: str, sets: Mapping[str, ImageData], shots: int | str, seed: int) -> Trial:
        """Return shots of the base classes, and the measured images of either side and of both."""
        data = only(sets, self.name)
        base, novel = (data.filter_classes(side) for side in halves(data))
        tests = {BASE: self._measured(base), NOVEL: self._measured(novel), ALL: self._measured(data)}
        return self.make_trial(base.train, self._watched(base), tests, shots, seed)

    def _measured(self, data: ImageData) -> ImageData:
        return data.test if self.measured == "test" else data.val

    def _watched(self, base: ImageData) -> ImageData:
        """Return the validation images that a run may choose by: none of those that are measured."""
        return base.val if self.measured == "test" else base.val.select([])

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


@protocol
@dataclass(frozen=True, kw_only=True)
class BaseToNovelValidation(BaseToNovel):
    """Base-to-novel for choosing settings: measured on the validation split, so that no test image is looked at.

    Nothing validates within a run. The novel classes of the validation split do say which settings keep them, so what
    is chosen by them is to be reported as such.
    Source: Gulrajani and Lopez-Paz 2021 (arXiv 2007.01434), section 3, for choosing and reporting on different images.
    """

    name: ClassVar[str] = "base-to-novel-validation"
    title: ClassVar[str] = "Base-to-novel generalisation, measured on the validation split"
    rules: ClassVar[tuple[str, ...]] = ("last-step",)
    measured: ClassVar[Literal["test", "val"]] = "val"


def halves(data: ImageData) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the base and the novel classes: the names, cut in the middle, the odd one to base."""
    middle = (len(data.class_names) + 1) // 2
    return data.class_names[:middle], data.class_names[middle:]
