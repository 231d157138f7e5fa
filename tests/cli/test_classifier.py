"""`acclimate pretrain classifier`, as a user types it."""

from __future__ import annotations

import json
import shlex

import pytest

from tests.helpers.command import acclimate
from tests.helpers.pictures import make_pictures, make_split_pictures

QUICK = ("--epochs", 2, "--set", "batch_size=8", "--device", "cpu")


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """Data without a split of their own, whose folder has a blank in its name."""
    place = tmp_path_factory.mktemp("classifier")
    return make_pictures(place / "my animals", per_class=10), make_split_pictures(
        place / "weather", ("rain", "sun"), noise=15.0
    )


def classifier(*words):
    return acclimate("pretrain", "classifier", *words, *QUICK)


@pytest.mark.slow
def test_the_printed_commands_work_as_printed(folders, domain_folder, tiny_folders, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    out = tmp_path / "a classifier"
    words = (*folders, "--from", domain_folder, "--out", out, "--domain", "natural")
    done = classifier(*words)
    assert done.code == 0, done.err
    record = json.loads((out / "record.json").read_text())
    assert "27 images, 2 epochs, of which " in done.out
    for line in ("my animals, 9 test", "weather, 6 validation", "weather, 10 test"):
        assert f"{line} images: accuracy" in done.out
    commands = [shlex.split(line) for line in done.out.splitlines() if line.startswith("  acclimate adapt ")]
    assert [command[2] for command in commands] == [str(folder) for folder in folders]
    assert all(command[-2:] == ["--domain", "natural"] for command in commands)
    assert all(command[3:5] == ["--method", "vitask"] for command in commands)
    quick = ("--method", "domain-linear-probe", "--backbone", tiny_folders["clip"], "--device", "cpu")
    for command in commands:
        adapted = acclimate(*command[1:], *quick)
        assert adapted.code == 0, adapted.err
        assert "has learned from" not in adapted.err
    other = acclimate(*commands[0][1:], *quick, "--split-seed", 5, "--out", tmp_path / "other")
    assert other.code == 2
    assert "has learned from" in other.error
    again = classifier(*words, "--json", "--quiet")
    assert again.json == record
    assert not again.err


def test_the_image_tower_of_a_dual_encoder_and_the_split_that_was_asked_for(folders, tiny_folders, tmp_path):
    words = (folders[0], "--out", tmp_path / "tsm", "--split-seed", 5, "--shots", 2)
    done = classifier(*words, "--from", tiny_folders["clip"])
    assert done.code == 0, done.err
    record = json.loads((tmp_path / "tsm/record.json").read_text())
    assert (record["data"]["images"], record["shots"]) == (6, 2)
    assert json.loads((tmp_path / "tsm/config.json").read_text())["model_type"] == "clip_vision_model"
    assert "--split-seed 5" in done.out


@pytest.mark.slow
def test_several_labels(tmp_path, domain_folder):
    folder = make_split_pictures(tmp_path / "weather", ("a", "b"))
    rows = [
        f"{path.relative_to(folder)},{'rain' if path.parts[-2] == 'a' else 'rain|night'},{path.parts[-3]}"
        for path in sorted(folder.rglob("*.png"))
    ]
    (folder / "labels.csv").write_text("path,label,split\n" + "\n".join(rows))
    done = classifier(folder, "--from", domain_folder, "--out", tmp_path / "tsm", "--multi-label")
    assert done.code == 0, done.err
    assert "weather, 10 test images: mean AP" in done.out
    assert "acclimate adapt LABELLED_IMAGES" in done.out
    refused = classifier(folder, "--from", domain_folder, "--out", tmp_path / "b", "--multi-label", "--shots", 4)
    assert refused.code == 2
    assert "use --shots all or --shots budget:64" in refused.error


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("--from", "gone"), "no domain encoder folder 'gone'"),
        (("--from", ""), "--from is ''"),
        (("--lr", -1), "lr=-1"),
        (("--set", "colour=red"), "unknown setting 'colour'"),
        (("--shots", "few"), "--shots few"),
        (("--domain", "moon"), "moon"),
        (("--domain", "xray", "--set", "augment=crop+flip"), "mirror images change meaning in the domain 'xray'"),
    ],
)
def test_bad_options(picture_folder, domain_folder, tmp_path, words, says):
    start = () if "--from" in words else ("--from", domain_folder)
    done = acclimate("pretrain", "classifier", picture_folder, *start, "--out", tmp_path / "tsm", "--epochs", 1, *words)
    assert done.code == 2
    assert says in done.error
    assert not (tmp_path / "tsm").exists()


def test_bad_data(picture_folder, domain_folder, tmp_path):
    make_pictures(tmp_path / "one", ("cat",), 5)
    for data, says in (
        ((tmp_path / "gone",), "no such file or folder"),
        ((tmp_path / "one",), "only one class"),
        ((picture_folder, picture_folder), "two data sets are named 'animals'"),
        ((), "Missing argument 'DATA...'"),
    ):
        done = classifier(*data, "--from", domain_folder, "--out", tmp_path / "tsm")
        assert done.code == 2
        assert says in done.error
    assert not (tmp_path / "tsm").exists()
    done = classifier(picture_folder, "--from", domain_folder, "--out", picture_folder)
    assert done.code == 2
    assert "other files" in done.error
