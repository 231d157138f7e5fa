"""`AdaptedModel`: an adapted backbone that evaluates, predicts, saves and loads."""

from __future__ import annotations

import copy
import logging
import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from acclimate import arguments
from acclimate.data import ImageData
from acclimate.data.bands import Bands, parse_bands
from acclimate.data.frozen import load_splits, splits_document
from acclimate.data.hierarchy import Hierarchy
from acclimate.errors import ConfigError
from acclimate.methods import Classifier, ClassSet
from acclimate.runs import copies, showing
from acclimate.runs.adapter_info import describe_adapter
from acclimate.runs.asked import ask_about, within_of
from acclimate.runs.encoders import open_scorer
from acclimate.runs.folder import SPLITS
from acclimate.runs.kept_predictions import Table, read_predictions
from acclimate.runs.predicting import predict_images, stream_images
from acclimate.runs.saving import save_run
from acclimate.runs.selection import Images, choose_evaluation_images
from acclimate.runs.several import among_own
from acclimate.tasks import get_task, open_data, task_of
from acclimate.tasks.within import FLOOR
from acclimate.training.feeding import evaluation_feed
from acclimate.training.inputs import Given
from acclimate.training.progress import Progress, Silent

if TYPE_CHECKING:
    from acclimate.backbones import DualEncoder
    from acclimate.backbones.backbone import Backbone
    from acclimate.methods import Method
    from acclimate.methods.trust import Trust
    from acclimate.training.feeds import Feed

logger = logging.getLogger("acclimate.runs")


class AdaptedModel:
    """A method with its learned tensors on a frozen backbone.

    Made by `acclimate.adapt` and `acclimate.load`.

    Attributes:
        method: the method, bound to its classes.
        record: what `record.json` holds: metrics, baselines, cost, versions, seed and fingerprints.
        splits: the images of the train, val and test splits, where the model was adapted in this process.
        journal: the entries of `log.jsonl`.
        cache_dir: feature cache used by `evaluate`; none computes everything.
        run: the run folder of a model that was loaded.
        whole: the data that the splits were drawn from, of a model that was adapted in this process.
        task: what it has learned.
        left_out: what `adapter.json` says of the domain encoder that a loaded model does without.
        sets: the classes and words of several data sets that it has learned from together, by their names.
        serves: which of these it is bound to; none: the classes of all of them, or what `rebind` was given.
        seen_before: sha256 of images that what it began with had seen.
        bands: those that it is shown of images of many, which it has learned from or `load` was given; none: the first.
        laid_aside: the `trust` of a loaded model that does without its domain encoder; it is saved, and not used.
    """

    seen_before: frozenset[str] = frozenset()
    laid_aside: Trust | None = None
    left_out: dict[str, Any] | None = None
    sets: Mapping[str, ClassSet] = {}
    serves: str | None = None
    bands: Bands | None

    def __init__(
        self,
        method: Method,
        record: dict[str, Any],
        splits: dict[str, ImageData] | None = None,
        journal: Sequence[dict[str, Any]] = (),
        cache_dir: Path | None = None,
        run: Path | None = None,
        whole: ImageData | None = None,
    ) -> None:
        self.method, self.record, self.splits, self.run = method, record, splits, run
        self.whole, self.prompts = whole, method.prompts
        self.journal, self.cache_dir = list(journal), cache_dir
        self.bands = parse_bands(record.get("data", {}).get("bands"))
        learned = get_task(record.get("task", ImageData.task))
        self.task = learned if learned.has_classes or not self.class_names else get_task(ImageData.task)

    def __repr__(self) -> str:
        """Return method, backbone, classes, size and headline figure in a line."""
        return showing.summary(self)

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle what was learned, and where the frozen encoders are; the images of `splits` stay behind."""
        return copies.reduced(self)

    def __deepcopy__(self, memo: dict[int, Any]) -> AdaptedModel:
        """Return a model with learned tensors of its own, on the same frozen encoders."""
        revive, parts = copies.reduced(self)
        copied: AdaptedModel = revive(*copy.deepcopy(parts, memo))
        copied.splits, copied.run, copied.whole = self.splits, self.run, self.whole
        return copied

    def __copy__(self) -> AdaptedModel:
        """Return a deep copy: two models never share what is learned."""
        return copy.deepcopy(self)

    @property
    def class_names(self) -> tuple[str, ...]:
        """The classes, in the order of the probabilities; none where it tells none apart."""
        return self.method.class_names if isinstance(self.method, Classifier) else ()

    @property
    def trained_classes(self) -> tuple[str, ...]:
        """The classes of the training data, which stay the same when others are bound."""
        return self.method.trained_classes if isinstance(self.method, Classifier) else ()

    @property
    def trust(self) -> Trust | None:
        """What the run has found of how far predictions can be trusted; none where it is not known."""
        return self.method.trust if isinstance(self.method, Classifier) else None

    @property
    def backbone(self) -> Backbone:
        """The frozen backbone."""
        return self.method.backbone

    def rebind(self, class_names: Sequence[str]) -> AdaptedModel:
        """Serve other classes with the same learned tensors, where the method can.

        Raises:
            ConfigError: when the method has weights for its own classes only, or tells no classes apart.
        """
        if not isinstance(self.method, Classifier):
            raise ConfigError(f"{self.method.name} tells no classes apart")
        self.method.bind(class_names)
        self.task, self.serves = self.task if self.task.has_classes else get_task(ImageData.task), None
        return self

    def of_set(self, name: str) -> AdaptedModel:
        """Serve the classes of one of several data sets that it has learned from together, in the words of that set.

        Raises:
            ConfigError: there is none of that name.
        """
        if name not in self.sets:
            raise ConfigError(
                f"`classes_of={name!r}`: this run has learned from {', '.join(self.sets)}; name one of these"
                if self.sets
                else f"`classes_of={name!r}`: this run has learned from a single data set; leave `classes_of` out"
            )
        known = self.sets[name]
        self.method.prompts = known.prompts
        self.rebind(known.class_names).serves = name
        return self

    @cached_property
    def frozen(self) -> dict[str, Any] | None:
        """What `splits.json` holds, which images it has learned from among them; none where that is not known.

        Raises:
            RunError: the file is damaged, or has gone since the model was loaded.
        """
        if self.splits is None:
            return None if self.run is None else load_splits(self.run / SPLITS)
        told = {"seed": self.record["seed"], "shots": self.record["shots"]}
        return splits_document(self.splits, **told, digests=True, whole=self.whole)

    def evaluate(
        self,
        data: ImageData | str | os.PathLike[str] | Any,
        resamples: int = 1000,
        progress: Progress | None = None,
        *,
        split: str = "auto",
        scorer: str | os.PathLike[str] | DualEncoder | None = None,
        hierarchy: str | os.PathLike[str] | Hierarchy | None = None,
        floor: float = FLOOR,
        adapt_to_folder: bool = False,
        **options: Any,
    ) -> dict[str, Any]:
        """Return metrics on labelled images or on images with captions, with 95 % bootstrap intervals over groups.

        Args:
            data: as in `adapt`, of classes that it knows. One of several data sets that it has learned from is measured
                among its own classes, see `among_own`.
            resamples: bootstrap resamples, 1 or more.
            progress: told of every batch.
            split: `auto`: the images that the model has not seen. On the data that it was adapted to those are the test
                images; on other data with a given split, its test images; else all. Images that you have chosen, such
                as `data.val` or `data.select(rows)`, are measured as they are, with a warning if it has seen them.
                `all`, or the name of a split, means those.
            scorer: as in `adapt`.
            hierarchy, floor, adapt_to_folder: as in `predict`; with a hierarchy the metrics have `hierarchy`.
            options: of `load_data`, where `data` is not loaded yet.

        Raises:
            DataError: data that cannot be loaded, no image, or a class that the model does not know.
            ConfigError: an option out of its range, or a method that cannot do this.
        """
        resamples = arguments.whole("resamples", resamples, 1)
        arguments.progress("progress", progress)
        data = self.shown(open_data(data, **{"allow_one_class": True, **self.task.options, **options}))
        method, task = self.method, task_of(data, type(self.method))
        task.check(type(method), data.name)
        if adapt_to_folder:
            task = task.adapting_to_folder(method)
        data = self.choose_images(data, split)
        judge = open_scorer(scorer, task, self.backbone, self.backbone.device)
        with among_own(self, data):
            within = self.within(hierarchy, floor, adapt_to_folder)
            return task.evaluate(method, *self.feed_for(method, data, progress, judge), resamples, within)

    def feed_for(
        self, method: Method, data: ImageData, progress: Progress | None = None, scorer: DualEncoder | None = None
    ) -> tuple[Feed, ImageData, Given]:
        """Return what a task reads of images to measure a method on the model's encoders: a feed, the images, inputs.

        Args:
            method: the model's own, or one beside it.
            data: the images.
            progress: told of every batch.
            scorer: dual encoder that judges written captions, or none.
        """
        made_of = (self.backbone, method.domain_encoder, None, method.config, self.cache_dir, progress or Silent())
        given = Given(*made_of, scorer=scorer)
        return evaluation_feed(method.inputs.prediction, data, given, method.reading), data, given

    def shown(self, data: Images) -> Images:
        """Return images with the bands of the model shown, where they do not name their own."""
        return replace(data, bands=self.bands) if data.bands is None and self.bands is not None else data

    def choose_images(self, data: Images, split: str = "auto") -> Images:
        """Return the images of a data set that the model is measured on; see `choose_evaluation_images`."""
        return choose_evaluation_images(self.frozen, data, split, self.method.domain_encoder, self.seen_before)

    @cached_property
    def predictions(self) -> Table | None:
        """What it has said of the test images of its run, with a row for each; none where that was not kept."""
        return None if self.run is None else read_predictions(self.run)

    _repr_html_ = showing.html  # in a notebook
    predict = predict_images
    stream = stream_images
    ask = ask_about
    within = within_of
    describe = describe_adapter
    save = save_run
