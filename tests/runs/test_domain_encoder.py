"""Runs of methods that read a domain encoder: what is recorded, what is refused, and that nothing else changes."""

from __future__ import annotations

import json
import logging
import shutil
from dataclasses import dataclass
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

import acclimate
from acclimate.backbones import load_domain_encoder
from acclimate.errors import BackboneError, ConfigError, RunError
from acclimate.methods import Classifier, register, registry
from acclimate.runs import prediction
from acclimate.training.inputs import Inputs
from acclimate.training.progress import Silent
from acclimate.training.recipe import Recipe
from acclimate.training.stages import GradientStage
from tests.helpers.runs import forget_places, quick
from tests.helpers.tiny_mae import tiny_mae


@dataclass(frozen=True, kw_only=True)
class BesideConfig(Recipe):
    """Settings of a method of these tests."""


class Beside(Classifier):
    """A linear layer on what the backbone makes of the pixels, beside what the domain encoder makes of the image."""

    name = "test-beside"
    title = "Both encoders"
    learns = "a layer"
    inputs = Inputs({"pixels", "domain_features"})
    Config = BesideConfig

    def make(self):
        self.head = nn.Linear(self.backbone.embed_dim + self.domain_encoder.width, len(self.class_names))

    def logits(self, batch):
        both = self.backbone.encode_image(batch.pixels), batch.domain_features
        return self.head(torch.cat([F.normalize(part, dim=-1) for part in both], dim=-1))

    def stages(self, facts):
        return [GradientStage(self.name, self.config, self.config.epochs or 2, self.loss, list(self.parameters()))]


@pytest.fixture(scope="module", autouse=True)
def registered():
    register(Beside)
    yield
    del registry._METHODS["test-beside"]


SETTINGS = {"augment": "crop", "batch_size": 4, "epochs": 4}


def beside(pictures, tiny, domain_encoder, **options):
    options = {"settings": SETTINGS, **options}
    return quick(pictures, tiny, method="test-beside", domain_encoder=domain_encoder, **options)


@pytest.fixture(scope="module")
def run(tmp_path_factory, pictures, tiny, domain_folder):
    """A finished run: its folder and the model that `adapt` returned."""
    folder = tmp_path_factory.mktemp("runs") / "domain"
    return SimpleNamespace(folder=folder, model=beside(pictures, tiny, domain_folder, out=folder))


def test_what_is_written_of_the_domain_encoder(run, domain_folder, domain_encoder):
    record = json.loads((run.folder / "record.json").read_text())
    known = {"id": str(domain_folder), "fingerprint": domain_encoder.fingerprint, "width": 20}
    assert record["domain_encoder"] == known
    assert list(record["baselines"]) == ["zero-shot", "linear-probe", "domain-linear-probe"]
    assert record["cost"]["seconds"]["domain features"] > 0
    assert record["cost"]["seconds"]["domain-linear-probe"] > 0
    info = json.loads((run.folder / "adapter.json").read_text())
    transform = json.loads(json.dumps(domain_encoder.transform.to_dict()))
    architecture = domain_encoder.architecture.settings
    assert architecture["vision"]["num_attention_heads"] == 2
    assert info["domain_encoder"] == {
        **known, "family": "vit_mae", "transform": transform, "architecture": architecture,
    }  # fmt: skip


def test_other_methods_are_what_they_were(pictures, tiny, domain_encoder, caplog):
    with caplog.at_level(logging.INFO, "acclimate"):
        given = quick(pictures, tiny, method="linear-probe", settings={}, domain_encoder=domain_encoder)
    assert "linear-probe reads no domain encoder; the one that is named is not used" in caplog.text
    plain = quick(pictures, tiny, method="linear-probe", settings={})
    assert given.record["identity"] == plain.record["identity"]
    for model in (given, plain):
        assert model.record["domain_encoder"] is None
        assert model.describe()["domain_encoder"] is None
        assert list(model.record["baselines"]) == ["zero-shot", "linear-probe"]
        assert "domain features" not in model.record["cost"]["seconds"]


def test_one_that_is_not_used_is_not_even_looked_for(pictures, tiny, run):
    quick(pictures, tiny, method="zero-shot", settings={}, domain_encoder="no/such-encoder")
    coop = quick(pictures, tiny)
    assert coop.method.domain_encoder is None


def test_the_baselines_beside_are_those_of_a_run_without(run, pictures, tiny, domain_encoder):
    alone = quick(pictures, tiny, method="linear-probe", settings={}).record["baselines"]
    beside = run.model.record["baselines"]
    assert {name: beside[name] for name in alone} == {name: _as_baseline(alone[name]) for name in alone}
    probe = quick(pictures, tiny, method="domain-linear-probe", settings={}, domain_encoder=domain_encoder)
    assert beside["domain-linear-probe"] == _as_baseline(probe.record["metrics"])


def _as_baseline(metrics):
    """Baselines have neither sets nor p-values."""
    return {name: value for name, value in metrics.items() if name not in ("sets", "known")}


def test_loaded_is_what_was_saved(run, pictures, tiny, domain_encoder, tmp_path):
    moved = tiny_mae(tmp_path / "moved")
    for given in (None, domain_encoder, moved):
        loaded = acclimate.load(run.folder, tiny, domain_encoder=given)
        assert loaded.method.domain_encoder.fingerprint == domain_encoder.fingerprint
        assert loaded.evaluate(pictures.test) == run.model.record["metrics"]
    rows = loaded.predict(pictures.test.paths, batch_size=4)
    right = [row.label == label for row, label in zip(rows, pictures.test.label_names, strict=True)]
    assert np.mean(right) == pytest.approx(run.model.record["metrics"]["accuracy"]["value"])
    in_memory = loaded.predict([pictures.test.image(row) for row in range(3)])
    for one, two in zip(in_memory, rows, strict=False):
        np.testing.assert_allclose(one.probabilities, two.probabilities, atol=1e-5)


def test_a_file_is_decoded_once_for_both_encoders(run, pictures, monkeypatch):
    opened = []
    read = prediction.open_image
    monkeypatch.setattr(prediction, "open_image", lambda path, **how: opened.append(str(path)) or read(path, **how))
    run.model.predict(pictures.test.paths)
    assert sorted(opened) == sorted(pictures.test.paths)


def test_only_needed_encoders_run(pictures, tiny, domain_encoder, monkeypatch):
    probe = quick(pictures, tiny, method="domain-linear-probe", settings={}, domain_encoder=domain_encoder)
    monkeypatch.setattr(tiny, "encode_image", None)
    assert probe.predict(pictures.test.paths)
    assert probe.evaluate(pictures.test) == probe.record["metrics"]


def test_self_is_the_backbones_own_features(pictures, tiny, tmp_path):
    probe = quick(
        pictures, tiny, method="domain-linear-probe", settings={}, domain_encoder="self", out=tmp_path / "run"
    )
    own, plain = probe.record["metrics"], probe.record["baselines"]["linear-probe"]
    assert own["accuracy"] == plain["accuracy"]
    assert own["nll"]["value"] == pytest.approx(plain["nll"]["value"], rel=1e-3)
    assert probe.record["domain_encoder"]["id"] == "self"
    assert acclimate.load(tmp_path / "run", tiny).evaluate(pictures.test) == own


@pytest.mark.parametrize("method", ["test-beside", "domain-linear-probe"])
def test_none_is_named(method, pictures, tmp_path):
    """Refused before the backbone is even loaded."""
    with pytest.raises(ConfigError, match=f"{method} reads the features of a domain encoder.*give `domain_encoder`"):
        quick(pictures, "no/such-backbone", method=method, settings={}, out=tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_one_that_is_not_there(pictures, tiny, tmp_path):
    with pytest.raises(BackboneError, match="gone"):
        beside(pictures, tiny, tmp_path / "gone", out=tmp_path / "run")
    assert not (tmp_path / "run").exists()


def message(*arguments, **options):
    with pytest.raises(RunError) as caught:
        acclimate.load(*arguments, **options)
    assert "\n" not in str(caught.value)
    assert "name the original with `domain_encoder`" in str(caught.value)
    return str(caught.value)


def test_swapped_domain_encoders_are_refused_and_both_are_named(run, tiny, domain_folder, domain_encoder, tmp_path):
    other = tiny_mae(tmp_path / "other", seed=1)
    words = message(run.folder, tiny, domain_encoder=other)
    assert str(domain_folder) in words
    assert str(other) in words
    assert domain_encoder.fingerprint[:12] in words
    assert load_domain_encoder(other).fingerprint[:12] in words
    assert str(domain_folder) in message(run.folder, tiny, domain_encoder="self")
    brighter = tiny_mae(tmp_path / "brighter", mean=0.4)
    words = message(run.folder, tiny, domain_encoder=brighter)
    assert "another image transform" in words
    assert str(domain_folder) in words
    assert str(brighter) in words


def test_a_domain_encoder_that_is_gone_or_damaged(run, tiny, domain_folder, tmp_path):
    words = message(run.folder, tiny, domain_encoder=tmp_path / "gone")
    assert str(domain_folder) in words
    assert str(tmp_path / "gone") in words
    copy = shutil.copytree(run.folder, tmp_path / "copy")
    info = json.loads((copy / "adapter.json").read_text())
    info["domain_encoder"]["id"] = str(tmp_path / "moved away")
    (copy / "adapter.json").write_text(json.dumps(info))
    forget_places(copy)
    assert str(tmp_path / "moved away") in message(copy, tiny)
    assert acclimate.load(copy, tiny, domain_encoder=domain_folder).class_names


@pytest.mark.parametrize(
    "entry", [None, 3, {}, {"id": "x"}, {"id": "x", "fingerprint": "y", "transform": None}], ids=str
)
def test_an_entry_edited_by_hand(run, tiny, tmp_path, entry):
    copy = shutil.copytree(run.folder, tmp_path / "copy")
    info = json.loads((copy / "adapter.json").read_text())
    (copy / "adapter.json").write_text(json.dumps(info | {"domain_encoder": entry}))
    with pytest.raises(RunError, match=r"adapter\.json: an entry is missing or wrong"):
        acclimate.load(copy, tiny)


def test_one_that_the_adapter_does_not_read(pictures, tiny, tmp_path, caplog):
    quick(pictures, tiny, method="linear-probe", settings={}, out=tmp_path / "run")
    with caplog.at_level(logging.INFO, "acclimate"):
        assert acclimate.load(tmp_path / "run", tiny, domain_encoder="self").method.domain_encoder is None
    assert "reads no domain encoder" in caplog.text


def test_another_domain_encoder_in_a_finished_folder_is_refused(run, pictures, tiny, domain_folder, tmp_path):
    copy = shutil.copytree(run.folder, tmp_path / "copy")
    assert beside(pictures, tiny, domain_folder, out=copy).record == run.model.record
    with pytest.raises(RunError, match="domain encoder"):
        beside(pictures, tiny, "self", out=copy)


def test_the_identity_holds_weights_and_transform_not_the_name(run, pictures, tiny, tmp_path):
    identity = run.model.record["identity"]
    same = beside(pictures, tiny, tiny_mae(tmp_path / "same")).record
    assert same["identity"] == identity
    assert same["metrics"] == run.model.record["metrics"]
    for other in (tiny_mae(tmp_path / "seed", seed=1), tiny_mae(tmp_path / "mean", mean=0.4), "self"):
        assert beside(pictures, tiny, other).record["identity"] != identity


class StopAt(Silent):
    """Interrupts the training at a step."""

    def __init__(self, step):
        self.tasks, self.left = [], step

    def start(self, task, total):
        self.tasks.append(task)

    def finish(self):
        self.tasks.pop()

    def advance(self, amount=1, **figures):
        if self.tasks == ["test-beside"] and not figures:
            self.left -= amount
            if self.left < 0:
                raise KeyboardInterrupt


@pytest.mark.parametrize("cached", [True, False])
@pytest.mark.parametrize("step", [0, 2, 5])
def test_an_interrupted_run_ends_with_the_same_tensors(run, pictures, tiny, domain_folder, tmp_path, step, cached):
    options = {"out": tmp_path / "run", "checkpoint_seconds": 0.0, "cache_dir": tmp_path / "cache" if cached else None}
    with pytest.raises(KeyboardInterrupt):
        beside(pictures, tiny, domain_folder, progress=StopAt(step), **options)
    resumed = beside(pictures, tiny, domain_folder, **options)
    for name, tensor in run.model.method.learned_state().items():
        assert torch.equal(resumed.method.learned_state()[name], tensor), name
    assert resumed.record["metrics"] == run.model.record["metrics"]
    assert (tmp_path / "run" / "log.jsonl").read_bytes() == (run.folder / "log.jsonl").read_bytes()
