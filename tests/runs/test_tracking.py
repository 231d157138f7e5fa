"""`track`: what a run writes down is in the event file of TensorBoard, read back by its own reader."""

from __future__ import annotations

import json
import sys

import pytest

from acclimate.errors import AcclimateError, ConfigError
from tests.helpers.runs import quick

pytest.importorskip("tensorboard")


def read(run):
    """The scalars by tag, each as steps and values, and the texts by tag."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    found = EventAccumulator(str(run / "tensorboard")).Reload()
    scalars = {tag: [(one.step, one.value) for one in found.Scalars(tag)] for tag in found.Tags()["scalars"]}
    texts = {tag: found.Tensors(tag)[0].tensor_proto.string_val[0].decode() for tag in found.Tags()["tensors"]}
    return scalars, texts


def test_losses_and_figures(pictures, tiny, tmp_path):
    model = quick(pictures, tiny, out=tmp_path / "run", track="tensorboard")
    scalars, texts = read(tmp_path / "run")
    entries = [json.loads(line) for line in (tmp_path / "run" / "log.jsonl").read_text().splitlines()]
    assert [step for step, _ in scalars["coop/cross_entropy"]] == [0, 1, 2]
    told = [value for _, value in scalars["coop/cross_entropy"]]
    assert told == pytest.approx([entry["cross_entropy"] for entry in entries])
    assert [value for _, value in scalars["coop/lr"]] == pytest.approx([entry["lr"] for entry in entries])
    ((_, accuracy),) = scalars["test/accuracy"]
    assert accuracy == pytest.approx(model.record["metrics"]["accuracy"]["value"])
    assert texts["settings/method/text_summary"] == "coop"
    assert texts["settings/epochs/text_summary"] == "3"


def test_it_changes_nothing_else(run, pictures, tiny, tmp_path):
    quick(pictures, tiny, out=tmp_path / "run", track="tensorboard")
    for name in ("adapter.safetensors", "adapter.json", "splits.json"):
        assert (tmp_path / "run" / name).read_bytes() == (run.folder / name).read_bytes()
    again = quick(pictures, tiny, out=tmp_path / "run")  # the same run, finished
    assert again.record["identity"] == run.model.record["identity"]
    assert not (run.folder / "tensorboard").exists()


def test_a_run_that_starts_afresh_forgets_what_was_shown(pictures, tiny, tmp_path):
    how = {"out": tmp_path / "run", "track": "tensorboard"}
    quick(pictures, tiny, **how)
    quick(pictures, tiny, **how, overwrite=True)
    assert len(list((tmp_path / "run" / "tensorboard").iterdir())) == 1
    assert len(read(tmp_path / "run")[0]["coop/cross_entropy"]) == 3


def test_what_cannot_be_shown_is_refused_before_anything_is_computed(pictures, tiny, tmp_path, monkeypatch):
    with pytest.raises(ConfigError, match="writes into the run folder; name one with `out`"):
        quick(pictures, tiny, track="tensorboard")
    with pytest.raises(ConfigError, match=r"`track=.paper.`: choose tensorboard, wandb, mlflow"):
        quick(pictures, tiny, track="paper", out=tmp_path / "run")
    for name, package in (("wandb", "wandb"), ("tensorboard", r"'acclimate\[track\]'")):
        monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
        monkeypatch.setitem(sys.modules, "wandb", None)
        with pytest.raises(AcclimateError, match=f"install it with `pip install {package}`"):
            quick(pictures, tiny, track=name, out=tmp_path / "run")
    assert not (tmp_path / "run").exists()
