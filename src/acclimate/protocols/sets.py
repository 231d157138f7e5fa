"""Cross-dataset: learn from one or several data sets, be tested on others with classes of their own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar, Literal

from acclimate.data import ImageData, join_data
from acclimate.errors import ConfigError, DataError
from acclimate.options import nearest, option
from acclimate.protocols.contract import Protocol, Trial, protocol, refuse_reserved
from acclimate.protocols.layout import Layout
from acclimate.protocols.published import apply_rule, check_rule, get_split_rule


@protocol
@dataclass(frozen=True, kw_only=True)
class CrossDataset(Protocol):
    """Train on the source sets, pooled; test on each other set among its own classes, and on the sources themselves.

    Only methods that serve classes they were not trained on can be measured on the targets.
    Source: Zhou et al. 2022 (arXiv 2203.05557), section 4.2; all images of the targets as in Bai et al. 2024 (SPG,
    arXiv 2404.19286), section 5.2.
    """

    name: ClassVar[str] = "cross-dataset"
    title: ClassVar[str] = "Cross-dataset transfer"
    layout: ClassVar[Layout] = Layout(order=3, joint=True, source_apart=True)
    several_sets: ClassVar[bool] = True

    sources: str = option("", "names of the sets to train on, joined by +; empty: each set in turn against the others")
    test_images: Literal["test", "all"] = option(
        "test", "images of a target set that are measured: its test split, or all"
    )
    splits: str = option("own", "how images of the sources part: own (the data's split), or a published rule")

    def __post_init__(self) -> None:
        """Refuse an unknown split rule."""
        super().__post_init__()
        get_split_rule(self.splits)

    def trials(self, sets: Mapping[str, ImageData]) -> tuple[str, ...]:
        """Return the sources, or every set in turn.

        Raises:
            ConfigError: the sources are no data sets, or leave none to test on.
            DataError: a target has no image to test on, or a source no split that the split rule could take.
        """
        if len(sets) < 2:
            raise ConfigError("cross-dataset needs two data sets or more: one to train on, the others to test on")
        refuse_reserved(sets, "data set")
        joint = next((name for name in sets if "+" in name), None)
        if joint is not None:
            raise ConfigError(f"cross-dataset: rename the data set '{joint}', since + joins the names of sources")
        trials = ("+".join(_names(self.sources)),) if self.sources else tuple(sets)
        for trial in trials:
            self._check(trial, sets)
        return trials

    def count_trials(self, names: Sequence[str]) -> int:
        """Return one where the sources are named, else one for each set."""
        return 1 if self.sources else len(names)

    def draw(self, trial: str, sets: Mapping[str, ImageData], shots: int | str, seed: int) -> Trial:
        """Return shots of the pooled sources, their test images where there are some, and those of each other set."""
        self._check(trial, sets)
        named = {name: replace(data, name=name) for name, data in sets.items()}
        sources = [apply_rule(self.splits, named.pop(name)) for name in _names(trial)]
        source = join_data(sources) if len(sources) > 1 else sources[0]
        tests = {trial: source.test} if len(source.test) else {}
        tests |= {name: self._tested(data) for name, data in named.items()}
        return self.make_trial(source.train, source.val, tests, shots, seed)

    def _check(self, trial: str, sets: Mapping[str, ImageData]) -> None:
        names = _names(trial)
        unknown = next((name for name in names if name not in sets), None)
        if unknown is not None:
            known = f"{nearest(unknown, sets)} (data sets: {', '.join(sets)})"
            raise ConfigError(f"cross-dataset: no data set is named '{unknown}'{known}")
        if len(set(names)) < len(names):
            raise ConfigError(f"cross-dataset: sources={trial} names a data set twice; name each once")
        if len(names) == len(sets):
            raise ConfigError(f"cross-dataset: sources={trial} leaves no set to test on; name fewer sources")
        for name, data in sets.items():
            if name in names:
                check_rule(self.splits, data)
            elif not len(self._tested(data)):
                raise DataError(f"{name}: no image to test on; give it a test split, or use test_images=all")

    def _tested(self, data: ImageData) -> ImageData:
        return data if self.test_images == "all" else data.test


def _names(trial: str) -> list[str]:
    return [name.strip() for name in trial.split("+")]
