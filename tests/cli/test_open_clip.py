"""Checkpoints of open_clip through the command line: used as they are, written as folders, refused in one line."""

from __future__ import annotations

import csv

import pytest
import torch

from tests.helpers.command import QUICK, acclimate
from tests.helpers.open_clip_layout import copy_tokenizer, open_clip_names, tiny_model
from tests.helpers.pictures import make_pictures
from tests.helpers.timm_bert_layout import joined, write_timm_bert


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("ACCLIMATE_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def file(tmp_path):
    """A bare state dict, with its tokenizer beside it."""
    model = tiny_model(tmp_path / "plain")
    (tmp_path / "bare").mkdir()
    copy_tokenizer(tmp_path / "bare")
    torch.save({"state_dict": open_clip_names(model)}, tmp_path / "bare" / "my.pt")
    return tmp_path / "bare" / "my.pt"


def test_what_is_not_known_is_asked_for_and_then_it_works(file, tmp_path):
    data = make_pictures(tmp_path / "data", ("cat", "dog"), 12)
    how = (*QUICK, "--method", "linear-probe", "--out", tmp_path / "run")
    done = acclimate("adapt", data, "--backbone", file, *how)
    assert done.code == 2
    assert "quick_gelu or gelu cannot be seen from weights" in done.error
    assert "say which with --activation (acclimate backbones convert)" in done.error
    assert not (tmp_path / "run").exists()
    folder = tmp_path / "models" / "mine"
    done = acclimate("backbones", "convert", file, "--activation", "quick_gelu", "--out", folder)
    assert done.code == 0, done.err
    assert f"{folder}: clip, 32 pixels" in done.out
    assert f"acclimate adapt YOUR_DATA --backbone {folder}" in done.out
    assert (folder / "model.safetensors").is_file()
    done = acclimate("backbones", "convert", file, "--activation", "gelu", "--out", folder)
    assert done.code == 2
    assert f"{folder} is no empty folder; choose another --out" in done.error
    assert (
        "give quick_gelu or gelu" in acclimate("backbones", "convert", file, "--activation", "relu", "--out", "x").error
    )


@pytest.mark.slow
def test_adapt_and_predict_on_a_bare_file(file, tmp_path):
    """OpenAI's own form says its activation; the file may move with the run."""
    content = torch.load(file, weights_only=True)["state_dict"]
    numbers = {"input_resolution": 32, "context_length": 24, "vocab_size": 6144}
    torch.save(content | {name: torch.tensor(value) for name, value in numbers.items()}, file)
    data = make_pictures(tmp_path / "data", ("cat", "dog"), 12)
    how = (*QUICK, "--method", "linear-probe", "--out", tmp_path / "run")
    done = acclimate("adapt", data, "--backbone", file, *how)
    assert done.code == 0, done.err
    assert "my.pt: ViT of 3 layers, patches of 8 in 32 pixels, 1 and 1 heads; quick_gelu" in done.err
    (tmp_path / "elsewhere").mkdir()
    for name in ("bare", "run"):  # the place from the run is what leads to the file
        (tmp_path / name).rename(tmp_path / "elsewhere" / name)
    out = tmp_path / "labels.csv"
    done = acclimate("predict", tmp_path / "elsewhere" / "run", data / "cat", "--out", out)
    assert done.code == 0, done.err
    assert len(list(csv.DictReader(out.open()))) == 12
    (tmp_path / "elsewhere" / "bare" / "my.pt").unlink()
    done = acclimate("predict", tmp_path / "elsewhere" / "run", data / "cat", "--out", tmp_path / "more.csv")
    assert "which is not where it was looked for" in done.error


@pytest.mark.slow
def test_a_vit_of_timm_beside_a_bert(tmp_path):
    """The layout of BiomedCLIP: adapted and used as it is, and written once as a folder that stands for it."""
    folder = write_timm_bert(tmp_path / "biomed", joined())
    data = make_pictures(tmp_path / "data", ("cat", "dog"), 12)
    how = (*QUICK, "--method", "coop", "--set", "epochs=1", "--out", tmp_path / "run")
    done = acclimate("adapt", data, "--backbone", folder, *how)
    assert done.code == 0, done.err
    assert "ViT of 2 layers, patches of 16 in 32 pixels, 3 and 4 heads; gelu (open_clip_config.json)" in done.err
    done = acclimate("backbones", "convert", folder, "--out", tmp_path / "plain")
    assert done.code == 0, done.err
    assert "vit-bert-clip, 32 pixels" in done.out
    for place in (folder, tmp_path / "plain"):
        out = tmp_path / f"{place.name}.csv"
        done = acclimate("predict", tmp_path / "run", data / "cat", "--backbone", place, "--out", out)
        assert done.code == 0, done.err
    rows = [list(csv.DictReader((tmp_path / f"{name}.csv").open())) for name in ("biomed", "plain")]
    assert rows[0] == rows[1]
    assert len(rows[0]) == 12
    assert (
        "leave --activation out"
        in acclimate("backbones", "convert", folder, "--activation", "gelu", "--out", tmp_path / "x").error
    )


@pytest.mark.slow
def test_a_note_names_a_backbone_that_knows_the_images(tmp_path):
    """Where the embedded one is used and the domain has a specialist; nothing is downloaded."""
    data = make_pictures(tmp_path / "data", ("cat", "dog"), 12)
    how = ("--method", "zero-shot", "--shots", "2", "--device", "cpu", "--no-cache")
    done = acclimate("adapt", data, *how, "--domain", "satellite", "--out", tmp_path / "run")
    assert done.code == 0, done.err
    assert "--backbone chendelong/RemoteCLIP/RemoteCLIP-ViT-B-32.pt downloads and adapts it" in done.err
    done = acclimate("adapt", data, *how, "--domain", "natural", "--out", tmp_path / "other")
    assert "downloads and adapts it" not in done.err
