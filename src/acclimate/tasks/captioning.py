"""Captioning: a sentence about each image, written by a generative model and compared with those that people wrote."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from acclimate.data import CaptionData, load_captions
from acclimate.errors import BackboneError, DataError
from acclimate.methods import Answerer
from acclimate.metrics import CAPTIONING, PREFIX, caption_scores, clip_score, evaluate_captions, ref_clip_score
from acclimate.tasks.classified import require_images
from acclimate.tasks.contract import table_options
from acclimate.tasks.registry import register_task
from acclimate.tasks.retrieval import OwnCaptions
from acclimate.tasks.writing import Writing, Written
from acclimate.training.encoding import image_features, text_features
from acclimate.training.feeds import Feed, chunks

if TYPE_CHECKING:
    from acclimate.prompts import PromptSet
    from acclimate.training.batch import Batch
    from acclimate.training.inputs import Given
    from acclimate.training.inputs.kinds import References

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


@register_task
class Captioning(Writing[CaptionData]):
    """A sentence about each image; what is measured is CIDEr-D, BLEU and ROUGE-L, and by a scorer CLIPScore."""

    name = "captioning"
    title = "Captioning"
    hub_task = "image-to-text"
    refusal = "{data} has captions, and {method} writes none; methods that do: {able}"
    subject = "captions"
    figures = CAPTIONING
    judged = True
    other_data = "OTHER_CAPTIONS"
    use = ("predict", "NEW_IMAGES")
    writes = "captions.csv"

    def recognises(self, source: object) -> bool:
        """Return nothing: captions are recognised by retrieval, and are this task's where a method writes them."""
        return False

    def load(self, source: Any, **options: Any) -> CaptionData:
        """Load images with captions, see `load_captions`."""
        return load_captions(source, **table_options(options))

    # -------------------------------------------------------------------------------------------------------- learning

    def begin(self, method: Answerer, train: CaptionData) -> None:
        """Have the method make its tensors for these captions, one of which is learned of each image in an epoch.

        Raises:
            DataError: a caption does not fit into the context of the model.
        """
        captions = [caption for _, caption in train.lessons]
        for caption in captions:
            try:
                method.check_lesson(method.asks_for_captions, caption)
            except BackboneError as error:
                raise DataError(f"{train.name}: the caption {caption[:60]!r}: {error}") from None
        method.learn_captions(captions)

    def references(self, composed: References | None) -> References:
        """Return the captions, for methods that learn from sentences about an image."""
        return OwnCaptions()

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
        return Written(written, data.captions, self._judge(given, data, written))

    def _judge(self, given: Given, data: CaptionData, written: list[str]) -> dict[str, np.ndarray]:
        """Return what the scorer says of captions that were written, if there is one."""
        if given.scorer is None:
            return {}
        references = [text for several in data.captions for text in several]
        owners = np.repeat(np.arange(len(data)), [len(several) for several in data.captions])
        images = image_features(given.scorer, data, given.cache_dir, given.progress)
        sentences = [PREFIX + text for text in (*written, *references)]
        texts = text_features(given.scorer, sentences, given.cache_dir, given.progress)
        own, others = texts[: len(written)], texts[len(written) :]
        return {"clip_score": clip_score(images, own), "ref_clip_score": ref_clip_score(images, own, others, owners)}

    def measure(self, answers: Written, data: CaptionData, resamples: int = 1000) -> dict[str, Any]:
        """Return what `evaluate_captions` gives."""
        written, references, judged = answers
        return evaluate_captions(written, references, data.groups, judged=judged, resamples=resamples)

    def hits(self, answers: Written) -> np.ndarray:
        """Return the CIDEr-D of each caption, whose mean is the headline."""
        return caption_scores(answers.texts, answers.references)

    def kept(self, answers: Written, data: CaptionData) -> dict[str, np.ndarray | Sequence[str | None]]:
        """Return the caption that is written about each image, its CIDEr-D, and what a scorer says of it."""
        return {"caption": answers.texts, "cider_d": self.hits(answers), **answers.judged}

    def note(self, metrics: Mapping[str, Any]) -> str:
        """Return how many captions there are and how long they are, and what the intervals are."""
        return (
            f"{metrics['samples']} captions of {metrics['words']:.1f} words; brackets: 95 % bootstrap interval over "
            f"{metrics['groups']} groups of images"
        )

    # --------------------------------------------------------------------------------------------------------- records

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
