"""The contract of a task: how its data are loaded, what is learned, what is measured, and what a prediction holds."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, ClassVar, Generic, TypeVar

import numpy as np

from acclimate.data import ImageData
from acclimate.errors import ConfigError
from acclimate.methods import Method, TrainingFacts, list_methods
from acclimate.metrics import compare_hits, find_figure
from acclimate.tasks.predicting import Predicting
from acclimate.training.feeds import Feed

if TYPE_CHECKING:
    from acclimate.prompts import PromptSet
    from acclimate.tasks.within import Within
    from acclimate.training.inputs import Given
    from acclimate.training.inputs.kinds import References
    from acclimate.training.stages import Stage

D = TypeVar("D", bound=ImageData)


class Task(Predicting, Generic[D]):
    """Base of all tasks.

    Nothing else in the package asks which task it is: whatever depends on it is a member here.

    Attributes:
        name: as in records.
        title: for readers.
        refusal: what is said where a method cannot do it, with places for {data}, {method} and the {able}.
        capability: what a method must be able to do.
        figures: names of the metrics that tables show, in their order; the first one is the headline.
        has_classes: whether images have classes, which can be named in words and exchanged after training.
        validates: whether validation images are used.
        exclusive: whether each image is of exactly one class, which sets of classes and learning curves speak of.
        options: what `load_data` is told to read such data, whatever users say.
        joins: whether several data sets can be learned from together.
        judged: whether a dual encoder, the scorer, may judge what methods say.
        other_data: what the next steps call other data of this kind.
        use: the command that does with a run what it was made for, and what it takes; nothing where there is none.
        writes: the file that this command may write, or nothing.
        hub_task: what the Hugging Face Hub calls it; nothing where it has no word for it.
    """

    name: ClassVar[str]
    title: ClassVar[str]
    refusal: ClassVar[str]
    capability: ClassVar[type[Method]]
    figures: ClassVar[tuple[str, ...]]
    has_classes: ClassVar[bool] = False
    exclusive: ClassVar[bool] = False
    options: ClassVar[Mapping[str, Any]] = MappingProxyType({})
    validates: ClassVar[bool] = False
    joins: ClassVar[bool] = False
    judged: ClassVar[bool] = False
    other_data: ClassVar[str] = "OTHER_DATA"
    use: ClassVar[tuple[str, ...]] = ()
    writes: ClassVar[str] = ""
    hub_task: ClassVar[str] = ""

    @property
    def headline(self) -> str:
        """Name of the metric that speaks for a method."""
        return self.figures[0]

    @property
    def judged_by(self) -> str:
        """Name of the figure that is the mean of `hits`: the headline, where it is a mean over images."""
        return self.headline

    # ------------------------------------------------------------------------------------------------------------ data

    @abstractmethod
    def recognises(self, source: object) -> bool:
        """Return whether a source, such as a folder, holds data of this task."""

    @abstractmethod
    def load(self, source: Any, **options: Any) -> D:
        """Load data of this task; `options` are those of `load_data`, of which some may mean nothing here."""

    def facts_of(self, data: D) -> dict[str, Any]:
        """Return what decides results on data, beside the images with their labels and splits, as plain values."""
        return {}

    @abstractmethod
    def parse_shots(self, shots: int | str) -> int | str:
        """Return how many images are learned from, as the package writes it.

        Raises:
            ConfigError: it is nothing of the kind.
        """

    def prompts(
        self, data: D, domain: str | None, names: Mapping[str, str] | None, templates: Sequence[str] = ()
    ) -> PromptSet:
        """Return templates, given ones or those of a domain, and words for the classes; by default those of no domain.

        Raises:
            ConfigError: templates are given, and there are no classes to speak of.
        """
        from acclimate.prompts import PromptSet

        if templates:
            raise ConfigError(f"{data.name} has no classes that `templates` could speak of; leave them out")
        return PromptSet()

    # -------------------------------------------------------------------------------------------------------- learning

    def check(self, method: type[Method], data: str) -> None:
        """Refuse a method that cannot do this.

        Args:
            method: its class.
            data: what messages call the data.

        Raises:
            ConfigError: it cannot.
        """
        if not issubclass(method, self.capability):
            able = [other.name for other in list_methods() if issubclass(other, self.capability)]
            raise ConfigError(self.refusal.format(data=data, method=method.name, able=", ".join(able)))

    @abstractmethod
    def begin(self, method: Any, train: D) -> None:
        """Have a method make its tensors for these training images."""

    @abstractmethod
    def facts(self, train: D) -> TrainingFacts:
        """Return what a method may know of the training images."""

    @abstractmethod
    def stages(self, method: Any, facts: TrainingFacts) -> Sequence[Stage]:
        """Return what the fit loop has to do."""

    def score(self, method: Any) -> Callable[[Feed], float] | None:
        """Return what tells epochs apart by validation images, the higher the better; none where nothing does."""
        return None

    def baselines(self, backbone: str, domain_encoder: bool) -> list[type[Method]]:
        """Return the methods that stand beside others.

        Args:
            backbone: kind of the backbone that they adapt.
            domain_encoder: whether there is one; those that read one stand only there.
        """
        able = [method for method in list_methods() if issubclass(method, self.capability)]
        found = [method for method in able if method.baseline is not None and backbone in method.backbones]
        found = [method for method in found if domain_encoder or not method.inputs.domain_encoder]
        return sorted(found, key=lambda method: method.baseline or 0)

    def otherwise(self, method: type[Method]) -> Task[Any]:
        """Return the task that a method, which cannot do this one, does with the same data; by default this one."""
        return self

    # ------------------------------------------------------------------------------------------------------- measuring

    @abstractmethod
    def answer(self, method: Any, feed: Feed, data: D, given: Given) -> Any:
        """Return what a method says of images, for `measure` and `hits` to read.

        Args:
            method: has the capability.
            feed: serves `data` as the method reads it.
            data: what is measured on.
            given: what the inputs are made of.

        Raises:
            DataError: there is no image, or the method does not know what they show.
        """

    @abstractmethod
    def measure(self, answers: Any, data: D, resamples: int = 1000) -> dict[str, Any]:
        """Return the metrics of answers, with intervals; `resamples` of the bootstrap over groups."""

    @abstractmethod
    def hits(self, answers: Any) -> np.ndarray:
        """Return (N,) whether the answer to each image is right; their mean is `judged_by`."""

    def kept(self, answers: Any, data: D) -> dict[str, np.ndarray | Sequence[str | None]]:
        """Return what a run keeps of answers, in columns by name, with a value for each image; nothing by default."""
        return {}

    def evaluate(
        self, method: Any, feed: Feed, data: D, given: Given, resamples: int = 1000, within: Within | None = None
    ) -> dict[str, Any]:
        """Return the metrics of a method on images, see `answer`, `measure` and, where there is one, `graded`."""
        answers = self.answer(method, feed, data, given)
        found = self.measure(answers, data, resamples)
        graded = {} if within is None else {"hierarchy": self.graded(method, answers, data, within, resamples)}
        return found | graded

    def verdict(self, own: str, hits: Mapping[str, np.ndarray], data: D) -> dict[str, Any] | None:
        """Return how a method stands to the best of the others on the same images; none where there is no other.

        Args:
            own: name of the method.
            hits: of every method, by name, as `hits` returns them.
            data: the images.

        Returns:
            `metric`, `against` which other, of how many `others`, and what `compare_hits` gives.
        """
        others = {name: each for name, each in hits.items() if name != own}
        if own not in hits or not others:
            return None
        best = max(others, key=lambda name: others[name].mean())
        found = compare_hits(hits[own], others[best], data.groups)
        return {"metric": self.judged_by, "against": best, "others": len(others), **found}

    def shown(self, metrics: Mapping[str, Any]) -> tuple[str, ...]:
        """Return those of the figures that were measured."""
        return tuple(name for name in self.figures if find_figure(metrics, name) is not None)

    def confusions(self, metrics: Mapping[str, Any]) -> str:
        """Return in one line what is taken for what most often; empty where nothing is, or it is not measured."""
        return ""

    def floor(self, metrics: Mapping[str, Any]) -> str:
        """Return in one line what is reached without looking at an image; empty where that says nothing."""
        return ""

    def references(self, composed: References | None) -> References | None:
        """Return the sentences about the images: those that are given or composed, unless the data have their own."""
        return composed

    def serves(self, method: Any, data: D) -> bool:
        """Return whether a method that has learned other classes can be measured on these images."""
        return True

    @abstractmethod
    def note(self, metrics: Mapping[str, Any]) -> str:
        """Return what a reader must know of metrics, in one line."""

    def details(self, metrics: Mapping[str, Any]) -> tuple[list[str], list[list[str]]] | None:
        """Return a second table of metrics, its headings and rows; none where there is none."""
        return None

    def graded(self, method: Any, answers: Any, data: D, within: Within, resamples: int = 1000) -> dict[str, Any]:
        """Return at which level of a hierarchy answers are given, and how often they are right there."""
        raise NotImplementedError

    # --------------------------------------------------------------------------------------------------------- records

    @abstractmethod
    def decisive(self, common: dict[str, Any], splits: Mapping[str, D]) -> dict[str, Any]:
        """Return what tells a run from others.

        Args:
            common: what decides the result of runs of any task.
            splits: the images, by what they serve for.
        """

    @abstractmethod
    def describe(self, record: dict[str, Any], splits: Mapping[str, D], prompts: PromptSet) -> None:
        """Enter into a record what this task alone has."""


def table_options(options: Mapping[str, Any]) -> dict[str, Any]:
    """Return those options of `load_data` that mean something for a table of texts about images."""
    known = ("images_root", "split_seed", "split_rule", "split_from", "on_corrupt")
    return {name: options[name] for name in known if name in options}
