"""Cross-dataset: learn from one or several data sets, be tested on others with classes of their own."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal

from acclimate.data import ImageData, join_data
from acclimate.errors import ConfigError, DataError
from acclimate.options import option
from acclimate.protocols.contract import Protocol, Trial, draw_training, draw_validation, protocol


@protocol
@dataclass(frozen=True, kw_only=True)
class CrossDataset(Protocol):
    """Train on the source sets, pooled; test on each other set among its own classes, and on the sources themselves.

    Only methods that serve classes they were not trained on can be measured on the targets.
    Source: Zhou et al. 2022 (arXiv 2203.05557), section 4.2.
    """

    name: ClassVar[str] = "cross-dataset"
    title: ClassVar[str] = "Cross-dataset transfer"
    several_sets: ClassVar[bool] = True

    sources: str = option("", "names of the sets to train on, joined by +; empty: each set in turn against the others")
    test_images: Literal["test", "all"] = option(
        "test", "images of a target set that are measured: its test split, or all"
    )

    def trials(self, sets: Mapping[str, ImageData]) -> tuple[str, ...]:
        """Return the sources, or every set in turn."""
        if len(sets) < 2:
            raise ConfigError("cross-dataset needs two data sets or more: one to train on, the others to test on")
        if not self.sources:
            return tuple(sets)
        names = self.sources.split("+")
        unknown = [name for name in names if name not in sets]
        if unknown:
            raise ConfigError(f"cross-dataset: no data set named '{unknown[0]}' (there are {', '.join(sets)})")
        if len(set(names)) == len(sets):
            raise ConfigError(f"cross-dataset: sources={self.sources} leaves no set to test on; name fewer sources")
        return (self.sources,)

    def draw(self, trial: str, sets: Mapping[str, ImageData], shots: int | str, seed: int) -> Trial:
        """Return shots of the pooled sources, and the images of each target set."""
        names = trial.split("+")
        source = join_data([sets[name] for name in names]) if len(names) > 1 else sets[trial]
        tests = {trial: source.test}
        for name, data in sets.items():
            if name not in names:
                tests[name] = data if self.test_images == "all" else data.test
        empty = [name for name, data in tests.items() if not len(data)]
        if empty:
            raise DataError(f"{empty[0]}: no image to test on; give it a test split, or use test_images=all")
        return Trial(draw_training(source.train, shots, seed), draw_validation(source.val, shots, seed), tests)
