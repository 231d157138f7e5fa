"""What a method can do: tell classes apart, find captions, generate text. Tasks ask for these, never for a name."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, final

import torch
from torch import Tensor
from torch.nn import functional as F

from acclimate import arguments
from acclimate.errors import ConfigError
from acclimate.methods.contract import Method
from acclimate.methods.facts import TrainingFacts
from acclimate.methods.parts.scores import accuracy
from acclimate.training.inputs import LESSONS, Inputs
from acclimate.training.stages import Stage

if TYPE_CHECKING:
    from acclimate.backbones import DomainEncoder
    from acclimate.backbones.backbone import Backbone
    from acclimate.methods.parts.plain import PlainForm
    from acclimate.methods.trust import Trust
    from acclimate.prompts import PromptSet
    from acclimate.training.batch import Batch
    from acclimate.training.feeds import Feed


class Classifier(Method):
    """A method that tells classes apart.

    Attributes:
        class_names: the classes that are bound, in the order of the logits.
        trained_classes: those that were bound first, which the learned tensors belong to.
        serves_new_classes: whether it can be bound to classes that it was not trained on; where it cannot, it has
            weights for those that it was trained on, see `of_bound`.
        advice_on_new_classes: what is said where it cannot.
        prompts_per_image: whether each image brings prompts of its own, so that prediction runs the text tower.
        held_out: (N, C) probabilities of the training images, in their order and that of `trained_classes`, each by
            what had not learned from that image or its group, where a method has them from its training; else none.
        trust: what a run has found of how far predictions can be trusted, or none.
    """

    held_out: Tensor | None = None
    trust: Trust | None = None

    serves_new_classes: bool = True
    prompts_per_image: ClassVar[bool] = False
    advice_on_new_classes: ClassVar[str] = "adapt again to add classes"

    def __init__(
        self, backbone: Backbone, config: object, prompts: PromptSet, domain_encoder: DomainEncoder | None = None
    ) -> None:
        super().__init__(backbone, config, prompts, domain_encoder)
        self.class_names: tuple[str, ...] = ()
        self.trained_classes: tuple[str, ...] = ()
        self._kept: dict[str, Tensor] = {}
        self._numbers: dict[str, list[float]] = {}

    @final
    def bind(self, class_names: Sequence[str]) -> None:
        """Set the classes to tell apart; a method that can, is bound to unseen classes after training as well.

        A method with weights for its own classes alone is bound to any of these. Binding the same classes twice changes
        nothing, and neither does binding that fails.

        Raises:
            ConfigError: no class, a class twice, a name that is empty or no text, a single text in place of several, or
                classes that the method has no weights for.
        """
        names = arguments.texts("class_names", class_names)
        if not names or len(set(names)) < len(names):
            what = f"'{next(name for name in names if names.count(name) > 1)}' twice" if names else "no class"
            raise ConfigError(f"`class_names` has {what}; give each class once, at least one")
        self.check_binding(names)
        if self.trained_classes and names != self.trained_classes and not self.serves_new_classes:
            if not set(names) <= set(self.trained_classes):
                self._refuse()
            self.class_names = names  # what it has made is that of all, see `of_bound`
            return
        before = self.class_names, self.trained_classes
        self.class_names, self.trained_classes = names, self.trained_classes or names
        try:
            self._follow_classes()
        except Exception:
            self.class_names, self.trained_classes = before
            self._built = bool(self.trained_classes)
            if self._built:
                self._follow_classes()
            raise

    def check_binding(self, names: Sequence[str]) -> None:
        """Refuse classes for a reason of its own; by default there is none.

        Raises:
            ConfigError: so they are.
        """

    def _follow_classes(self) -> None:
        self.drop_kept()
        self.build()
        self.set_classes()

    def _refuse(self) -> None:
        """Refuse classes that the method has no weights for."""
        own = ", ".join(self.trained_classes)
        raise ConfigError(
            f"{self.name} serves only the classes that it was trained on ({own}); {self.advice_on_new_classes}"
        )

    def set_classes(self) -> None:
        """Make what depends on the classes that are bound; called for every set of classes, after `make`."""

    def logits(self, batch: Batch) -> Tensor:
        """Return logits (B, C) in the order of `class_names`, or of `trained_classes` where it serves no others."""
        raise NotImplementedError

    @final
    def of_bound(self, logits: Tensor) -> Tensor:
        """Return those of its logits that belong to the classes which are bound (B, C), in their order."""
        if self.serves_new_classes or self.class_names == self.trained_classes:
            return logits
        return logits[:, [self.trained_classes.index(name) for name in self.class_names]]

    def plain_form(self) -> PlainForm | None:
        """Return what it says in terms of a plain dual encoder; none where no weights and directions say it."""
        return None

    def loss(self, batch: Batch) -> dict[str, Tensor]:
        """Return the named, weighted terms whose sum is minimised, each a scalar: by default the cross-entropy."""
        return {"cross_entropy": F.cross_entropy(self.logits(batch), batch.labels)}

    def validation_score(self, feed: Feed) -> float:
        """Return what epochs are chosen by, of validation images, the higher the better: by default the accuracy."""
        return accuracy(feed, self.logits, self.backbone.device)

    def settled(self) -> Any:
        """Return its settings with what it has chosen for itself on all images, to learn again from some of them."""
        return self.config

    @property
    def predicts_spread(self) -> bool:
        """Whether `logits_and_spread` gives a spread."""
        return False

    def logits_and_spread(self, batch: Batch) -> tuple[Tensor, Tensor | None]:
        """Return logits (B, C) and, of a method that predicts several times, how much the predictions differ.

        That is the standard deviation (B,) over predictions of the probability of the most probable class; else none.
        """
        return self.logits(batch), None

    def kept(self, name: str, compute: Callable[[], Tensor]) -> Tensor:
        """Return a tensor that stays as it is until classes, learned tensors or the mode change; computed when needed.

        Args:
            name: of the tensor.
            compute: gives it; runs without gradient.
        """
        held = self._kept  # another thread may put a new one in its place
        if name not in held:
            with torch.no_grad():
                held[name] = compute()
        return held[name]

    def numbers(self, name: str) -> list[float]:
        """Return the values of a learned tensor (N,) as plain numbers, which are kept like `kept`.

        They decide which sums are made at all, and a graph that is traced knows no numbers that are not read before.

        Args:
            name: of the attribute.
        """
        held = self._numbers
        if name not in held:
            held[name] = getattr(self, name).tolist()
        return held[name]

    def drop_kept(self) -> None:
        """Forget what was kept."""
        self._kept, self._numbers = {}, {}


class Retriever(Method):
    """A method that compares images with texts."""

    def queries(self, batch: Batch) -> Tensor:
        """Return directions (B, E), L2-normalised, by which images are compared with texts: by default their own."""
        return F.normalize(batch.image_features.float(), dim=-1)

    def retrieval_stages(self, facts: TrainingFacts) -> Sequence[Stage]:
        """Return what the fit loop has to do with images whose captions are their reference prompts."""
        return ()


class Generator(Method):
    """A method that writes text about images, such as captions and answers."""

    def generate(self, batch: Batch, instructions: Sequence[str], max_tokens: int = 64) -> list[str]:
        """Return a text of at most so many tokens for each image (B,) and its instruction."""
        raise NotImplementedError

    def log_likelihood(self, batch: Batch, instructions: Sequence[str], answers: Sequence[Sequence[str]]) -> Tensor:
        """Return log p(answer | image, instruction) (B, A) of the given answers of each image."""
        raise NotImplementedError


class Answerer(Generator):
    """A method that can learn answers to questions about images.

    Attributes:
        lessons: pairs of question and answer that it learns; none where it learns classes.
    """

    lessons: Sequence[tuple[str, str]] | None = None

    def learn_answers(self, lessons: Sequence[tuple[str, str]]) -> None:
        """Make what is learned, for these pairs of question and answer, of which "lessons" gives an index."""
        self.lessons = tuple(lessons)
        self.inputs = Inputs(self.inputs.prediction, self.inputs.training | {LESSONS})
        self.build()

    def learn_captions(self, captions: Sequence[str]) -> None:
        """Make what is learned, for captions of images, of which "lessons" gives an index."""
        self.learn_answers([(self.asks_for_captions, caption) for caption in captions])

    @property
    def asks_for_captions(self) -> str:
        """The question whose answer is a caption."""
        return "describe the image."

    def check_lesson(self, asked: str, answer: str) -> None:
        """Refuse a question or an answer that cannot be learned.

        Raises:
            BackboneError: it is too long, or has words with a meaning of their own.
        """

    def answer_length(self, text: str) -> int:
        """Return how many tokens an answer has, with the one that ends it."""
        raise NotImplementedError

    def answer_stages(self, facts: TrainingFacts) -> Sequence[Stage]:
        """Return what the fit loop has to do with questions and answers: by default what it does with classes."""
        return self.stages(facts)


class AnsweringClassifier(Classifier, Answerer):
    """A classifier that is asked in words, and can also write its answer.

    Attributes:
        answers: what it is to answer for each class, in the order of the classes.
    """

    answers: tuple[str, ...]

    def write(self, batch: Batch) -> list[str]:
        """Return what it writes about each image (B,) when it is asked for the class."""
        raise NotImplementedError

    def probed(self, batch: Batch) -> Mapping[str, Tensor]:
        """Return features (B, F) inside the model that tell where the class information is, by the name of a module."""
        return {}


@dataclass(frozen=True)
class PromptAttribution:
    """How much a method has learned from each reference prompt of its training images, to look at.

    Attributes:
        attention: (N, n) share of each prompt in what the image learned from, zeros for padding; none where none is
            weighed.
        prompts: (N, E) the prompt embedding that it makes of each image, L2-normalised.
        template_cosines: (N,) cosine of each image with the template of its class; none where there are no classes.
    """

    attention: Tensor | None
    prompts: Tensor
    template_cosines: Tensor | None


class WordLearner(Method):
    """A method that learns vectors in the place of words, to look at beside the words of the vocabulary."""

    def word_vectors(self, domains: Sequence[str]) -> Mapping[str, Tensor]:
        """Return learned vectors (n, D) at the input of the text tower, by what they are learned for.

        Args:
            domains: of the training images, sorted.

        Returns:
            By the names of classes or domains, or "" where they are the same for all; nothing where the settings leave
            none.
        """
        raise NotImplementedError


class DomainAttributor(Method):
    """A method that makes of each image what it has learned for domains, to see which one the image is taken for."""

    def domain_distances(self, batch: Batch) -> Tensor | None:
        """Return how far what is made of each image lies from what was learned for each training domain (B, M).

        The domains are sorted by name. None where the settings make the same of all images.
        """
        raise NotImplementedError


class PromptAttributor(Method):
    """A method that can say which reference prompts it has learned from, before `end_training`."""

    def attribution(self, train: Feed) -> PromptAttribution | None:
        """Return the attribution of all training images; none where the settings leave none."""
        raise NotImplementedError
