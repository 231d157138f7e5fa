"""`acclimate pretrain mae`, as a user types it."""

from __future__ import annotations

import json

import pytest

from acclimate.cli import console
from tests.helpers.command import acclimate, interrupted, start
from tests.helpers.disks import full_disk
from tests.helpers.pictures import make_pictures
from tests.helpers.waiting import wait_until

QUICK = ("--image-size", 32, "--patch-size", 8, "--batch-size", 8, "--domain", "natural", "--device", "cpu")


def pretrain(data, out, *words):
    return acclimate("pretrain", "mae", data, "--out", out, *QUICK, *words)


def test_from_pictures_to_an_encoder(picture_folder, tmp_path):
    done = pretrain(picture_folder, tmp_path / "mae", "--epochs", 2)
    assert done.code == 0, done.err
    assert "18 of 42 images are learned from (train)" in done.err
    assert "18 images, 2 epochs" in done.out
    assert f"--domain-encoder {tmp_path / 'mae'}" in " ".join(done.out.split())
    again = pretrain(picture_folder, tmp_path / "mae", "--epochs", 2, "--json", "--quiet")
    assert again.json["data"]["images"] == 18
    assert not again.err
    noted = pretrain(picture_folder, tmp_path / "mae", "--epochs", 2)
    assert "nothing to do" in noted.err


def test_a_loss_that_shows_too_few_steps(picture_folder, tmp_path, monkeypatch):
    done = pretrain(picture_folder, tmp_path / "mae", "--epochs", 1)
    record = json.loads((tmp_path / "mae/record.json").read_text())
    held_out = record["loss"]["held_out"]
    assert held_out > 0.95
    assert f"warning: a loss of {held_out:.3f} is not well below 1" in done.out
    record["loss"]["held_out"] = 0.94
    (tmp_path / "mae/record.json").write_text(json.dumps(record))
    monkeypatch.setattr(console.out, "_width", 60)
    monkeypatch.setattr(console.out, "_force_terminal", True)
    monkeypatch.setattr(console.out, "_color_system", None)
    again = pretrain(picture_folder, tmp_path / "mae", "--epochs", 1)  # which is finished
    assert "loss 0.940" in " ".join(again.out.split())
    assert max(len(line) for line in again.out.splitlines()[:2]) <= 60
    assert "warning" not in again.out
    assert "warning" not in pretrain(picture_folder, tmp_path / "control", "--epochs", 0).out  # random on purpose


def test_a_bare_folder_and_a_pattern(tmp_path):
    make_pictures(tmp_path, ("scans",), 5)
    (tmp_path / "scans/000.png").write_bytes(b"no image")
    refused = pretrain(tmp_path / "scans", tmp_path / "a", "--epochs", 0)
    assert refused.code == 2
    assert "000.png" in refused.error
    done = pretrain(tmp_path / "scans", tmp_path / "a", "--epochs", 0, "--on-corrupt", "skip", "--json")
    assert (done.json["data"]["images"], done.json["data"]["skipped"]) == (4, ["000.png"])
    some = pretrain(tmp_path / "scans/*[12].png", tmp_path / "b", "--epochs", 0, "--json")
    assert some.json["data"]["images"] == 2


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("--image-size", 33), "do not divide"),
        (("--patch-size", 32), "0 of 1 patches"),
        (("--mask-ratio", 1), "0 of 16 patches"),
        (("--mask-ratio", "much"), "mask-ratio"),
        (("--size", "huge"), "huge"),
        (("--epochs", -1), "epochs=-1"),
        (("--batch-size", 0), "batch_size=0"),
        (("--lr", -1), "lr=-1"),
        (("--split", "test"), "test"),
        (("--domain", "moon"), "moon"),
        (("--layout", "nonsense"), "nonsense"),
        (("--precision", "fp16"), "fp16"),
        (("--lr", 1e30, "--epochs", 40), "lower the learning rate (--lr 1e+29)"),
    ],
)
def test_bad_options(picture_folder, tmp_path, words, says):
    done = pretrain(picture_folder, tmp_path / "mae", *words)
    assert done.code == 2
    assert says in done.error


@pytest.mark.parametrize(
    ("data", "says"),
    [("missing", "no such file or folder"), ("empty", "it is empty"), ("notes", "1 .txt"), ("notes/a.txt", "manifest")],
)
def test_bad_data(tmp_path, data, says):
    (tmp_path / "empty").mkdir()
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes/a.txt").write_text("x")
    done = pretrain(tmp_path / data, tmp_path / "mae")
    assert done.code == 2
    assert says in done.error
    assert not (tmp_path / "mae").exists()


def test_a_folder_of_other_things(picture_folder, tmp_path):
    done = pretrain(picture_folder, picture_folder, "--epochs", 1)
    assert done.code == 2
    assert "other files" in done.error


@pytest.mark.slow
def test_a_full_disk_at_any_file(picture_folder, tmp_path):
    pretrain(picture_folder, tmp_path / "enough", "--epochs", 1)
    for name in ("model.safetensors", "reconstructions.png", "record.json"):
        out = tmp_path / name
        with full_disk(int(0.9 * (tmp_path / "enough" / name).stat().st_size)):
            done = pretrain(picture_folder, out, "--epochs", 1)
        assert done.code == 2, done.err
        assert "free some space" in done.error
        assert not list(out.glob(".*"))
        assert pretrain(picture_folder, out, "--epochs", 1).code == 0
        weights = "model.safetensors"
        assert (out / weights).read_bytes() == (tmp_path / "enough" / weights).read_bytes()


@pytest.mark.slow
def test_the_command_is_interrupted_and_given_again(picture_folder, tmp_path):
    words = ("pretrain", "mae", picture_folder, "--out", tmp_path / "mae", *QUICK, "--epochs", 12)
    log = tmp_path / "mae/log.jsonl"
    done = interrupted(lambda: log.exists() and log.stat().st_size, *words)
    assert done.code == 130
    assert not (tmp_path / "mae/record.json").exists()
    again = acclimate(*words)
    assert again.code == 0, again.err
    assert [json.loads(line)["epoch"] for line in log.read_text().splitlines()] == list(range(12))


@pytest.mark.slow
def test_the_command_is_killed_and_given_again(picture_folder, tmp_path):
    words = ("pretrain", "mae", picture_folder, "--out", tmp_path / "killed", *QUICK, "--epochs", 12)
    process = start(*words)
    log = tmp_path / "killed/log.jsonl"
    wait_until(lambda: log.exists() and log.read_text().count("\n") > 1, "second epoch", process)
    process.kill()
    process.communicate()
    assert not (tmp_path / "killed/record.json").exists()
    again = acclimate(*words)
    assert again.code == 0, again.err
    entries = [json.loads(line)["epoch"] for line in log.read_text().splitlines()]
    assert entries == list(range(12))
