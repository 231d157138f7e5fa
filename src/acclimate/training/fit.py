"""The one fit loop: runs the stages of a method, on Accelerate, resumable at any step."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import torch
from accelerate import Accelerator
from torch import Tensor

from acclimate.errors import TrainingError
from acclimate.training.batch import Batch
from acclimate.training.checkpoint import Checkpoint, CheckpointFile, Position, optimizer_tensors, restore_optimizers
from acclimate.training.feeds import Feed, RepeatedFeed, epoch_order
from acclimate.training.journal import Journal
from acclimate.training.optimizers import make_optimizer, set_rate
from acclimate.training.progress import Progress, Silent
from acclimate.training.seeding import seed_step
from acclimate.training.stages import DescentStage, SolverStage, Stage, Turn
from acclimate.training.team import ALONE, Team

if TYPE_CHECKING:
    from collections.abc import Sequence

CHECK_EVERY = 20  # steps between looks at the loss on a GPU, where every look waits for the device

Score = Callable[[Feed], float]
"""Maps images to a number that says how well they are served, the higher the better."""


class Learner(Protocol):
    """What the fit loop needs of a method."""

    def train(self, mode: bool = True) -> Learner:
        """Switch between training and evaluation."""
        ...

    def learned_state(self) -> dict[str, Tensor]:
        """Return everything that training changes."""
        ...

    def load_learned_state(self, state: dict[str, Tensor]) -> None:
        """Put such a state back."""
        ...


@dataclass
class FitContext:
    """Where a fit runs and where it leaves its traces.

    Attributes:
        accelerator: device and precision.
        seed: of batch order, views, noise and dropout.
        journal: receives one entry an epoch.
        checkpoints: where to resume from and to save to.
        progress: told of every step.
        checkpoint_seconds: least time between two checkpoints.
        team: the processes that share each batch, each in a fit of its own with the same arguments.
    """

    accelerator: Accelerator
    seed: int = 1
    journal: Journal | None = None
    checkpoints: CheckpointFile | None = None
    progress: Progress | None = None
    checkpoint_seconds: float = 5.0
    team: Team = ALONE


def fit(
    method: Learner,
    stages: Sequence[Stage],
    train: Feed,
    val: Feed | None = None,
    *,
    context: FitContext,
    score: Score | None = None,
) -> Position:
    """Run the stages of a method in order and leave the learned tensors in it.

    A run killed at any moment and started again gives the same tensors, bit for bit on the CPU, as an unbroken one:
    batch order, views, noise and dropout depend on (seed, stage, epoch, step) alone, and the checkpoint holds the rest.

    Args:
        method: see `Learner`.
        stages: gradient and solver stages.
        train: training images.
        val: validation images, for stages that select by them; never test images.
        context: device, seed, log and checkpoints.
        score: what stages that select an epoch go by: maps validation images to a number, the higher the better.

    Returns:
        The final position, with the seconds spent over all attempts.

    Raises:
        ConfigError: several processes cannot share the batches of a stage.
        TrainingError: when a loss stops being finite; the last checkpoint stays.
        RunError: when a checkpoint cannot be read or written.
    """
    return _Fit(method, stages, train, val, context, score).run()


class _Fit:
    def __init__(
        self,
        method: Learner,
        stages: Sequence[Stage],
        train: Feed,
        val: Feed | None,
        context: FitContext,
        score: Score | None,
    ) -> None:
        self.method, self.stages, self.train, self.val, self.context = method, stages, train, val, context
        self.images = train  # those that the stage learns from
        self.score = score
        self.accelerator, self.team = context.accelerator, context.team
        self.journal = context.journal or Journal()
        self.files = context.checkpoints or CheckpointFile(None)
        self.progress = context.progress or Silent()
        self.position = Position()
        self.best: dict[str, Tensor] = {}
        self.average: dict[str, Tensor] = {}  # weighted sum over the epochs so far, for stages that average
        self.resumed: dict[str, Tensor] = {}  # state of the optimisers that waits for its stage
        self.started = time.monotonic()
        self.saved_at = time.monotonic()

    def run(self) -> Position:
        self.team.check(self.stages)
        checkpoint = self.files.load()
        if checkpoint is not None:
            self.position, self.best, self.resumed = checkpoint.position, checkpoint.best, checkpoint.optimizer
            self.average = checkpoint.average
            self.method.load_learned_state(checkpoint.learned)
        self._begin_alike()
        self.started -= self.position.seconds
        for number in range(self.position.stage, len(self.stages)):
            stage = self.stages[number]
            if stage.wanted is None or stage.wanted():
                self.images = self.train if stage.rows is None else RepeatedFeed(self.train, stage.rows)
                if isinstance(stage, SolverStage):
                    self._solve(stage)
                else:
                    self._descend(stage)
            self.position = Position(stage=number + 1)
            self._save(())
        self.position.seconds = time.monotonic() - self.started
        return self.position

    def _begin_alike(self) -> None:
        """Give all processes the tensors of the first; none goes on before all have read the checkpoint."""
        if self.team.size > 1:
            self.method.load_learned_state(self.team.share_state(self.method.learned_state()))
            self.team.wait()

    def _solve(self, stage: SolverStage) -> None:
        figures = stage.solve(self.images, self.val)
        self._begin_alike()
        self.journal.write(stage=stage.name, **figures)

    def _descend(self, stage: DescentStage) -> None:
        optimizers = [make_optimizer(stage.recipe, turn) for turn in stage.turns]
        if self.resumed:
            restore_optimizers(optimizers, self.resumed)
            self.resumed = {}
        optimizers = [self.accelerator.prepare(optimizer) for optimizer in optimizers]
        if self.accelerator.scaler is not None and self.position.scale is not None:
            self.accelerator.scaler.update(self.position.scale)
        steps = self._steps(stage)
        self.progress.start(stage.name, stage.epochs * steps)
        self.progress.advance(self.position.epoch * steps + self.position.step)
        for epoch in range(self.position.epoch, stage.epochs):
            self._epoch(stage, optimizers, epoch, steps)
        self.progress.finish()
        if self.best:
            self.method.load_learned_state(self.best)
            self.best = {}
            self.journal.write(stage=stage.name, kept_epoch=self.position.best_epoch, val_accuracy=self.position.best)
        if self.average:
            self.method.load_learned_state(self.average)
            self.average = {}

    def _steps(self, stage: DescentStage) -> int:
        full = len(self.images) // stage.recipe.batch_size
        return full if stage.drop_last and full else math.ceil(len(self.images) / stage.recipe.batch_size)

    def _orders(self, stage: DescentStage, epoch: int) -> list[tuple[Tensor, ...]]:
        """Return for each batch of a step which images it holds, step by step."""
        seed = (self.context.seed, stage.name, epoch)
        count = len(self.images)
        orders = [epoch_order(count, *seed, *([number] if number else [])) for number in range(stage.batches)]
        return [order.split(stage.recipe.batch_size) for order in orders]

    def _epoch(self, stage: DescentStage, optimizers: Sequence[torch.optim.Optimizer], epoch: int, steps: int) -> None:
        recipe, device = stage.recipe, self.accelerator.device
        lr = set_rate(optimizers, recipe.learning_rate(epoch, stage.epochs))
        self.method.train(True)
        orders = self._orders(stage, epoch)
        sums = {name: torch.tensor(value, device=device) for name, value in (self.position.sums or {}).items()}
        for step in range(self.position.step, steps):
            if recipe.by_step:
                lr = set_rate(optimizers, recipe.learning_rate(epoch + step / steps, stage.epochs))
            batches = [self._batch(order[step], epoch) for order in orders]
            seed_step(self.context.seed, stage.name, epoch, step, *self.team.seed)
            for turn, optimizer in zip(stage.turns, optimizers, strict=True):
                for name, term in self._turn(stage, turn, optimizer, batches).items():
                    sums[name] = sums.get(name, torch.zeros((), device=device)) + term.detach().float()
            last = step + 1 == steps
            due = time.monotonic() - self.saved_at >= self.context.checkpoint_seconds
            if device.type == "cpu" or last or due or step % CHECK_EVERY == 0:
                means = {name: float(value) / (step + 1) for name, value in sums.items()}
                _check_finite(means, stage, epoch, step)
                self.progress.advance(0, **means)
            self.progress.advance(1)
            if due and not last:
                self.position.epoch, self.position.step = epoch, step + 1
                self.position.sums = {name: float(value) for name, value in sums.items()}
                self._save(optimizers)
        self.position.epoch, self.position.step, self.position.sums = epoch + 1, 0, None
        self._end_epoch(stage, epoch, lr, means)
        if time.monotonic() - self.saved_at >= self.context.checkpoint_seconds:
            self._save(optimizers)

    def _batch(self, index: Tensor, epoch: int) -> Batch:
        """Return what this process sees of a batch, which may be nothing."""
        own = self.team.share(index)
        return self.images.batch(own, epoch).to(self.accelerator.device) if len(own) else Batch()

    def _terms(self, stage: DescentStage, turn: Turn, batches: Sequence[Batch]) -> dict[str, Tensor]:
        """Return the terms, each as much as the images of this process count among those of all."""
        if self.team.size == 1:
            return turn.loss(*batches)
        (batch,) = batches  # of a stage that is divisible
        terms = turn.loss(batch) if len(batch) else {}
        counts = dict.fromkeys(terms, len(batch))
        if stage.counts and len(batch):
            counts.update(stage.counts(batch))
        return self.team.weigh(terms, counts)

    def _turn(
        self, stage: DescentStage, turn: Turn, optimizer: torch.optim.Optimizer, batches: Sequence[Batch]
    ) -> dict[str, Tensor]:
        """Take one step of one optimiser and return the terms."""
        with self.accelerator.autocast():
            terms = self._terms(stage, turn, batches)
            minimised = [term.float() for name, term in terms.items() if name not in stage.watched]
        optimizer.zero_grad(set_to_none=True)
        if minimised:  # no gradients for those of other turns
            self.accelerator.backward(torch.stack(minimised).sum(), inputs=list(turn.parameters))
        self.team.add_gradients(turn.parameters)
        if turn.limits is not None:
            self.accelerator.unscale_gradients(optimizer)
            for parameter, limit in zip(turn.parameters, turn.limits, strict=True):
                if limit is not None:
                    torch.nn.utils.clip_grad_norm_([parameter], limit)
        if stage.recipe.grad_clip is not None:
            self.accelerator.clip_grad_norm_(list(turn.parameters), stage.recipe.grad_clip)
        optimizer.step()
        return self.team.add_up(terms)

    def _end_epoch(self, stage: DescentStage, epoch: int, lr: float, means: dict[str, float]) -> None:
        entry: dict[str, float | str | int] = {"stage": stage.name, "epoch": epoch, "lr": lr, **means}
        if _is_candidate(stage, epoch):
            value = self._validate()
            entry["val_accuracy"] = value
            if self.position.best is None or value > self.position.best:
                self.position.best, self.position.best_epoch = value, epoch
                self.best = {name: tensor.clone() for name, tensor in self.method.learned_state().items()}
        if stage.averaging is not None:
            share = stage.averaging[epoch] / sum(stage.averaging)
            for name, tensor in self.method.learned_state().items():
                self.average[name] = self.average.get(name, torch.zeros_like(tensor)) + share * tensor
        self.journal.write(**entry)

    @torch.no_grad()
    def _validate(self) -> float:
        if self.val is None or len(self.val) == 0:
            raise TrainingError("select=best-val needs validation images and there are none; use select=last")
        if self.score is None:
            raise TrainingError("select=best-val needs a score of validation images and there is none; use select=last")
        self.method.train(False)
        if not self.team.first:
            return self.team.agree(0.0)
        with self.accelerator.autocast():
            return self.team.agree(self.score(self.val))

    def _save(self, optimizers: Sequence[torch.optim.Optimizer]) -> None:
        if not self.team.first:
            return
        self.position.journal = self.journal.size
        self.position.seconds = time.monotonic() - self.started
        self.position.scale = None if self.accelerator.scaler is None else self.accelerator.scaler.get_scale()
        state = optimizer_tensors(optimizers)
        self.files.save(Checkpoint(self.position, self.method.learned_state(), state, self.best, self.average))
        self.saved_at = time.monotonic()


def _is_candidate(stage: DescentStage, epoch: int) -> bool:
    """Whether validation images say what this epoch is worth."""
    recipe, done = stage.recipe, epoch + 1
    return recipe.select == "best-val" and (done % recipe.select_every == 0 or done == stage.epochs)


def _check_finite(means: dict[str, float], stage: DescentStage, epoch: int, step: int) -> None:
    if all(math.isfinite(value) for value in means.values()):
        return
    terms = ", ".join(f"{name}={value:.4g}" for name, value in means.items())
    raise TrainingError(
        f"the loss is not finite in stage '{stage.name}', epoch {epoch + 1}, step {step + 1} ({terms}); "
        f"lower the learning rate (`{stage.recipe.rate_option.format(stage.recipe.lr / 10)}`) or use `precision='fp32'`"
    )
