"""Two networks that learn in turns, beside a plain loop over two optimisers."""

from __future__ import annotations

import json
import math

import pytest
import torch
from torch import nn

from acclimate.training.checkpoint import CheckpointFile
from acclimate.training.feeds import epoch_order
from acclimate.training.fit import fit
from acclimate.training.journal import Journal
from acclimate.training.seeding import seed_step
from acclimate.training.stages import AlternatingStage, Turn
from tests.helpers.learner import Interrupted, StopAt, blobs, context, recipe

LIMITS = [0.05, None]


class Duel(nn.Module):
    """A forger that bends features of one batch, and a judge that tells them from those of another."""

    def __init__(self):
        super().__init__()
        generator = torch.Generator().manual_seed(0)
        self.forger = nn.Parameter(torch.randn(6, 6, generator=generator))
        self.judge = nn.Parameter(torch.randn(6, generator=generator))
        self.offset = nn.Parameter(torch.zeros(()))
        self.seen = []

    def judging(self, real, other):
        self.seen.append((real.index.tolist(), other.index.tolist()))
        noise = 0.1 * torch.randn_like(other.image_features)
        self.forged = (other.image_features + noise) @ self.forger
        return {
            "real": (self.verdict(real.image_features) - 1).square().mean(),
            "forged": self.verdict(self.forged.detach()).square().mean(),
            "right": (self.verdict(real.image_features) > 0.5).float().mean(),
        }

    def forging(self, real, other):
        return {"forger": (self.verdict(self.forged) - 1).square().mean()}

    def verdict(self, features):
        return features @ self.judge + self.offset

    def logits(self, batch):
        return self.verdict(batch.image_features)[:, None].expand(-1, 3)

    def learned_state(self):
        return dict(self.state_dict())

    def load_learned_state(self, state):
        self.load_state_dict(state)

    def stage(self, settings, drop_last=False):
        turns = (
            Turn(self.judging, [self.judge, self.offset], rates=[1.0, 0.5], limits=LIMITS),
            Turn(self.forging, [self.forger]),
        )
        watched = frozenset({"right"})
        return AlternatingStage("duel", settings, settings.epochs, turns, 2, drop_last, watched)


def plain(settings, drop_last, count):
    duel, feed = Duel(), blobs(count)
    judge = torch.optim.AdamW(
        [{"params": [duel.judge], "rate": 1.0}, {"params": [duel.offset], "rate": 0.5}],
        weight_decay=settings.weight_decay,
        betas=(settings.momentum, 0.999),
    )
    forger = torch.optim.AdamW([duel.forger], weight_decay=settings.weight_decay, betas=(settings.momentum, 0.999))
    steps = count // settings.batch_size if drop_last else math.ceil(count / settings.batch_size)
    for epoch in range(settings.epochs):
        first = epoch_order(count, 1, "duel", epoch).split(settings.batch_size)
        second = epoch_order(count, 1, "duel", epoch, 1).split(settings.batch_size)
        for step in range(steps):
            for optimizer in (judge, forger):
                for group in optimizer.param_groups:
                    group["lr"] = settings.learning_rate(epoch, settings.epochs) * group.get("rate", 1.0)
            batches = feed.batch(first[step]), feed.batch(second[step])
            seed_step(1, "duel", epoch, step)
            terms = duel.judging(*batches)
            judge.zero_grad()
            (terms["real"] + terms["forged"]).backward()
            duel.judge.grad *= min(1.0, LIMITS[0] / (duel.judge.grad.norm().item() + 1e-6))
            judge.step()
            forger.zero_grad()
            duel.forging(*batches)["forger"].backward()
            forger.step()
    return duel


@pytest.mark.parametrize(("drop_last", "count"), [(False, 30), (True, 30), (True, 5)])
def test_equal_to_a_plain_loop(accelerator, drop_last, count):
    settings = recipe(optimizer="adamw")
    duel, journal = Duel(), Journal()
    fit(duel, [duel.stage(settings, drop_last)], blobs(count), context=context(accelerator, journal=journal))
    expected = plain(settings, drop_last and count >= 8, count)
    for name, tensor in expected.learned_state().items():
        torch.testing.assert_close(duel.learned_state()[name], tensor, rtol=1e-5, atol=1e-6)
    assert duel.seen == expected.seen
    assert {"real", "forged", "forger", "right"} <= journal.lines[0].keys()


def test_the_batches_of_a_step_are_drawn_apart(accelerator):
    duel = Duel()
    fit(duel, [duel.stage(recipe())], blobs(), context=context(accelerator))
    assert all(first != second for first, second in duel.seen)
    for side in (0, 1):  # each of them an epoch of its own
        assert sorted(index for pair in duel.seen[:4] for index in pair[side]) == list(range(30))


@pytest.mark.parametrize("stop", [1, 3, 4, 6, 11])
def test_interrupted(tmp_path, accelerator, stop):
    settings = recipe(optimizer="adamw")

    def attempt(folder, stop=None):
        folder.mkdir(exist_ok=True)
        file, duel = CheckpointFile(folder / "checkpoint.safetensors", "run"), Duel()
        kept = file.load()
        journal = Journal(folder / "log.jsonl", kept.position.journal if kept else 0)
        facts = {"journal": journal, "checkpoints": file} | ({} if stop is None else {"progress": StopAt(stop)})
        fit(duel, [duel.stage(settings)], blobs(), context=context(accelerator, **facts))
        return duel.learned_state(), (folder / "log.jsonl").read_text()

    unbroken, log = attempt(tmp_path / "one")
    with pytest.raises(Interrupted):
        attempt(tmp_path / "two", stop)
    state, again = attempt(tmp_path / "two")
    assert all(torch.equal(state[name], tensor) for name, tensor in unbroken.items())
    assert [json.loads(line) for line in again.splitlines()] == [json.loads(line) for line in log.splitlines()]


def test_limits_belong_to_the_parameters():
    duel = Duel()
    with pytest.raises(ValueError, match="2 parameters, but 1 limits"):
        Turn(duel.judging, [duel.judge, duel.offset], limits=[1.0])
