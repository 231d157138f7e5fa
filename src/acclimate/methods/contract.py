"""The contract of a method: one class, one configuration, one registration line.

A method knows backbones and mathematics. It never reads files, parses flags or prints. What it can do is said by the
capabilities that it has, see `acclimate.methods.capabilities`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any, ClassVar, cast

import torch
from torch import Tensor, nn

from acclimate.backbones.kinds import DUAL, KINDS
from acclimate.errors import ConfigError
from acclimate.methods.facts import TrainingFacts
from acclimate.training.inputs import OF_DOMAIN_ENCODER, Inputs
from acclimate.training.recipe import Views
from acclimate.training.stages import Stage

if TYPE_CHECKING:
    from acclimate.backbones import DomainEncoder, DualEncoder
    from acclimate.backbones.backbone import Backbone
    from acclimate.methods.prerequisites import Prerequisite, TaskModel
    from acclimate.prompts import PromptSet
    from acclimate.training.batch import Batch


class Method(nn.Module):
    """Base of all methods.

    A subclass declares `Config` (a frozen dataclass of `acclimate.options`), its `inputs`, and the facts shown by
    `acclimate methods`. Its learned tensors are its parameters and persistent buffers, nothing else; the encoders are
    not modules of it and are never saved with it. A run makes it, calls `build` (through `bind` where there are
    classes), `adopt`, `prepare`, runs its `stages`, and calls `end_training`.

    Attributes:
        inputs: what it reads of each image.
        training_only: names of modules and parameters, such as "aggregator" or "source.discriminator", that serve
            training alone; they are none until `prepare` makes them, and after `end_training`.
        sized_by_data: names of tensors whose first dimension the training data decide.
        deputy: name of the method that stands in for it where it cannot do what data are for; or nothing.
        baseline: its place among the baselines that stand beside other methods of its tasks; none: it is none.
        backbones: the kinds of backbones that it adapts, see `acclimate.backbones.kinds`.
        default_backbone: what it adapts where none is named.
        makes_domain_encoder: whether a run makes the domain encoder that it reads where none is named; it can predict
            without one.
        usual_domain_encoder: what it reads where no domain encoder is named; none: one must be named.
        domain_encoder_is_optional: whether it reads one where one is named, and does without where none is.

    Args:
        backbone: frozen, of one of the kinds that it adapts.
        config: an instance of `Config`.
        prompts: words and templates for the class names.
        domain_encoder: frozen encoder of the domain, for methods that read "domain_features".

    Raises:
        ConfigError: the method needs a domain encoder and there is none.
    """

    name: ClassVar[str]
    title: ClassVar[str]
    paper: ClassVar[str] = ""
    learns: ClassVar[str] = ""
    Config: ClassVar[type]
    inputs: Inputs = Inputs()
    training_only: ClassVar[tuple[str, ...]] = ()
    sized_by_data: ClassVar[frozenset[str]] = frozenset()
    deputy: ClassVar[str] = ""
    baseline: ClassVar[int | None] = None
    backbones: ClassVar[frozenset[str]] = frozenset({DUAL})
    default_backbone: ClassVar[str] = "mini-clip"
    makes_domain_encoder: ClassVar[bool] = False
    backbone: DualEncoder
    usual_domain_encoder: ClassVar[str | None] = None
    domain_encoder_is_optional: ClassVar[bool] = False

    def __init__(
        self, backbone: Backbone, config: object, prompts: PromptSet, domain_encoder: DomainEncoder | None = None
    ) -> None:
        super().__init__()
        self.check_backbone(backbone.kind, backbone.name)
        self.backbone, self.config, self.prompts = cast("DualEncoder", backbone), config, prompts
        self.check_domain_encoder(config, domain_encoder)
        self.inputs = self.inputs_of(config)
        self.domain_encoder = domain_encoder if self.inputs.domain_encoder else None
        if self.domain_encoder is None:
            self.inputs = self.inputs.without(*OF_DOMAIN_ENCODER)
        self._built = False

    @classmethod
    def prompts_read(cls, prompts: PromptSet) -> dict[str, Any]:
        """Return what it reads of the prompts, as plain values; a part of what tells runs apart."""
        return prompts.to_dict()

    @classmethod
    def inputs_of(cls, config: object) -> Inputs:
        """Return what the method reads with these settings: `inputs`, unless some of them make a part of it idle."""
        return cls.inputs

    @property
    def views(self) -> Views | None:
        """How random views of the training images are drawn, or none: where its settings have no say in it."""
        return self.config if isinstance(self.config, Views) else None

    @property
    def reading(self) -> str:
        """Who reads what, for messages."""
        return f"{self.name} reads {self.inputs}"

    @classmethod
    def check_backbone(cls, kind: str, name: str, option: str = "backbone") -> None:
        """Refuse a backbone of a kind that the method does not adapt.

        Args:
            kind: of the backbone.
            name: of the backbone, for the message.
            option: where backbones are named, for the message.

        Raises:
            ConfigError: so it is.
        """
        if kind not in cls.backbones:
            own = " or ".join(
                f"a {KINDS[known].title}, such as {KINDS[known].example}" for known in sorted(cls.backbones)
            )
            given = KINDS[kind]
            raise ConfigError(
                f"'{name}' is a {given.title}, and {cls.name} adapts {own}; give `{option}` such a one, or take a "
                f"method for a {given.title}, such as {given.method}"
            )

    @classmethod
    def check_domain_encoder(cls, config: object, domain_encoder: object | None) -> None:
        """Refuse a method that reads a domain encoder with these settings, where there is none and none is made.

        Raises:
            ConfigError: so it is.
        """
        provided = cls.makes_domain_encoder or cls.usual_domain_encoder is not None or cls.domain_encoder_is_optional
        if cls.inputs_of(config).domain_encoder and domain_encoder is None and not provided:
            raise ConfigError(
                f"{cls.name} reads the features of a domain encoder and none is named; give `domain_encoder`: a Hub "
                "id, a folder such as `acclimate pretrain` writes, or self for the backbone's own image features"
            )

    # --------------------------------------------------------------------------------------- before and after training

    def make(self) -> None:
        """Make the learned tensors, with initial values from torch's default generator; called once, by `build`."""

    def build(self) -> None:
        """Make the learned tensors unless they are there."""
        if not self._built:
            self._built = True
            self.make()

    @classmethod
    def prerequisites(cls, config: object, domains: Sequence[str]) -> Mapping[str, Prerequisite]:
        """Return the runs that it builds on, by name, given its settings and the domains of the training images.

        Raises:
            ConfigError: it cannot be learned from images of these domains.
        """
        return {}

    @classmethod
    def task_model(cls, config: object) -> TaskModel:
        """Return what its domain encoder is made from where none is named; asked if `makes_domain_encoder`."""
        raise NotImplementedError

    def adopt(self, learned: Mapping[str, Mapping[str, Tensor]]) -> None:
        """Take over what its prerequisites have learned, by their names and in their order, before training."""

    def prepare(self, facts: TrainingFacts) -> None:
        """Make what training alone needs, and give tensors that the data decide their size; called once, at last."""

    def stages(self, facts: TrainingFacts) -> Sequence[Stage]:
        """Return what the fit loop has to do, in order; nothing for a training-free method. Changes nothing."""
        return ()

    def loss(self, batch: Batch) -> dict[str, Tensor]:
        """Return the named, weighted terms whose sum is minimised, each a scalar."""
        raise NotImplementedError

    def end_training(self) -> None:
        """Drop what serves training alone."""
        for name in self.training_only:
            owner, _, attribute = name.rpartition(".")
            setattr(self.get_submodule(owner), attribute, None)

    def ablations(self) -> Mapping[str, AbstractContextManager[Any]]:
        """Return ways to predict without a part of what it reads, by name; they are measured beside it."""
        return {}

    # -------------------------------------------------------------------------------------------------- learned tensors

    def drop_kept(self) -> None:
        """Forget what was computed from learned tensors or classes; called when either of them changes."""

    def train(self, mode: bool = True) -> Method:
        """Switch between training and evaluation."""
        self.drop_kept()
        super().train(mode)
        return self

    def learned_state(self) -> dict[str, Tensor]:
        """Return every learned tensor by name; after training this is all that an adapter file holds."""
        return dict(self.state_dict())

    def load_learned_state(self, state: Mapping[str, Tensor]) -> None:
        """Put learned tensors back; the method must be bound to the same classes.

        What serves training alone may be missing; what the data size may have any length.

        Raises:
            ConfigError: when names or shapes differ from what this configuration learns; nothing has changed then.
        """
        own = self.learned_state()
        needed = {name for name in own if not self._serves_training(name)}
        sized = {name for name in own.keys() & state.keys() & self.sized_by_data if own[name].ndim == state[name].ndim}
        unlike = [
            name
            for name in own.keys() & state.keys()
            if own[name].shape[int(name in sized) :] != state[name].shape[int(name in sized) :]
        ]
        if needed - state.keys() or state.keys() - own.keys() or unlike:
            expected = ", ".join(f"{name} {tuple(own[name].shape)}" for name in own if name in needed) or "nothing"
            found = ", ".join(f"{name} {tuple(tensor.shape)}" for name, tensor in state.items()) or "nothing"
            raise ConfigError(f"these weights do not belong to this {self.name}: expected {expected}; found {found}")
        self.check_learned(state)
        for name in sized:
            self.replace(name, state[name])
        self.load_state_dict(dict(state), strict=False)
        self.drop_kept()

    def check_learned(self, state: Mapping[str, Tensor]) -> None:
        """Refuse learned tensors of the right names and shapes that cannot belong together.

        Raises:
            ConfigError: so they are.
        """

    @torch.no_grad()
    def replace(self, name: str, values: Tensor) -> None:
        """Put values in the place of a learned tensor, which the training data may give another length.

        Args:
            name: as in `learned_state`.
            values: copied to the device of the backbone.
        """
        owner, _, attribute = name.rpartition(".")
        module = self.get_submodule(owner)
        old = getattr(module, attribute)
        if old.shape == values.shape:
            old.copy_(values)
        elif isinstance(old, nn.Parameter):
            setattr(module, attribute, nn.Parameter(values.detach().to(old.device, old.dtype, copy=True)))
        else:
            module.register_buffer(attribute, values.detach().to(old.device, old.dtype, copy=True))
        self.drop_kept()

    def learned_parameters(self) -> int:
        """Return the number of learned numbers."""
        return sum(tensor.numel() for tensor in self.learned_state().values())

    def _serves_training(self, name: str) -> bool:
        return any(name == part or name.startswith(f"{part}.") for part in self.training_only)
