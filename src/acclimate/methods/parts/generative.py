"""Classifiers on a generative VLM: an instruction asks for the class, and the answers are its label set, scored."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Literal

import torch
from torch import Tensor

from acclimate.backbones.generative.images import unpack
from acclimate.backbones.kinds import GENERATIVE
from acclimate.backbones.recording import frozen
from acclimate.errors import BackboneError, ConfigError
from acclimate.methods.facts import TrainingFacts
from acclimate.methods.parts.in_context import InContext
from acclimate.methods.parts.lessons import Asks, Lesson, Visual
from acclimate.methods.parts.scores import accuracy
from acclimate.options import Checked, option
from acclimate.prompts import PromptSet, check_instruction, render_instruction
from acclimate.training.inputs import IMAGE_TOKENS, OWN_TOKENS, Inputs

if TYPE_CHECKING:
    from acclimate.backbones import Conversation, GenerativeVLM
    from acclimate.backbones.generative.vlm import Images
    from acclimate.training.batch import Batch
    from acclimate.training.feeds import Feed

ROOM = 2  # tokens that a written answer may have beyond the longest label and the end of its turn


@dataclass(frozen=True, kw_only=True)
class AnswerConfig(Checked):
    """How a class is asked for, and how the answer is read."""

    instruction: str | None = option(
        None, "what is asked, with {labels} for the list of the classes; none: the instruction of the domain"
    )
    label_list: Literal["always", "training", "never"] = option(
        "always", "where the instruction lists the classes; without the list, the sentence that has it is left out"
    )
    image_shape: Literal["square", "own"] = option(
        "square",
        "whether every image is made the same square, or keeps its own shape where the backbone's family has tiles or "
        "grids; such tokens are not kept in the cache",
        later=True,
    )
    normalise: Literal["none", "length"] = option(
        "none", "whether the log-probability of an answer is divided by its number of tokens"
    )

    beams: int = option(
        1, "answers that are followed at once when one is written (beam search); 1: greedy", low=1, high=64, later=True
    )

    examples: int = option(
        0,
        "training images with question and answer, drawn by the seed, that stand before what is asked of an image, in "
        "prediction alone; for questions and captions",
        low=0,
        high=64,
        later=True,
    )

    def __post_init__(self) -> None:
        """Check the instruction, and that examples have the shape of all images."""
        super().__post_init__()
        if self.examples and self.image_shape == "own":
            raise ConfigError(
                f"image_shape=own and examples={self.examples} cannot be had together; leave one of them out"
            )
        if self.instruction is not None:
            check_instruction(self.instruction, f"instruction={self.instruction!r}")
            if self.label_list != "always" and not any(map(str.isalnum, render_instruction(self.instruction))):
                raise ConfigError(
                    f"instruction={self.instruction!r} asks nothing where label_list={self.label_list} leaves the "
                    "classes out; add a sentence without {labels}"
                )


class GenerativeClassifier(InContext):
    """A classifier that asks a generative VLM.

    The logits are log p(label | image, instruction), summed over the tokens of the label and the end of the turn, so
    their softmax is the probability of a class among all classes; every label is scored exactly, from one pass over
    image and instruction. New classes need no training. Where several data sets are learned from together, an image is
    asked for the classes of its own set alone, in the words and with the instruction of that set.

    Attributes:
        answers: the words of the bound classes.
        asks: what is asked of the images of each data set that is learned from, where there are several; nothing
            before `prepare` and after the training.
    """

    backbones = frozenset({GENERATIVE})
    default_backbone = "mini-vlm"
    backbone: GenerativeVLM
    inputs = Inputs({"image_tokens"})
    config: AnswerConfig
    asks: tuple[Asks, ...] = ()

    @classmethod
    def prompts_read(cls, prompts: PromptSet) -> dict[str, Any]:
        """Return the words of the classes and the instruction of the domain."""
        return prompts.to_dict() | {"instruction": prompts.domain.instruction}

    def set_classes(self) -> None:
        """Put the classes into words.

        Raises:
            ConfigError: two classes read the same, or one has words that have a meaning of their own in the backbone.
            BackboneError: question and answer do not fit into the context of the backbone.
        """
        self.own = self._asks(self.class_names, self.prompts)
        self.answers = tuple(self.own.answers.values())

    def prepare(self, facts: TrainingFacts) -> None:
        """Put the classes of each of several data sets into its own words."""
        super().prepare(facts)
        self.asks = tuple(self._asks(known.class_names, known.prompts) for known in facts.sets)

    def end_training(self) -> None:
        """Forget the data sets; whoever measures on one of them binds its classes."""
        super().end_training()
        self.asks = ()

    def _asks(self, class_names: Sequence[str], prompts: PromptSet) -> Asks:
        answers = tuple(prompts.words(class_names))
        alike = {answer for answer in answers if answers.count(answer) > 1}
        if alike:
            names = [name for name, answer in zip(class_names, answers, strict=True) if answer in alike]
            raise ConfigError(
                f"the classes {' and '.join(map(repr, names[:2]))} both read '{min(alike)}', and an answer has to tell "
                "them apart; give one of them other words with `names`"
            )
        places = [self.class_names.index(name) for name in class_names]
        template = self.config.instruction or prompts.domain.instruction
        listed = sorted(answers)  # whatever order is bound
        training, prediction = (
            render_instruction(template, listed if self.config.label_list in where else None)
            for where in (("always", "training"), ("always",))
        )
        asks = Asks(training, prediction, dict(zip(places, answers, strict=True)))
        _ = self.backbone.conversation(asks.prediction, self._longest(asks))  # fits, before any image is read
        return asks

    def _longest(self, asks: Asks) -> str:
        """Return the longest answer in tokens."""
        lengths = {}
        for label, answer in asks.answers.items():
            try:
                lengths[answer] = self.answer_length(answer)
            except BackboneError as error:
                raise ConfigError(f"class {self.class_names[label]!r}: {error}, with `names`") from error
        return max(lengths, key=lengths.__getitem__)

    def asked(self, training: bool) -> str:
        """Return the instruction for the bound classes, as it is learned from, or asked in prediction."""
        return self.own.training if training else self.own.prediction

    def asks_of(self, batch: Batch) -> list[Asks]:
        """Return what is asked of each image (B,): of its data set, where several are learned from together."""
        return [self.asks[number] for number in batch.sets.tolist()] if self.asks else [self.own] * len(batch)

    @property
    def asks_for_captions(self) -> str:
        """The instruction, where one is given; else the usual question."""
        return self.config.instruction or super().asks_for_captions

    def check_lesson(self, asked: str, answer: str) -> None:
        """Refuse a question that does not fit into the context with its answer.

        Raises:
            BackboneError: so it is.
        """
        _ = self.backbone.conversation(asked, answer)

    def answer_length(self, text: str) -> int:
        """Return how many tokens an answer has, with the one that ends it."""
        return len(self.backbone.tokenizer.response(text))

    def taught(self, batch: Batch) -> list[Lesson]:
        """Return what is learned about each image (B,): a question of its own, or the class among those of its set."""
        if self.lessons is not None:
            return [Lesson(*self.lessons[number]) for number in batch.lessons.tolist()]
        told = zip(self.asks_of(batch), batch.labels.tolist(), strict=True)
        return [Lesson(asks.training, asks.answers[label]) for asks, label in told]

    def answers_to(self, asked: str) -> list[str]:
        """Return all answers that are learned to a question."""
        if self.lessons is not None:
            return [answer for question, answer in self.lessons if question == asked]
        alike = [asks for asks in self.asks or (self.own,) if asks.training == asked]
        return [answer for asks in alike for answer in asks.answers.values()]

    def conversation(
        self, label: int | None = None, *, exemplars: int = 0, image_tokens: int | None = None
    ) -> Conversation:
        """Return the question about the bound classes, as it is asked, or question and answer, as they are learned.

        Args:
            label: index of the class that is answered; none: only the question.
            exemplars: number of extra visual tokens behind the image.
            image_tokens: number of tokens of an image, where it is not that of the backbone.
        """
        asked, response = (self.own.prediction, None) if label is None else (self.own.training, self.answers[label])
        return self.backbone.conversation(asked, response, exemplars=exemplars, image_tokens=image_tokens)

    def tuned(self) -> AbstractContextManager[Any]:
        """Return the context in which the backbone has what was learned."""
        return nullcontext()

    @classmethod
    def inputs_of(cls, config: AnswerConfig) -> Inputs:  # type: ignore[override]
        """Return what it reads of an image: its tokens, in one shape for all or in its own."""
        return Inputs({OWN_TOKENS if config.image_shape == "own" else IMAGE_TOKENS})

    def image_tokens(self, batch: Batch) -> Images:
        """Return what the language model sees of the images."""
        if self.config.image_shape == "own":
            return unpack(batch.own_tokens, batch.own_shapes)
        return batch.image_tokens

    def visual(self, batch: Batch) -> Visual:
        """Return what the language model sees of the images in prediction."""
        return Visual(self.image_tokens(batch))

    def logits(self, batch: Batch) -> Tensor:
        """Return log p(label | image, instruction) (B, C), divided by the tokens of the label with normalise=length."""
        with frozen():
            return self._scores(batch, self.own)

    def _scores(self, batch: Batch, asks: Asks) -> Tensor:
        """Return the scores (B, A) of the answers to a question, in their order."""
        seen = self.visual(batch)
        asked = self._rendered(seen, [asks.prediction] * len(batch))
        with self.tuned():
            sums, lengths = self.backbone.score(
                asked, tuple(asks.answers.values()), seen.images, seen.exemplars, behind=self.opening()
            )
        return sums / lengths if self.config.normalise == "length" else sums

    def validation_score(self, feed: Feed) -> float:
        """Return the accuracy, of each image among the classes of its own data set."""
        return accuracy(feed, self._among_own if self.asks else self.logits, self.backbone.device)

    @torch.no_grad()
    def _among_own(self, batch: Batch) -> Tensor:
        """Return logits (B, C) in which the classes that the data set of an image does not have are impossible."""
        found = torch.full((len(batch), len(self.class_names)), -torch.inf)
        for number, asks in enumerate(self.asks):
            rows = (batch.sets == number).nonzero()[:, 0]
            if len(rows):
                found[rows.cpu()[:, None], list(asks.answers)] = self._scores(batch.take(rows), asks).float().cpu()
        return found

    def write(self, batch: Batch) -> list[str]:
        """Return what it writes about each image (B,) when it is asked for the class."""
        longest = max(map(self.answer_length, self.answers))
        return self.generate(batch, [self.asked(training=False)] * len(batch), longest + ROOM)

    @torch.no_grad()
    def generate(self, batch: Batch, instructions: Sequence[str], max_tokens: int = 64) -> list[str]:
        """Return a text of at most so many tokens for each image (B,) and its instruction, by `beams` of the settings.

        Where several rows show one image, it is looked at once, and so is what their prompts begin with.
        """
        images, shown = _once(batch)
        seen = self.visual(images)
        asked = self._rendered(seen, instructions, shown)
        with self.tuned():
            how = (max_tokens, shown, self.config.beams, self.opening())
            return self.backbone.generate(asked, seen.images, seen.exemplars, *how)

    @torch.no_grad()
    def log_likelihood(self, batch: Batch, instructions: Sequence[str], answers: Sequence[Sequence[str]]) -> Tensor:
        """Return log p(answer | image, instruction) (B, A) of the given answers of each image."""
        seen = self.visual(batch)
        rows = []
        with self.tuned():
            behind = self.opening()
            for row, (asked, given) in enumerate(zip(self._rendered(seen, instructions), answers, strict=True)):
                exemplars = None if seen.exemplars is None else seen.exemplars[row : row + 1]
                images = seen.images[row : row + 1]
                rows.append(self.backbone.score([asked], given, images, exemplars, behind=behind)[0])
        return torch.cat(rows)

    def _rendered(
        self, seen: Visual, instructions: Sequence[str], shown: Sequence[int] | None = None
    ) -> list[Conversation]:
        render = lru_cache(maxsize=None)(self.backbone.conversation)
        rows = range(len(instructions)) if shown is None else shown
        examples = () if self.examples is None else self.examples.lessons
        return [render(text, examples=examples, **seen.size(row)) for row, text in zip(rows, instructions, strict=True)]

    def probed(self, batch: Batch) -> Mapping[str, Tensor]:
        """Return features (B, F) inside the model that tell where the class information is, by the name of a module."""
        seen = self.visual(batch)
        asked = self._rendered(seen, [self.asked(training=False)] * len(batch))
        with torch.no_grad(), self.tuned():
            states = self.backbone.prompt_states(asked, seen.images, seen.exemplars, behind=self.opening())
            return {"prompt state": states}


def _once(batch: Batch) -> tuple[Batch, list[int] | None]:
    """Return a batch that has each image once, and which of its rows each row of the batch shows; none where all do."""
    if "shown" not in batch:
        return batch, None
    images, shown = batch.shown.unique(return_inverse=True)
    first = [shown.tolist().index(number) for number in range(len(images))]
    return batch.take(torch.tensor(first, device=shown.device)), shown.tolist()
