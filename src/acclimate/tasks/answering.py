"""Answering: a question about each image, and what a model that writes text answers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from acclimate.data import QuestionData, find_questions, load_questions
from acclimate.errors import BackboneError, ConfigError, DataError
from acclimate.methods import Answerer
from acclimate.metrics import ANSWERING, evaluate_answers, normalise_answer, right_answers
from acclimate.tasks.classified import require_images
from acclimate.tasks.contract import table_options
from acclimate.tasks.registry import register_task
from acclimate.tasks.writing import Writing, Written
from acclimate.training.feeds import Feed

if TYPE_CHECKING:
    from acclimate.prompts import PromptSet
    from acclimate.training.inputs import Given

BATCH_SIZE = 64
LONGEST = 32  # tokens of an answer, unless a reference is longer
SHOWN = 10  # answers in the second table


@register_task
class Answering(Writing[QuestionData]):
    """Questions about images, or instructions; answers are written greedily, and measured by VQA accuracy."""

    name = "answering"
    title = "Answering"
    hub_task = "visual-question-answering"
    refusal = (
        "{data} has questions, and {method} writes no answers; methods that do: {able}, on a generative backbone such "
        "as mini-vlm"
    )
    subject = "questions"
    figures = ANSWERING
    other_data = "OTHER_QUESTIONS"
    use = ("ask", "IMAGE", "QUESTION")

    def recognises(self, source: object) -> bool:
        """Return whether the source has a table of questions."""
        return find_questions(source) is not None

    def load(self, source: Any, **options: Any) -> QuestionData:
        """Load images with questions, see `load_questions`."""
        return load_questions(source, **table_options(options))

    # -------------------------------------------------------------------------------------------------------- learning

    def begin(self, method: Answerer, train: QuestionData) -> None:
        """Have the method make its tensors for these questions.

        Raises:
            DataError: a question and its answer do not fit into the context of the model; it names the row.
        """
        rows = {question.lesson: question.row for question in reversed(train.questions)}
        for lesson, row in rows.items():
            try:
                method.check_lesson(*lesson)
            except BackboneError as error:
                raise DataError(f"{train.name} row {row}: {error}") from None
        method.learn_answers(train.lessons)

    # ------------------------------------------------------------------------------------------------------- measuring

    @torch.no_grad()
    def answer(self, method: Answerer, feed: Feed, data: QuestionData, given: Given) -> Written:
        """Return what the method writes.

        Raises:
            DataError: there is no image.
        """
        require_images(data)
        method.eval()
        questions, device = data.questions, method.backbone.device
        references = [question.answers for question in questions]
        longest = max(LONGEST, *(method.answer_length(text) for text in {text for some in references for text in some}))
        written = [""] * len(questions)
        for rows in _by_image(data).split(BATCH_SIZE):
            asked = [questions[row].text for row in rows.tolist()]
            texts = method.generate(feed.batch(rows).to(device), asked, longest)
            for row, text in zip(rows.tolist(), texts, strict=True):
                written[row] = text
        return Written(written, references)

    def measure(self, answers: Written, data: QuestionData, resamples: int = 1000) -> dict[str, Any]:
        """Return what `evaluate_answers` gives, and how often the most frequent answers are found (`per_answer`)."""
        found = evaluate_answers(answers.texts, answers.references, data.groups, resamples=resamples)
        right = self.hits(answers)
        usual = [normalise_answer(question.lesson[1]) for question in data.questions]
        rows: dict[str, list[int]] = {}
        for row, answer in enumerate(usual):
            rows.setdefault(answer, []).append(row)
        most = sorted(rows, key=lambda answer: (-len(rows[answer]), answer))[:SHOWN]
        per_answer = {
            answer: {"support": len(rows[answer]), "vqa_accuracy": float(right[rows[answer]].mean())} for answer in most
        }
        return {**found, "images": len(set(data.paths)), "per_answer": per_answer}

    def hits(self, answers: Written) -> np.ndarray:
        """Return how right each answer is, 0 to 1."""
        return right_answers(answers.texts, answers.references)

    def kept(self, answers: Written, data: QuestionData) -> dict[str, np.ndarray | Sequence[str | None]]:
        """Return each question with the answer that people gave most often, the answer that is written, and its VQA."""
        questions = data.questions
        return {
            "question": [question.text for question in questions],
            "expected": [question.lesson[1] for question in questions],
            "answer": answers.texts,
            "vqa_accuracy": self.hits(answers),
        }

    def note(self, metrics: Mapping[str, Any]) -> str:
        """Return how many questions there are, and what the intervals are."""
        return (
            f"{metrics['samples']} questions about {metrics['images']} images; brackets: 95 % bootstrap interval over "
            f"{metrics['groups']} groups of questions"
        )

    def details(self, metrics: Mapping[str, Any]) -> tuple[list[str], list[list[str]]]:
        """Return how often the most frequent answers are found."""
        rows = [
            [answer, str(row["support"]), f"{100 * row['vqa_accuracy']:.1f}"]
            for answer, row in metrics["per_answer"].items()
        ]
        return ["answer", "questions", "VQA"], rows

    def floor(self, metrics: Mapping[str, Any]) -> str:
        """Return the accuracy of always giving the commonest answer."""
        usual = next(iter(metrics["per_answer"]))
        return f"Always answering {usual} would be right for {100 * metrics['most_frequent']:.1f} %."

    # --------------------------------------------------------------------------------------------------------- records

    def describe(self, record: dict[str, Any], splits: Mapping[str, QuestionData], prompts: PromptSet) -> None:
        """Enter the task and the numbers of images that are asked about."""
        record["task"] = self.name
        record["data"]["asked_about"] = {name: len(set(part.paths)) for name, part in splits.items()}

    def check_predicts(self, method: Any) -> None:
        """Refuse: an image alone asks nothing.

        Raises:
            ConfigError: always.
        """
        raise ConfigError(
            "this run answers questions; put one to an image with `ask`, or give it classes with `rebind`"
        )


def _by_image(data: QuestionData) -> torch.Tensor:
    """Return the rows (N,) in an order in which those about one image stand together."""
    shown = data.once()[1]
    return torch.arange(len(data)) if shown is None else torch.from_numpy(shown).argsort(stable=True)
