"""Few-shot: learn from a few images of every class, or from a few images in all, and test on the test split."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

from acclimate.data import ImageData
from acclimate.errors import DataError
from acclimate.protocols.contract import Protocol, Trial, only, protocol
from acclimate.protocols.layout import Layout


@protocol
@dataclass(frozen=True, kw_only=True)
class FewShot(Protocol):
    """Train on k images of every class, or on a budget drawn with the data's own imbalance; test on the test split.

    Source: Zhou et al. 2022 (arXiv 2109.01134), section 4.1, with min(k, 4) validation images a class as in its
    released code; budgets over all classes as argued for by Silva-Rodriguez et al. 2025 (arXiv 2506.17500).
    """

    name: ClassVar[str] = "few-shot"
    title: ClassVar[str] = "Few-shot classification"
    layout: ClassVar[Layout] = Layout(order=1, heading="data", joint=True)

    def trials(self, sets: Mapping[str, ImageData]) -> tuple[str, ...]:
        """Return the one data set.

        Raises:
            DataError: it has no test images.
        """
        data = only(sets, self.name)
        if not len(data.test):
            raise DataError(f"{data.name}: no test image, so nothing can be measured; correct the split")
        return tuple(sets)

    def count_trials(self, names: Sequence[str]) -> int:
        """Return one for the data set."""
        return len(names)

    def draw(self, trial: str, sets: Mapping[str, ImageData], shots: int | str, seed: int) -> Trial:
        """Return shots of the training split, and the whole test split."""
        data = only(sets, self.name)
        return replace(self.make_trial(data.train, data.val, {"test": data.test}, shots, seed), whole=data)


@protocol
@dataclass(frozen=True, kw_only=True)
class FewShotValidation(FewShot):
    """Few-shot for choosing settings: measured on the whole validation split, so that no test image is looked at.

    Nothing validates within a run; what would choose by validation images falls back on its rule without them.
    Source: Gulrajani and Lopez-Paz 2021 (arXiv 2007.01434), section 3, for choosing and reporting on different images.
    """

    name: ClassVar[str] = "few-shot-validation"
    title: ClassVar[str] = "Few-shot classification, measured on the validation split"
    layout: ClassVar[Layout] = Layout()
    rules: ClassVar[tuple[str, ...]] = ("last-step",)

    def trials(self, sets: Mapping[str, ImageData]) -> tuple[str, ...]:
        """Return the one data set.

        Raises:
            DataError: it has no validation images.
        """
        data = only(sets, self.name)
        if not len(data.val):
            raise DataError(f"{data.name}: no validation image, so nothing can be measured; correct the split")
        return tuple(sets)

    def count_trials(self, names: Sequence[str]) -> int:
        """Return one for the data set."""
        return len(names)

    def draw(self, trial: str, sets: Mapping[str, ImageData], shots: int | str, seed: int) -> Trial:
        """Return shots of the training split, and the whole validation split to measure on."""
        data = only(sets, self.name)
        return self.make_trial(data.train, data.val.select([]), {"test": data.val}, shots, seed)
