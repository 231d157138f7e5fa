"""The one fit loop: runs the stages of a method, on Accelerate, resumable at any step."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import torch
from accelerate import Accelerator
from torch import Tensor

from acclimate.errors import TrainingError
from acclimate.training.checkpoint import Checkpoint, CheckpointFile, Position, optimizer_tensors, restore_optimizer
from acclimate.training.feeds import Feed, chunks, epoch_order
from acclimate.training.journal import Journal
from acclimate.training.progress import Progress, Silent
from acclimate.training.seeding import seed_step
from acclimate.training.stages import GradientStage, SolverStage, Stage

if TYPE_CHECKING:
    from collections.abc import Sequence

    from acclimate.data.batch import Batch

CHECK_EVERY = 20  # steps between looks at the loss on a GPU, where every look waits for the device
EVALUATION_BATCH = 256


class Learner(Protocol):
    """What the fit loop needs of a method."""

    def train(self, mode: bool = True) -> Learner:
        """Switch between training and evaluation."""
        ...

    def logits(self, batch: Batch) -> Tensor:
        """Return (B, C) logits."""
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
    """

    accelerator: Accelerator
    seed: int = 1
    journal: Journal | None = None
    checkpoints: CheckpointFile | None = None
    progress: Progress | None = None
    checkpoint_seconds: float = 5.0


def fit(
    method: Learner, stages: Sequence[Stage], train: Feed, val: Feed | None = None, *, context: FitContext
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

    Returns:
        The final position, with the seconds spent over all attempts.

    Raises:
        TrainingError: when a loss stops being finite; the last checkpoint stays.
        RunError: when a checkpoint cannot be read or written.
    """
    return _Fit(method, stages, train, val, context).run()


class _Fit:
    def __init__(
        self, method: Learner, stages: Sequence[Stage], train: Feed, val: Feed | None, context: FitContext
    ) -> None:
        self.method, self.stages, self.train, self.val, self.context = method, stages, train, val, context
        self.accelerator = context.accelerator
        self.journal = context.journal or Journal()
        self.files = context.checkpoints or CheckpointFile(None)
        self.progress = context.progress or Silent()
        self.position = Position()
        self.best: dict[str, Tensor] = {}
        self.average: dict[str, Tensor] = {}  # weighted sum over the epochs so far, for stages that average
        self.resumed: dict[str, Tensor] = {}  # optimiser state that waits for its stage
        self.started = time.monotonic()
        self.saved_at = time.monotonic()

    def run(self) -> Position:
        checkpoint = self.files.load()
        if checkpoint is not None:
            self.position, self.best, self.resumed = checkpoint.position, checkpoint.best, checkpoint.optimizer
            self.average = checkpoint.average
            self.method.load_learned_state(checkpoint.learned)
        self.started -= self.position.seconds
        for number in range(self.position.stage, len(self.stages)):
            stage = self.stages[number]
            if isinstance(stage, SolverStage):
                self._solve(stage)
            else:
                self._descend(stage)
            self.position = Position(stage=number + 1)
            self._save(None)
        self.position.seconds = time.monotonic() - self.started
        return self.position

    def _solve(self, stage: SolverStage) -> None:
        figures = stage.solve(self.train, self.val)
        self.journal.write(stage=stage.name, **figures)

    def _descend(self, stage: GradientStage) -> None:
        optimizer = _make_optimizer(stage)
        if self.resumed:
            restore_optimizer(optimizer, self.resumed)
            self.resumed = {}
        optimizer = self.accelerator.prepare(optimizer)
        if self.accelerator.scaler is not None and self.position.scale is not None:
            self.accelerator.scaler.update(self.position.scale)
        steps = math.ceil(len(self.train) / stage.recipe.batch_size)
        self.progress.start(stage.name, stage.epochs * steps)
        self.progress.advance(self.position.epoch * steps + self.position.step)
        for epoch in range(self.position.epoch, stage.epochs):
            self._epoch(stage, optimizer, epoch, steps)
        self.progress.finish()
        if self.best:
            self.method.load_learned_state(self.best)
            self.best = {}
            self.journal.write(stage=stage.name, kept_epoch=self.position.best_epoch, val_accuracy=self.position.best)
        if self.average:
            self.method.load_learned_state(self.average)
            self.average = {}

    def _epoch(self, stage: GradientStage, optimizer: torch.optim.Optimizer, epoch: int, steps: int) -> None:
        recipe, device = stage.recipe, self.accelerator.device
        lr = _set_rate(optimizer, recipe.learning_rate(epoch, stage.epochs))
        self.method.train(True)
        batches = epoch_order(len(self.train), self.context.seed, stage.name, epoch).split(recipe.batch_size)
        sums = {name: torch.tensor(value, device=device) for name, value in (self.position.sums or {}).items()}
        for step in range(self.position.step, steps):
            if recipe.by_step:
                lr = _set_rate(optimizer, recipe.learning_rate(epoch + step / steps, stage.epochs))
            batch = self.train.batch(batches[step], epoch).to(device)
            seed_step(self.context.seed, stage.name, epoch, step)
            with self.accelerator.autocast():
                terms = stage.loss(batch)
                total = torch.stack([term.float() for term in terms.values()]).sum()
            optimizer.zero_grad(set_to_none=True)
            self.accelerator.backward(total)
            if recipe.grad_clip is not None:
                self.accelerator.clip_grad_norm_(list(stage.parameters), recipe.grad_clip)
            optimizer.step()
            for name, term in terms.items():
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
                self._save(optimizer)
        self.position.epoch, self.position.step, self.position.sums = epoch + 1, 0, None
        self._end_epoch(stage, epoch, lr, means)
        if time.monotonic() - self.saved_at >= self.context.checkpoint_seconds:
            self._save(optimizer)

    def _end_epoch(self, stage: GradientStage, epoch: int, lr: float, means: dict[str, float]) -> None:
        entry: dict[str, float | str | int] = {"stage": stage.name, "epoch": epoch, "lr": lr, **means}
        if stage.recipe.select == "best-val":
            if self.val is None or len(self.val) == 0:
                raise TrainingError("select=best-val needs validation images and there are none; use select=last")
            accuracy = self._validate(self.val)
            entry["val_accuracy"] = accuracy
            if self.position.best is None or accuracy > self.position.best:
                self.position.best, self.position.best_epoch = accuracy, epoch
                self.best = {name: tensor.clone() for name, tensor in self.method.learned_state().items()}
        if stage.averaging is not None:
            share = stage.averaging[epoch] / sum(stage.averaging)
            for name, tensor in self.method.learned_state().items():
                self.average[name] = self.average.get(name, torch.zeros_like(tensor)) + share * tensor
        self.journal.write(**entry)

    @torch.no_grad()
    def _validate(self, val: Feed) -> float:
        self.method.train(False)
        device, right = self.accelerator.device, 0
        for batch in chunks(val, EVALUATION_BATCH):
            assert batch.labels is not None
            with self.accelerator.autocast():
                right += int((self.method.logits(batch.to(device)).argmax(-1).cpu() == batch.labels).sum())
        return right / len(val)

    def _save(self, optimizer: torch.optim.Optimizer | None) -> None:
        self.position.journal = self.journal.size
        self.position.seconds = time.monotonic() - self.started
        self.position.scale = None if self.accelerator.scaler is None else self.accelerator.scaler.get_scale()
        state = {} if optimizer is None else optimizer_tensors(optimizer)
        self.files.save(Checkpoint(self.position, self.method.learned_state(), state, self.best, self.average))
        self.saved_at = time.monotonic()


def _make_optimizer(stage: GradientStage) -> torch.optim.Optimizer:
    recipe, groups = stage.recipe, _groups(stage)
    if recipe.optimizer == "adamw":
        return torch.optim.AdamW(groups, lr=recipe.lr, betas=(recipe.momentum, recipe.second_beta), eps=recipe.epsilon)
    return torch.optim.SGD(groups, lr=recipe.lr, momentum=recipe.momentum)


def _groups(stage: GradientStage) -> list[dict[str, Any]]:
    """Return the parameters in groups that share a multiple of the learning rate and a weight decay."""
    groups: dict[tuple[float, float], list[torch.nn.Parameter]] = {}
    for number, parameter in enumerate(stage.parameters):
        decay = stage.recipe.weight_decay if stage.recipe.decay_vectors or parameter.ndim > 1 else 0.0
        rate = 1.0 if stage.rates is None else stage.rates[number]
        groups.setdefault((rate, decay), []).append(parameter)
    return [{"params": some, "rate": rate, "weight_decay": decay} for (rate, decay), some in groups.items()]


def _set_rate(optimizer: torch.optim.Optimizer, lr: float) -> float:
    for group in optimizer.param_groups:
        group["lr"] = lr * group["rate"]
    return lr


def _check_finite(means: dict[str, float], stage: GradientStage, epoch: int, step: int) -> None:
    if all(math.isfinite(value) for value in means.values()):
        return
    terms = ", ".join(f"{name}={value:.4g}" for name, value in means.items())
    raise TrainingError(
        f"the loss is not finite in stage '{stage.name}', epoch {epoch + 1}, step {step + 1} ({terms}); "
        f"lower the learning rate ({stage.recipe.rate_option}{stage.recipe.lr / 10:g}) or use --precision fp32"
    )
