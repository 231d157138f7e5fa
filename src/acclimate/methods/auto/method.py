"""Auto: an ensemble of methods, weighed by what they say of images left out."""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, cast

import torch
from torch import Tensor, nn

from acclimate.errors import ConfigError
from acclimate.methods.auto.candidates import GRID, IMAGES, SOLVED, TEXT, TRAINED, Candidate
from acclimate.methods.auto.config import ALL, AutoConfig
from acclimate.methods.auto.trials import FOLDS, Trials
from acclimate.methods.capabilities import Classifier
from acclimate.methods.facts import TrainingFacts
from acclimate.methods.kernel_ridge import KernelRidge
from acclimate.methods.parts import folds
from acclimate.methods.parts.ensembles import fuse, log_loss, mix, select, temperature
from acclimate.methods.parts.scores import BATCH
from acclimate.methods.registry import register
from acclimate.options import make_config
from acclimate.training.batch import Batch
from acclimate.training.feeds import Feed, HeldFeed, chunks
from acclimate.training.inputs import DOMAIN, POOLED, VIEWS, Inputs, tiled
from acclimate.training.recipe import Views
from acclimate.training.stages import SolverStage, Stage

if TYPE_CHECKING:
    from acclimate.backbones import DomainEncoder
    from acclimate.backbones.backbone import Backbone
    from acclimate.prompts import PromptSet

logger = logging.getLogger("acclimate.methods")
CERTAINTY = 2.0  # standard errors by which the text must be better than nothing ...
ENOUGH = 8  # ... over so many images


@register
class Auto(Classifier):
    """An ensemble of closed-form methods on features at two scales, where asked with some that descend gradients.

    p(c|x) = softmax_c(log sum_k w_k p_k(c|x) / T),    p_k = softmax(l_k / T_k)

    with the logits l_k of its parts. T_k, the weights w_k and T come from out-of-fold predictions of the training
    images, of which those of a group stay together: T_k and T by the log loss, in which every class counts the same,
    and w_k by greedy forward selection, see `select`, which begins with kernel ridge regression. Where no class has two
    groups, nothing can be left out: then that one stands alone, or, if zero-shot tells the training images apart, which
    it has not learned from either, is averaged with the regression on zero-shot scores. No validation image is read.
    With `leave_out=domains` a fold is a domain, and the selection begins with both regressions.
    Candidates that descend gradients learn from random views of the images, each without one of three folds and then
    from all of them, see `Trials`.
    Source: Caruana et al. 2004, "Ensemble selection from libraries of models" (ICML), for the selection, which Erickson
    et al. 2020 (arXiv 2003.06505), section 2.3, use without a held-out set, too; Guo et al. 2017 (arXiv 1706.04599),
    section 4.2, for the temperatures. Which methods are parts was decided on validation images.
    """

    name = "auto"
    title = "Ensemble of closed-form methods"
    paper = "arXiv 2003.06505"
    deputy = IMAGES
    learns = "what its parts learn, a weight and a temperature for each"
    inputs = Inputs({tiled(POOLED, GRID), tiled(DOMAIN, GRID)})
    serves_new_classes = False
    domain_encoder_is_optional = True
    Config = AutoConfig
    config: AutoConfig
    training_only = ("left_out", "trials")
    weights: Tensor
    temperatures: Tensor
    temperature: Tensor
    left_out: Tensor | None
    trials: Trials | None

    def __init__(
        self, backbone: Backbone, config: object, prompts: PromptSet, domain_encoder: DomainEncoder | None = None
    ) -> None:
        super().__init__(backbone, config, prompts, domain_encoder)
        known = {**SOLVED, **{name: TRAINED[name] for name in self.config.names}}
        self.candidates = {name: one for name, one in known.items() if not (one.domain and self.domain_encoder is None)}
        made = {
            name: one.method(self.backbone, self._settings(name, one), self.prompts, self.domain_encoder)
            for name, one in self.candidates.items()
        }
        self.parts = nn.ModuleDict(made)
        self.trials = None
        self._read()

    @classmethod
    def inputs_of(cls, config: object) -> Inputs:
        """Return what its parts read."""
        trained = [TRAINED[name].method for name in cast("AutoConfig", config).names]
        return Inputs(cls.inputs.prediction.union(*(method.inputs.prediction for method in trained)))

    @classmethod
    def check_domain_encoder(cls, config: object, domain_encoder: object | None) -> None:
        """Refuse candidates that are named and need a domain encoder, where there is none.

        Raises:
            ConfigError: so they do.
        """
        super().check_domain_encoder(config, domain_encoder)
        asked = cast("AutoConfig", config)
        needing = [name for name in asked.names if TRAINED[name].domain]
        if needing and asked.trained != ALL and domain_encoder is None:
            raise ConfigError(
                f"trained={asked.trained!r}: {needing[0]} reads the features of a domain encoder and none is there; "
                f"give `domain_encoder`, or leave {needing[0]} out"
            )

    @property
    def views(self) -> Views | None:
        """Random views, fresh in every epoch, where something descends gradients; what is solved at once sees none."""
        return Views(augment="auto", views=0) if self.trained else None

    def _settings(self, name: str, one: Candidate) -> Any:
        """Return the settings of a part; one that is solved reads what is before the projection, where there is one."""
        settings = dict(one.settings)
        if name in SOLVED and not one.domain:
            settings["features"] = "before" if POOLED in self.backbone.widths else "projected"
        return make_config(one.method.Config, settings)

    def _read(self) -> None:
        """Read what the parts read, without those that have descended gradients and got no weight."""
        weights = self.weights.tolist() if self._built and self.weights.any() else [1.0] * len(self.parts)
        idle = {name for name, weight in zip(self.parts, weights, strict=True) if name in TRAINED and not weight}
        used = [part for name, part in self.members.items() if name not in idle]
        self.inputs = Inputs(frozenset().union(*(part.inputs.prediction for part in used)))

    def make(self) -> None:
        """Bind the parts, which have learned nothing yet and have no weights; then they count the same."""
        device, count = self.backbone.device, len(self.parts)
        for part in self.members.values():
            part.bind(self.class_names)
        self.register_buffer("weights", torch.zeros(count, device=device))  # w (K,)
        self.register_buffer("temperatures", torch.zeros(count, device=device))  # T_k (K,)
        self.register_buffer("temperature", torch.zeros((), device=device))  # T
        self.register_buffer("left_out", None)

    def prepare(self, facts: TrainingFacts) -> None:
        """Make room for what it says of the training images out of fold, and copies of what descends gradients."""
        size = (facts.images, len(self.trained_classes))
        self.register_buffer("left_out", torch.full(size, -1.0, device=self.weights.device))
        for part in self.trained.values():
            part.prepare(facts)
        if self.trained:
            seconds = None if self.config.minutes is None else 60.0 * self.config.minutes
            fold = self._deal(torch.tensor(facts.labels), facts, FOLDS)
            self.trials = Trials(self.trained, self._again, facts, fold, seconds)

    def end_training(self) -> None:
        """Drop what serves training alone, of the parts, too, and read what parts with a weight read."""
        super().end_training()
        for part in self.trained.values():
            part.end_training()
        self._read()

    def load_learned_state(self, state: Mapping[str, Tensor]) -> None:
        """Put learned tensors back, see `Method`, and read what parts with a weight read."""
        super().load_learned_state(state)
        if self.trials is None:
            self._read()

    @property
    def held_out(self) -> Tensor | None:  # type: ignore[override]
        """What it says of each training image out of fold (N, C), where every one could be left out, until it ends."""
        return None if self.left_out is None or (self.left_out < 0).any() else self.left_out

    @property
    def members(self) -> dict[str, Classifier]:
        """The parts, by name."""
        return dict(cast("Mapping[str, Classifier]", self.parts).items())

    @property
    def trained(self) -> dict[str, Classifier]:
        """The parts that descend gradients, by name."""
        return {name: part for name, part in self.members.items() if name in TRAINED}

    @property
    def sized_by_data(self) -> frozenset[str]:  # type: ignore[override]
        """Names of tensors of the parts whose first dimension the training data decide."""
        return frozenset(
            f"parts.{name}.{tensor}" for name, part in self.members.items() for tensor in part.sized_by_data
        )

    def check_learned(self, state: Mapping[str, Tensor]) -> None:
        """Refuse tensors of a part that do not belong together.

        Raises:
            ConfigError: so they are.
        """
        for name, part in self.members.items():
            prefix = f"parts.{name}."
            own = {key.removeprefix(prefix): value for key, value in state.items() if key.startswith(prefix)}
            try:
                part.check_learned(own)
            except ConfigError as error:
                raise ConfigError(f"these weights do not belong to this {self.name}: {name}: {error}") from None

    def logits(self, batch: Batch) -> Tensor:
        """Return log sum_k w_k p_k / T (B, C)."""
        members = list(self.members.values())
        used = [place for place, weight in enumerate(self.numbers("weights")) if weight]
        if used:
            weights, tempers, last = self.weights[used], self.temperatures[used], self.temperature
        else:  # nothing is learned yet
            used, tempers, last = list(range(len(members))), torch.ones_like(self.weights), torch.ones(())
            weights = torch.full_like(self.weights, 1.0 / len(members))
        logits = torch.stack([members[place].logits(batch).double() for place in used])
        scores = (logits / tempers[:, None, None]).log_softmax(-1)
        return (mix(scores, weights.double()) / last.to(weights.device)).float()

    def stages(self, facts: TrainingFacts) -> Sequence[Stage]:
        """Return what parts that descend gradients learn, and then what all others learn and the choice of weights."""
        trained = [stage for part in self.trained.values() for stage in part.stages(facts)]
        if self.trials is not None:
            trained = self.trials.stages(self.name)
        return [*trained, SolverStage(self.name, lambda train, val: self._solve(train, facts))]

    def _solve(self, train: Feed, facts: TrainingFacts) -> dict[str, Any]:
        held = HeldFeed(train, VIEWS)  # the others read features alone, many times
        solved = {name: part for name, part in self.members.items() if name not in TRAINED}
        for part in solved.values():
            folds.learned(part, part.stages(facts), held)
        labels = train.labels.cpu()
        fold = self._deal(labels, facts, self.config.folds)
        tells = folds.judged(labels, fold)
        if not tells.any():
            return self._as_they_are(held)
        said = {
            name: folds.left_out(partial(self._afresh, part, facts), folds.log_probabilities, held, fold)
            for name, part in solved.items()
        } | ({} if self.trials is None else self.trials.left_out(train))  # log p_k (N, C)
        scores = torch.stack(list(said.values()))  # (K, N, C)
        told, known = scores[:, tells], labels[tells]
        tempers = [temperature(some, known) for some in told]
        scores = (scores / torch.tensor(tempers, dtype=scores.dtype)[:, None, None]).log_softmax(-1)
        told = scores[:, tells]
        weights = select(told, known, [self._first(name) for name in said])
        mixed = fuse(scores, weights)
        last = temperature(mixed[tells], known)
        self._set(dict(zip(said, weights.tolist(), strict=True)), dict(zip(said, tempers, strict=True)), last)
        if tells.all() and self.left_out is not None:
            self.left_out.copy_((mixed / last).softmax(-1))
        losses = [log_loss(some, known) for some in (*told, (mixed[tells] / last).log_softmax(-1))]
        return self._told(dict(zip((*said, self.name), losses, strict=True)), int(fold.max()) + 1)

    @property
    def _elsewhere(self) -> bool:
        """Whether it is for domains that are not among the training images."""
        return self.config.leave_out == "domains"

    def _deal(self, labels: Tensor, facts: TrainingFacts, most: int) -> Tensor:
        """Return the fold of each training image (N,): its domain, or one of so many as there may be."""
        if not self._elsewhere:
            return folds.deal(labels, facts.groups, most)
        if len(set(facts.places)) < 2:
            logger.warning("leave_out=domains: the training images are of one domain or none; none can be left out")
            return torch.zeros_like(labels)
        return torch.tensor(facts.places)

    def _first(self, name: str) -> float:
        """Return how often a part is in the ensemble before anything is known."""
        first = self.candidates[IMAGES].first
        return first / 2 if self._elsewhere and name in (IMAGES, TEXT) else self.candidates[name].first

    def _as_they_are(self, train: Feed) -> dict[str, Any]:
        """Take kernel ridge regression as it is, with the text where the text is worth something."""
        wanted = {IMAGES, TEXT} if self._text_tells(train) else {IMAGES}
        self._set(dict.fromkeys(wanted, 1.0 / len(wanted)), {}, 1.0)
        return self._told({}, 1)

    def _text_tells(self, train: Feed) -> bool:
        """Return whether zero-shot, at its best temperature, is better than no answer on the training images."""
        part = cast("KernelRidge", self.members[TEXT])
        scores = torch.cat([part.base(some.to(self.weights.device)).cpu() for some in chunks(train, BATCH)])
        labels, scores = train.labels.cpu(), scores.double().clamp(min=1e-12).log()
        scores = (scores / temperature(scores, labels)).log_softmax(-1)
        gains = scores.gather(1, labels[:, None])[:, 0] + math.log(scores.shape[1])
        error = float(gains.std(correction=0)) / len(gains) ** 0.5
        return (len(gains) >= ENOUGH or self._elsewhere) and float(gains.mean()) > CERTAINTY * error

    def _again(self, part: Classifier) -> Classifier:
        """Return a part that has learned nothing, with all that it has chosen for itself on all images."""
        other = type(part)(self.backbone, part.settled(), self.prompts, self.domain_encoder)
        other.bind(self.trained_classes)
        return other

    def _afresh(self, part: Classifier, facts: TrainingFacts, train: Feed) -> Classifier:
        """Return a part that is solved, after it has learned from some images."""
        other = self._again(part)
        return folds.learned(other, other.stages(facts), train)

    def _set(self, weights: Mapping[str, float], tempers: Mapping[str, float], last: float) -> None:
        """Set weights, 0 where none is given, temperatures, 1 where none is given, and that of all."""
        self.weights.copy_(torch.tensor([weights.get(name, 0.0) for name in self.parts]))
        self.temperatures.copy_(torch.tensor([tempers.get(name, 1.0) for name in self.parts]))
        self.temperature.fill_(last)
        self.drop_kept()

    def _told(self, losses: Mapping[str, float], count: int) -> dict[str, Any]:
        """Return what the log says of the choice: folds, and of each part its weight and its log loss out of fold."""
        weights = dict(zip(self.parts, self.weights.tolist(), strict=True))
        found: dict[str, Any] = {"folds": count, "weights": weights}
        return found | ({"log_loss": dict(losses)} if losses else {})
