from __future__ import annotations

import io
import json
import os

import numpy as np
import pytest
import torch
from PIL import Image

from acclimate.backbones import load_domain_encoder
from acclimate.data.unlabelled import load_unlabelled
from acclimate.errors import DataError, RunError
from acclimate.pretraining.config import MaeConfig
from acclimate.pretraining.sheet import GAP, HEAD, HIDDEN, TILE
from acclimate.runs.pretraining import pretrain_mae
from tests.helpers.killing import kill_at_files, kill_often
from tests.helpers.tiny_mae import SMALL

ONE = {**SMALL, "epochs": 1}


def train(data, out, settings=ONE, **options):
    return pretrain_mae(data, out, settings=settings, **{"domain": "natural", "device": "cpu", **options})


def test_the_loss_falls(encoder):
    out, record = encoder
    losses = [json.loads(line)["reconstruction"] for line in (out / "log.jsonl").read_text().splitlines()]
    assert len(losses) == 30
    assert np.mean(losses[-3:]) < 0.8 * np.mean(losses[:3])
    assert record["loss"]["train"] == losses[-1]
    assert record["loss"]["held_out"] < 0.9 * losses[0]


def test_the_folder(encoder, pictures):
    out, record = encoder
    assert sorted(path.name for path in out.iterdir()) == [
        "config.json",
        "images.txt",
        "log.jsonl",
        "model.safetensors",
        "preprocessor_config.json",
        "reconstructions.png",
        "record.json",
    ]
    assert record == json.loads((out / "record.json").read_text())
    assert (out / "images.txt").read_text().split() == [pictures.train.digest(row) for row in range(18)]
    assert (record["data"]["images"], record["data"]["part"], record["data"]["held_out"]) == (18, "train", 9)
    assert record["settings"]["lr"] == 2e-3
    assert record["parameters"]["encoder"] > record["parameters"]["decoder"] > 0
    pixels = np.stack([np.asarray(image.resize((32, 32), 3)) for image in map(pictures.train.image, range(18))]) / 255
    np.testing.assert_allclose(record["transform"]["mean"], pixels.mean((0, 1, 2)), atol=1e-3)
    np.testing.assert_allclose(record["transform"]["std"], pixels.std((0, 1, 2)), atol=1e-3)
    assert load_domain_encoder(out).width == 192


def test_the_sheet_shows_original_masked_and_reconstruction(encoder, pictures):
    out, _ = encoder
    sheet = Image.open(io.BytesIO((out / "reconstructions.png").read_bytes()))
    assert sheet.size == (3 * (TILE + GAP) + GAP, HEAD + 8 * (TILE + GAP))
    lefts = [GAP + column * (TILE + GAP) for column in range(3)]
    tiles = [np.asarray(sheet.crop((left, HEAD, left + TILE, HEAD + TILE))).astype(float) for left in lefts]
    first = pictures.val.image(0).resize((32, 32), 3).resize((TILE, TILE), 3)
    np.testing.assert_allclose(tiles[0], np.asarray(first), atol=2)
    hidden = (tiles[1] == HIDDEN).all(-1)
    assert 0.6 < hidden.mean() < 0.76
    patch = TILE // 4
    inner = [slice(row * patch + 12, (row + 1) * patch - 12) for row in range(4)]
    seen = [(a, b) for a in inner for b in inner if not hidden[a, b].any()]
    assert len(seen) == 4
    for place in seen:
        np.testing.assert_allclose(tiles[1][place], tiles[0][place], atol=2)
        np.testing.assert_allclose(tiles[2][place], tiles[0][place], atol=2)
    drawn = np.abs(tiles[2] - tiles[0])[hidden]
    assert 1 < drawn.mean() < 60


def test_a_finished_run_is_not_repeated(pictures, tmp_path, caplog):
    caplog.set_level("INFO", "acclimate")
    record = train(pictures, tmp_path / "a")
    before = {path.name: path.stat().st_mtime_ns for path in (tmp_path / "a").iterdir()}
    assert train(pictures, tmp_path / "a") == record
    assert {path.name: path.stat().st_mtime_ns for path in (tmp_path / "a").iterdir()} == before
    assert "nothing to do" in caplog.text
    for other in ({"seed": 2}, {"settings": {**ONE, "mask_ratio": 0.5}}, {"split": "all"}, {"domain": "xray"}):
        with pytest.raises(RunError, match="other images or settings"):
            train(pictures, tmp_path / "a", **other)
    listed = (tmp_path / "a/images.txt").read_bytes()
    for damage in (b"", listed[:100], None):  # and none, as an earlier version left it
        (tmp_path / "a/images.txt").unlink() if damage is None else (tmp_path / "a/images.txt").write_bytes(damage)
        train(pictures, tmp_path / "a")
        assert (tmp_path / "a/images.txt").read_bytes() == listed
    again = train(pictures, tmp_path / "a", seed=2, overwrite=True)
    assert again["loss"] != record["loss"]


def test_no_epochs_save_random_features(pictures, tmp_path):
    record = train(pictures, tmp_path / "random", {**SMALL, "epochs": 0})
    assert record["loss"]["train"] is None
    assert record["loss"]["held_out"] > 0.9
    features = load_domain_encoder(tmp_path / "random").encode_image(torch.randn(2, 3, 32, 32))
    assert torch.isfinite(features).all()
    assert not torch.allclose(features[0], features[1])


def test_equal_seeds_give_equal_weights(pictures, tmp_path):
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        train(pictures, tmp_path / name, seed=seed)
    a, b, c = ((tmp_path / name / "model.safetensors").read_bytes() for name in "abc")
    assert a == b != c


def test_one_colour_alone(tmp_path):
    for number in range(3):
        Image.new("RGB", (40, 40), (90, 90, 90)).save(tmp_path / f"{number}.png")
    record = train(load_unlabelled(tmp_path), tmp_path / "out", {**ONE, "epochs": 2})
    assert np.isfinite(record["loss"]["train"])


def test_what_out_may_hold(pictures, tmp_path):
    (tmp_path / "file").write_text("x")
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes/a.txt").write_text("x")
    (tmp_path / "run").mkdir()
    (tmp_path / "run/record.json").write_text('{"method": "coop"}')
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken/record.json").write_text("{")
    for name, words in {"file": "is a file", "notes": r"a\.txt", "run": "another kind", "broken": "valid JSON"}.items():
        with pytest.raises(RunError, match=words):
            train(pictures, tmp_path / name, overwrite=True)
    assert (tmp_path / "run/record.json").exists()


def test_a_corrupt_picture_is_named_before_training(tmp_path):
    for number in range(3):
        Image.effect_noise((40, 40), 60).convert("RGB").save(tmp_path / f"{number}.png")
    (tmp_path / "1.png").write_bytes(b"no image")
    with pytest.raises(DataError, match=r"1\.png"):
        train(load_unlabelled(tmp_path), tmp_path / "out")
    assert [(path.name, path.read_text()) for path in (tmp_path / "out").iterdir()] == [("log.jsonl", "")]


def test_the_schedule_rises_and_falls_step_by_step():
    recipe = MaeConfig().recipe()
    rates = [recipe.learning_rate(epoch, 100) / recipe.lr for epoch in (0, 2.5, 5, 52.5, 100)]
    np.testing.assert_allclose(rates, [0, 0.5, 1, 0.5, 0], atol=1e-9)


PREPARE = """
from acclimate.data.unlabelled import load_unlabelled
from acclimate.runs.pretraining import pretrain_mae
import acclimate.pretraining.mae, acclimate.backbones.mae, transformers.models.vit_mae.modeling_vit_mae

data, settings = load_unlabelled(inputs[0]), json.loads(inputs[1])

def train(out):
    pretrain_mae(data, out, settings=settings, domain="natural", device="cpu", checkpoint_seconds=0.0)
"""


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_killed_many_times(tmp_path, picture_folder):
    places = [0, 1, 3, 3, 6]
    outputs = (tmp_path / "unbroken", tmp_path / "killed")
    killed = kill_often(PREPARE, (picture_folder, json.dumps({**SMALL, "epochs": 8})), places, *outputs)
    assert all(row[2] for row in killed)
    assert len({row[1] for row in killed}) >= 3  # at really different moments
    names = [sorted(path.name for path in folder.iterdir()) for folder in outputs]
    assert names[0] == names[1]
    for name in ("model.safetensors", "config.json", "preprocessor_config.json", "log.jsonl", "reconstructions.png"):
        assert (outputs[0] / name).read_bytes() == (outputs[1] / name).read_bytes(), name
    left, right = (json.loads((folder / "record.json").read_text()) for folder in outputs)
    for key in ("identity", "loss", "data", "settings", "transform"):
        assert left[key] == right[key], key


WRITTEN = [
    *("config.json", "images.txt", "model.safetensors", "preprocessor_config.json", "reconstructions.png"),
    *("record.json", "remove checkpoint.safetensors"),
]


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_killed_at_each_file_that_is_written_in_the_end(tmp_path, picture_folder):
    inputs = (picture_folder, json.dumps({**SMALL, "epochs": 1}))
    assert kill_at_files(PREPARE, inputs, WRITTEN, tmp_path) == []
    assert {path.name for path in (tmp_path / "unbroken").iterdir()} == {*WRITTEN[:-1], "log.jsonl"}


def test_length_and_rate_where_nobody_chose_them():
    assert [MaeConfig().passes(pictures) for pictures in (400, 1800, 10**6)] == [500, 112, 1]
    assert MaeConfig(epochs=0).passes(400) == 0
    rates = [MaeConfig(batch_size=size).recipe().lr for size in (32, 512, 4096)]
    np.testing.assert_allclose(rates, [3e-4, 3e-4, 2.4e-3])
    assert MaeConfig(lr=0.01).recipe().lr == 0.01
