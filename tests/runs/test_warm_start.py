"""Runs that go on from what an earlier one has learned."""

from __future__ import annotations

import pytest
import torch

import acclimate
from acclimate.data import load_data
from acclimate.errors import ConfigError, DataError, RunError
from tests.helpers.pictures import make_captioned_pictures, make_split_pictures
from tests.helpers.runs import QUICK, quick

IDLE = {"settings": {**QUICK, "epochs": 1, "warmup_epochs": 1, "warmup_lr": 0.0}}  # one epoch at rate 0


@pytest.fixture(scope="module")
def other(tmp_path_factory):
    """The same classes in other pictures."""
    return load_data(make_split_pictures(tmp_path_factory.mktemp("starting") / "other", noise=40.0))


def test_learning_goes_on(run, other, tiny, tmp_path):
    model = quick(other, tiny, start=run.folder, out=tmp_path / "run", **IDLE)
    assert torch.equal(model.method.context, run.model.method.context)  # nothing was added at rate 0
    moved = quick(other, tiny, start=run.folder)
    fresh = quick(other, tiny)
    assert not torch.equal(moved.method.context, fresh.method.context)
    assert model.record["start"]["run"] == str(run.folder)
    assert "start" not in fresh.record
    with pytest.raises(RunError, match="finished run of other data or settings"):
        quick(other, tiny, out=tmp_path / "run", **IDLE)  # the start belongs to what a run is
    assert quick(other, tiny, start=run.folder, out=tmp_path / "run", **IDLE).record == model.record


def test_its_test_images_may_not_have_been_seen(run, pictures, tiny, tmp_path):
    quick(pictures, tiny, start=run.folder)  # the same split: fine
    swapped = pictures.with_splits([{"train": "test", "test": "train"}.get(s, s) for s in pictures.splits], "given")
    with pytest.raises(DataError, match=r"12 of the 18 test images, such as .*\.png; start from .* split of that run$"):
        quick(swapped, tiny, start=run.folder)
    made = swapped.with_splits(swapped.splits, "made", {"rule": "stable", "seed": 3})
    with pytest.raises(DataError, match=r"the split of that run \(`split_from='.*'`\)$") as caught:
        quick(made, tiny, start=run.folder)
    assert str(run.folder) in str(caught.value)


def test_a_run_that_does_not_say_what_it_has_seen_is_noted(run, other, tiny, copy, caplog):
    caplog.set_level("INFO", "acclimate")
    quick(other, tiny, start=run.folder, **IDLE)
    assert "cannot be checked" not in caplog.text
    (copy / "splits.json").unlink()
    quick(other, tiny, start=copy, **IDLE)
    assert caplog.text.count(f"`start='{copy}'` does not say which images it has seen, so that cannot be checked") == 1


def test_other_runs_are_refused(run, other, tiny, tiny_backbones, tmp_path):
    with pytest.raises(ConfigError, match="holds what coop has learned, and this run is of kgcoop"):
        quick(other, tiny, method="kgcoop", start=run.folder)
    with pytest.raises(RunError, match="was trained on"):
        quick(other, tiny_backbones["siglip"], start=run.folder)
    with pytest.raises(RunError, match="give the folder of a finished run to `start`"):
        quick(other, tiny, start=tmp_path)
    with pytest.raises(ConfigError, match=r"shapes .* \(context_tokens=4 there and 5 here\); give the settings"):
        quick(other, tiny, start=run.folder, settings={**QUICK, "context_tokens": 5})


def test_captions(caption_folder, tiny, tmp_path):
    settings = {"epochs": 2, "batch_size": 6}
    first = acclimate.adapt(caption_folder, "aape", tiny, settings=settings, out=tmp_path / "first", device="cpu")
    seen = make_captioned_pictures(tmp_path / "seen", {"test": 4, "train": 8})
    unseen = make_captioned_pictures(tmp_path / "unseen", {"val": 0, "other": 0, "train": 8, "test": 6})
    idle = {**settings, "epochs": 1, "warmup_epochs": 1, "warmup_lr": 0.0}
    with pytest.raises(DataError, match="has learned from 4 of the 4 test images"):
        acclimate.adapt(seen, "aape", tiny, settings=idle, start=tmp_path / "first", device="cpu")
    gone_on = acclimate.adapt(unseen, "aape", tiny, settings=idle, start=tmp_path / "first", device="cpu")
    before, after = first.method.learned_state(), gone_on.method.learned_state()
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert gone_on.record["start"]["run"] == str(tmp_path / "first")
