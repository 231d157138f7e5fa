"""Captioning: a sentence about each image, written by a generative model and compared with those that people wrote."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

import numpy as np
import torch

from acclimate.data import CaptionData, load_captions, parse_budget
from acclimate.errors import BackboneError, DataError
from acclimate.methods import Answerer, Method, TrainingFacts
from acclimate.metrics import CAPTIONING, caption_scores, evaluate_captions
from acclimate.tasks.contract import Task, require_images
from acclimate.tasks.registry import register_task
from acclimate.training.feeds import Feed, chunks

if TYPE_CHECKING:
    from acclimate.prompts import PromptSet
    from acclimate.training.batch import Batch
    from acclimate.training.inputs import Given
    from acclimate.training.stages import Stage

BATCH_SIZE = 64
LONGEST = 40  # tokens of a caption


@dataclass(frozen=True)
class Caption:
    """What a model writes about one image.

    Attributes:
        path: the file, or empty for an image in memory.
        caption: what it writes; empty where the image could not be read.
        error: why the image could not be read, else empty.
    """

    path: str
    caption: str
    error: str = ""


class Written(NamedTuple):
    """What a method has written about each image, and what it is compared with."""

    captions: Sequence[str]
    references: Sequence[Sequence[str]]


@register_task
class Captioning(Task[CaptionData]):
    """A sentence about each image; what is measured is CIDEr-D, BLEU and ROUGE-L."""

    name = "captioning"
    title = "Captioning"
    refusal = "{data} has captions, and {method} writes none; methods that do: {able}"
    capability: ClassVar[type[Method]] = Answerer
    figures = CAPTIONING
    other_data = "OTHER_CAPTIONS"
    use = ("predict", "NEW_IMAGES")
    writes = "captions.csv"

    def recognises(self, source: object) -> bool:
        """Return nothing: captions are recognised by retrieval, and are this task's where a method writes them."""
        return False

    def load(self, source: Any, **options: Any) -> CaptionData:
        """Load images with captions, see `load_captions`."""
        known = ("images_root", "split_seed", "split_rule", "split_from", "on_corrupt")
        return load_captions(source, **{name: options[name] for name in known if name in options})

    def facts_of(self, data: CaptionData) -> dict[str, Any]:
        """Return a hash of the captions."""
        return {"captions": data.fingerprint[:16]}

    def parse_shots(self, shots: int | str) -> str:
        """Return `budget:N`, or `all` for anything else."""
        return parse_budget(shots)

    # -------------------------------------------------------------------------------------------------------- learning

    def begin(self, method: Answerer, train: CaptionData) -> None:
        """Have the method make its tensors for these captions, one of which is learned of each image in an epoch.

        Raises:
            DataError: a caption does not fit into the context of the model.
        """
        lessons = [(method.asks_for_captions, caption) for _, caption in train.lessons]
        for lesson in lessons:
            try:
                method.check_lesson(*lesson)
            except BackboneError as error:
                raise DataError(f"{train.name}: the caption {lesson[1][:60]!r}: {error}") from None
        method.learn_answers(lessons)

    def facts(self, train: CaptionData) -> TrainingFacts:
        """Return the number of images."""
        return TrainingFacts(len(train), len(train))

    def stages(self, method: Answerer, facts: TrainingFacts) -> Sequence[Stage]:
        """Return the stages that learn captions."""
        return method.answer_stages(facts)

    # ------------------------------------------------------------------------------------------------------- measuring

    @torch.no_grad()
    def answer(self, method: Answerer, feed: Feed, data: CaptionData, given: Given) -> Written:
        """Return what the method writes, beside the captions that are there.

        Raises:
            DataError: there is no image.
        """
        require_images(data)
        method.eval()
        written: list[str] = []
        device, asked = method.backbone.device, method.asks_for_captions
        for batch in chunks(feed, BATCH_SIZE):
            written += method.generate(batch.to(device), [asked] * len(batch), LONGEST)
        return Written(written, data.captions)

    def measure(self, answers: Written, data: CaptionData, resamples: int = 1000) -> dict[str, Any]:
        """Return what `evaluate_captions` gives."""
        return evaluate_captions(*answers, data.groups, resamples=resamples)

    def hits(self, answers: Written) -> np.ndarray:
        """Return the CIDEr-D of each caption, whose mean is the headline."""
        return caption_scores(*answers)

    def note(self, metrics: Mapping[str, Any]) -> str:
        """Return how many captions there are and how long they are, and what the intervals are."""
        return (
            f"{metrics['samples']} captions of {metrics['words']:.1f} words; brackets: 95 % bootstrap interval over "
            f"{metrics['groups']} groups of images"
        )

    # --------------------------------------------------------------------------------------------------------- records

    def decisive(self, common: dict[str, Any], splits: Mapping[str, CaptionData]) -> dict[str, Any]:
        """Return what decides these runs: captions in place of prompts and classes."""
        told = {name: value for name, value in common.items() if name not in ("classes", "prompts", "test_prompts")}
        return {"task": self.name, "captions": [part.fingerprint for part in splits.values()], **told}

    def describe(self, record: dict[str, Any], splits: Mapping[str, CaptionData], prompts: PromptSet) -> None:
        """Enter the task and the numbers of captions."""
        record["task"] = self.name
        record["data"]["captions"] = {name: sum(map(len, part.captions)) for name, part in splits.items()}

    # ------------------------------------------------------------------------------------------------------ predicting

    def check_predicts(self, method: Any) -> None:
        """Refuse nothing: an image alone can be described."""

    @torch.no_grad()
    def predict(self, method: Answerer, batch: Batch, paths: Sequence[str]) -> Iterator[Caption]:
        """Yield the caption of each image of a batch."""
        texts = method.generate(batch, [method.asks_for_captions] * len(batch), LONGEST)
        for path, text in zip(paths, texts, strict=True):
            yield Caption(path, text)

    def unreadable(self, path: str, reason: str) -> Caption:
        """Return a caption that is none."""
        return Caption(path, "", reason)

    def columns(self, method: Answerer) -> dict[str, type]:
        """Return path, caption and error."""
        return {"path": str, "caption": str, "error": str}

    def row(self, method: Answerer, prediction: Caption) -> dict[str, str | float | None]:
        """Return a caption as a row of a table."""
        return {"path": prediction.path, "caption": prediction.caption, "error": prediction.error}

    def line(self, prediction: Caption) -> str:
        """Return a caption as a line of text."""
        return f"{prediction.path}  {prediction.error or prediction.caption}"
