"""Retrieval: captions found by images, and images by captions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import torch
from torch.nn import functional as F

from acclimate.data import CaptionData, find_captions, load_captions, parse_budget
from acclimate.errors import ConfigError, TrainingError
from acclimate.methods import Answerer, Method, Retriever, TrainingFacts
from acclimate.metrics import RETRIEVAL, evaluate_retrieval, first_answers
from acclimate.tasks.classified import require_images
from acclimate.tasks.contract import Task, table_options
from acclimate.tasks.registry import get_task, register_task
from acclimate.training.encoding import text_features
from acclimate.training.feeds import Feed, chunks

if TYPE_CHECKING:
    from acclimate.prompts import PromptSet
    from acclimate.training.inputs import Given
    from acclimate.training.inputs.kinds import References
    from acclimate.training.stages import Stage

BATCH_SIZE = 256


@register_task
class Retrieval(Task[CaptionData]):
    """Captions found by images and images by captions; what is measured is Recall@1, @5 and @10."""

    name = "retrieval"
    title = "Image-text retrieval"
    refusal = (
        "{data} has captions, and {method} learns from labels; methods that find captions: {able}; methods that write "
        "them: those of a generative model, such as instruct; or give a table with the columns path,label"
    )
    capability: ClassVar[type[Method]] = Retriever
    figures = RETRIEVAL
    other_data = "OTHER_CAPTIONS"

    def recognises(self, source: object) -> bool:
        """Return whether the source has a table of captions."""
        return find_captions(source) is not None

    def load(self, source: Any, **options: Any) -> CaptionData:
        """Load images with captions, see `load_captions`."""
        return load_captions(source, **table_options(options))

    def facts_of(self, data: CaptionData) -> dict[str, Any]:
        """Return a hash of the captions."""
        return {"captions": data.fingerprint[:16]}

    def otherwise(self, method: type[Method]) -> Task[Any]:
        """Return captioning for a method that writes."""
        return get_task("captioning") if issubclass(method, Answerer) else self

    def parse_shots(self, shots: int | str) -> str:
        """Return `budget:N`, or `all` for anything else."""
        return parse_budget(shots)

    def begin(self, method: Retriever, train: CaptionData) -> None:
        """Have the method make its tensors; there are no classes."""
        method.build()

    def facts(self, train: CaptionData) -> TrainingFacts:
        """Return the number of images."""
        return TrainingFacts(len(train), len(train))

    def stages(self, method: Retriever, facts: TrainingFacts) -> Sequence[Stage]:
        """Return the stages that learn from captions."""
        return method.retrieval_stages(facts)

    @torch.no_grad()
    def answer(self, method: Retriever, feed: Feed, data: CaptionData, given: Given) -> tuple[np.ndarray, np.ndarray]:
        """Return the similarities (N, M) of images and captions, and which image each caption belongs to (M,).

        Raises:
            DataError: there is no image.
            TrainingError: the queries are not finite.
        """
        require_images(data)
        method.eval()
        captions, device = data.captions, method.backbone.device
        queries = torch.cat([method.queries(batch.to(device)).cpu() for batch in chunks(feed, BATCH_SIZE)])
        flat = [text for some in captions for text in some]
        texts = text_features(method.backbone, flat, given.cache_dir, given.progress)
        owners = torch.arange(len(captions)).repeat_interleave(torch.tensor([len(some) for some in captions]))
        similarities = queries.double() @ F.normalize(texts, dim=-1).double().T
        if not similarities.isfinite().all():
            raise TrainingError(f"{method.name} gives queries that are not finite; train it with a lower learning rate")
        return similarities.numpy(), owners.numpy()

    def measure(
        self, answers: tuple[np.ndarray, np.ndarray], data: CaptionData, resamples: int = 1000
    ) -> dict[str, Any]:
        """Return what `evaluate_retrieval` gives."""
        return evaluate_retrieval(*answers, data.groups, resamples=resamples)

    def hits(self, answers: tuple[np.ndarray, np.ndarray]) -> np.ndarray:
        """Return whether the first text that an image finds is its own."""
        return first_answers(*answers)

    def kept(
        self, answers: tuple[np.ndarray, np.ndarray], data: CaptionData
    ) -> dict[str, np.ndarray | Sequence[str | None]]:
        """Return the caption that each image finds first, and whether it is one of its own."""
        texts = [text for several in data.captions for text in several]
        return {"found": [texts[place] for place in answers[0].argmax(axis=1)], "own": self.hits(answers)}

    def note(self, metrics: Mapping[str, Any]) -> str:
        """Return what is found by what, and among how many."""
        return (
            "Recall@K in percent, finding texts by images and images by texts, among "
            f"{metrics['captions']} captions of {metrics['images']} images"
        )

    def decisive(self, common: dict[str, Any], splits: Mapping[str, CaptionData]) -> dict[str, Any]:
        """Return what decides these runs: captions in place of prompts, classes and shots."""
        names = ("method", "config", "backbone", "transform", "splits", "seed", "precision")
        captions = [part.fingerprint for part in splits.values()]
        return {"task": self.name, "captions": captions, **{name: common[name] for name in names}, **common["files"]}

    def describe(self, record: dict[str, Any], splits: Mapping[str, CaptionData], prompts: PromptSet) -> None:
        """Enter the task and the numbers of captions."""
        record["task"] = self.name
        counts = {name: sum(map(len, part.captions)) for name, part in splits.items()}
        record["data"]["captions"] = counts

    def references(self, composed: References | None) -> References:
        """Return the captions."""
        return OwnCaptions()

    def check_predicts(self, method: Any) -> None:
        """Refuse: an image alone has no caption to be found.

        Raises:
            ConfigError: always.
        """
        raise ConfigError(
            "this run has learned from captions and knows no classes; give it some with `rebind`, or measure it on "
            "captions with `evaluate`"
        )


class OwnCaptions:
    """The captions of images as their reference prompts."""

    def sets(self, data: CaptionData) -> tuple[Sequence[Sequence[str]], np.ndarray]:
        """Return the captions of each image, and which of these sets describes it (N,)."""
        return data.captions, np.arange(len(data))
