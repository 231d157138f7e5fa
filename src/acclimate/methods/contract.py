"""The contract of a method: one class, one configuration, one registration line.

A method knows backbones and mathematics. It never reads files, parses flags or prints.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from acclimate.errors import ConfigError
from acclimate.training.stages import Stage

if TYPE_CHECKING:
    from acclimate.backbones import DomainEncoder, DualEncoder
    from acclimate.data.batch import Batch
    from acclimate.prompts import PromptSet


@dataclass(frozen=True)
class TrainingFacts:
    """What a method may know of the training set when it lists its stages.

    Attributes:
        images: number of training images.
        shots: largest number of images of one class.
        domains: number of named domains, 0 where there are none.
    """

    images: int
    shots: int
    domains: int = 0


@dataclass(frozen=True)
class Prerequisite:
    """A run that a method builds on: another method, learned from the training images of one domain.

    Attributes:
        method: its name.
        settings: of that method.
        domain: the domain whose images are learned from.
        seed: of that run; none: that of the run which builds on it.
        given: folder with what such a run has learned on each domain, so that none is made; see `prompt_labels`.
    """

    method: str
    settings: Mapping[str, Any]
    domain: str
    seed: int | None = None
    given: str | None = None


@dataclass(frozen=True)
class Reading:
    """How a method has read the reference prompts of its training images, to look at.

    Attributes:
        attention: (N, n) share of each prompt in what the image learned from, zeros for padding; none where none is
            weighed.
        prompts: (N, E) the prompt embedding that it makes of each image, L2-normalised.
        template_cosines: (N,) cosine of each image with the template of its class; none where there are no classes.
    """

    attention: Tensor | None
    prompts: Tensor
    template_cosines: Tensor | None


class Method(nn.Module):
    """Base of all methods.

    A subclass declares `Config` (a frozen dataclass of `acclimate.options`), `needs`, and the facts shown by
    `acclimate methods`. `needs` names the fields of `Batch` that it reads: "pixels", "image_features",
    "pooled_features" and "domain_features", and `loss_needs` those that `loss` reads beside them, among which
    "reference_prompts" stands for the prompts with their mask; `serves_new_classes` tells whether it can be bound to
    classes that it was not trained on, `retrieves` whether it learns from images with captions as well, with no class
    bound. Its learned tensors are its parameters and persistent buffers, nothing else; the encoders are not modules of
    it and are never saved with it.

    Args:
        backbone: frozen dual encoder.
        config: an instance of `Config`.
        prompts: words and templates for the class names.
        domain_encoder: frozen encoder of the domain, for methods that need "domain_features".

    Raises:
        ConfigError: the method needs a domain encoder and there is none.
    """

    name: ClassVar[str]
    title: ClassVar[str]
    paper: ClassVar[str] = ""
    learns: ClassVar[str] = ""
    Config: ClassVar[type]
    needs: frozenset[str] = frozenset({"image_features"})
    loss_needs: frozenset[str] = frozenset()
    serves_new_classes: ClassVar[bool] = True
    retrieves: ClassVar[bool] = False

    class_names: tuple[str, ...] = ()
    reading: Reading | None = None

    def __init__(
        self, backbone: DualEncoder, config: object, prompts: PromptSet, domain_encoder: DomainEncoder | None = None
    ) -> None:
        super().__init__()
        self.backbone, self.config, self.prompts = backbone, config, prompts
        self.needs, self.loss_needs = self.needs_of(config), self.loss_needs_of(config)
        self.domain_encoder = domain_encoder if self.reads_domain(config, domain_encoder) else None

    @classmethod
    def needs_of(cls, config: object) -> frozenset[str]:
        """Return what the method needs with these settings: `needs`, unless some of them make a part of it idle."""
        return cls.needs

    @classmethod
    def loss_needs_of(cls, config: object) -> frozenset[str]:
        """Return what `loss` needs beside that with these settings: `loss_needs`, unless some of them change it."""
        return cls.loss_needs

    @classmethod
    def reads_domain(cls, config: object, domain_encoder: object | None) -> bool:
        """Return whether the method reads a domain encoder with these settings.

        Raises:
            ConfigError: it does, and there is none.
        """
        if "domain_features" not in cls.needs_of(config):
            return False
        if domain_encoder is None:
            raise ConfigError(
                f"{cls.name} reads the features of a domain encoder and none is named; give --domain-encoder: a Hub "
                "id, a folder such as `acclimate pretrain mae` writes, or self for the backbone's own image features"
            )
        return True

    @classmethod
    def prerequisites(cls, config: object, domains: Sequence[str]) -> Mapping[str, Prerequisite]:
        """Return the runs that it builds on, by name, given its settings and the domains of the training images.

        Raises:
            ConfigError: it cannot be learned from images of these domains.
        """
        return {}

    def adopt(self, learned: Mapping[str, Mapping[str, Tensor]]) -> None:
        """Take over what its prerequisites have learned, by their names and in their order, before training."""

    def bind(self, class_names: Sequence[str]) -> None:
        """Set the classes to tell apart; a method that can, is bound to unseen classes after training as well.

        Raises:
            ConfigError: when the method has learned weights for other classes and cannot serve new ones.
        """
        raise NotImplementedError

    def stages(self, facts: TrainingFacts) -> Sequence[Stage]:
        """Return what the fit loop has to do, in order; nothing for a training-free method."""
        return ()

    def retrieval_stages(self, facts: TrainingFacts) -> Sequence[Stage]:
        """Return what the fit loop has to do with images whose captions are their reference prompts."""
        return ()

    def queries(self, batch: Batch) -> Tensor:
        """Return directions (B, E), L2-normalised, by which images are compared with texts: by default their own."""
        assert batch.image_features is not None
        return F.normalize(batch.image_features.float(), dim=-1)

    def loss(self, batch: Batch) -> dict[str, Tensor]:
        """Return the named, weighted terms whose sum is minimised, each a scalar: by default the cross-entropy."""
        assert batch.labels is not None
        return {"cross_entropy": F.cross_entropy(self.logits(batch), batch.labels)}

    def logits(self, batch: Batch) -> Tensor:
        """Return logits (B, C) in the order of `class_names`."""
        raise NotImplementedError

    @property
    def predicts_spread(self) -> bool:
        """Whether `logits_and_spread` gives a spread."""
        return False

    def logits_and_spread(self, batch: Batch) -> tuple[Tensor, Tensor | None]:
        """Return logits (B, C) and, of a method that predicts several times, how much the predictions differ.

        That is the standard deviation (B,) over predictions of the probability of the most probable class; else none.
        """
        return self.logits(batch), None

    def learned_state(self) -> dict[str, Tensor]:
        """Return every learned tensor by name; this is all that an adapter file holds."""
        return dict(self.state_dict())

    def load_learned_state(self, state: dict[str, Tensor]) -> None:
        """Put learned tensors back; the method must be bound to the same classes.

        Raises:
            ConfigError: when names or shapes differ from what this configuration learns.
        """
        own = self.learned_state()
        if own.keys() != state.keys() or any(own[name].shape != state[name].shape for name in own):
            expected = ", ".join(f"{name} {tuple(tensor.shape)}" for name, tensor in own.items()) or "nothing"
            found = ", ".join(f"{name} {tuple(tensor.shape)}" for name, tensor in state.items()) or "nothing"
            raise ConfigError(f"these weights do not belong to this {self.name}: expected {expected}; found {found}")
        self.load_state_dict(state)

    def learned_parameters(self) -> int:
        """Return the number of learned numbers."""
        return sum(tensor.numel() for tensor in self.learned_state().values())


class TextClassifier(Method):
    """A method whose classes are L2-normalised directions w_c in the joint space, the same for every image.

    logits = s cos(x, w_c) + b with the backbone's own scale s (and, in SigLIP, bias b). In evaluation the directions
    are computed once and kept until something changes: training resumes, weights are loaded, or classes are bound.
    """

    def __init__(
        self, backbone: DualEncoder, config: object, prompts: PromptSet, domain_encoder: DomainEncoder | None = None
    ) -> None:
        super().__init__(backbone, config, prompts, domain_encoder)
        self._kept: Tensor | None = None

    def class_directions(self) -> Tensor:
        """Return the class directions (C, E), L2-normalised, with gradient where something is learned."""
        raise NotImplementedError

    def class_weights(self) -> Tensor:
        """Return the class directions (C, E), computed anew in training and once in evaluation."""
        if self.training:
            return self.class_directions()
        if self._kept is None:
            with torch.no_grad():
                self._kept = self.class_directions()
        return self._kept

    @torch.no_grad()
    def template_directions(self) -> Tensor:
        """Return norm(g(template(c))) (C, E) of the bound classes: the frozen directions of the domain's template."""
        return F.normalize(self.backbone.encode_text(self.prompts.sentences(self.class_names)).float(), dim=-1)

    def image_directions(self, batch: Batch) -> Tensor:
        """Return the image directions (B, E), L2-normalised: those of the frozen tower unless a method changes them."""
        assert batch.image_features is not None
        return F.normalize(batch.image_features.float(), dim=-1)

    def similarities(self, batch: Batch, weights: Tensor) -> Tensor:
        """Return s cos(x, w_c) + b for the images of a batch and directions (C, E): (B, C)."""
        scale, bias, images = self.backbone.logit_scale, self.backbone.logit_bias, self.image_directions(batch).float()
        with torch.autocast(images.device.type, enabled=False):  # a cosine in bf16 would be off by 0.1 once scaled
            return scale * images @ weights.float().T + bias

    def logits(self, batch: Batch) -> Tensor:
        """Return logits (B, C)."""
        return self.similarities(batch, self.class_weights())

    def train(self, mode: bool = True) -> TextClassifier:
        """Switch between training and evaluation; directions kept for evaluation are dropped."""
        self._kept = None
        super().train(mode)
        return self

    def load_learned_state(self, state: dict[str, Tensor]) -> None:
        """Put learned tensors back; directions kept for evaluation are dropped."""
        self._kept = None
        super().load_learned_state(state)


class TemplateClassifier(TextClassifier):
    """A method that leaves the text tower alone: w_c = norm(g(template(c))), encoded once when classes are bound."""

    templates: Tensor

    def bind(self, class_names: Sequence[str]) -> None:
        """Set the classes and encode their template."""
        self.class_names = tuple(class_names)
        self._kept = None
        self.register_buffer("templates", self.template_directions(), persistent=False)  # (C, E)

    def class_directions(self) -> Tensor:
        """Return the directions of the template (C, E)."""
        return self.templates
