"""Runs that are moved, renamed, or read from another directory find their encoders again, or say what is missing."""

from __future__ import annotations

import json
import shutil

import pytest

import acclimate
from acclimate.backbones import hub
from acclimate.errors import RunError
from tests.helpers.runs import forget_places, quick
from tests.helpers.tiny_backbones import tiny_clip
from tests.helpers.tiny_mae import tiny_mae


@pytest.fixture(autouse=True)
def no_hub(monkeypatch):
    """Nothing here was on the Hub, so it is not asked."""
    monkeypatch.setattr(hub, "_download", lambda name, own: pytest.fail(f"the Hub was asked for {name}"))


@pytest.fixture(scope="module")
def made(tmp_path_factory, pictures, tiny_folders, domain_folder):
    """A tree with a run in it, whose encoders were named from there; what it predicts."""
    tree = tmp_path_factory.mktemp("places") / "a"
    shutil.copytree(tiny_folders["clip"], tree / "models/bb")
    shutil.copytree(domain_folder, tree / "runs/mae")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tree)
        encoders = {"backbone": "models/bb", "domain_encoder": "runs/mae"}
        model = quick(pictures, method="domain-linear-probe", settings={}, out="runs/probe", **encoders)
    return tree, model.record["metrics"]


@pytest.fixture
def moved(made, tmp_path, monkeypatch):
    """A copy of the tree elsewhere; the tree itself is away, and the working directory another one."""
    tree, _ = made
    away = tree.rename(tree.with_name("away"))
    (tmp_path / "c").mkdir()
    monkeypatch.chdir(tmp_path / "c")
    yield shutil.copytree(away, tmp_path / "somewhere/b")
    away.rename(tree)


def message(run, **options):
    with pytest.raises(RunError) as caught:
        acclimate.load(run, device="cpu", **options)
    assert str(caught.value).startswith(f"{run}: this adapter was trained on ")
    assert "\n" not in str(caught.value)
    assert "mini-clip" not in str(caught.value)
    return str(caught.value)


def measured(run, pictures, **options):
    return acclimate.load(run, device="cpu", **options).evaluate(pictures.test)


def test_from_another_directory(made, pictures, tmp_path, monkeypatch):
    tree, metrics = made
    monkeypatch.chdir(tmp_path)
    assert measured(tree / "runs/probe", pictures) == metrics
    record = json.loads((tree / "runs/probe/record.json").read_text())
    assert record["places"] == {
        "backbone": {"absolute": str((tree / "models/bb").resolve()), "relative": "../../models/bb"},
        "domain_encoder": {"absolute": str((tree / "runs/mae").resolve()), "relative": "../mae"},
    }


def test_the_whole_tree_moves(made, moved, pictures):
    assert measured(moved / "runs/probe", pictures) == made[1]


def test_a_run_of_an_earlier_version_moves_with_its_tree(made, moved, pictures):
    forget_places(moved / "runs/probe")
    assert measured(moved / "runs/probe", pictures) == made[1]


def test_the_run_alone_moves(made, pictures, tmp_path, monkeypatch):
    tree, metrics = made
    monkeypatch.chdir(tmp_path)
    assert measured(shutil.copytree(tree / "runs/probe", tmp_path / "renamed"), pictures) == metrics


def test_encoders_that_are_elsewhere_are_named(made, moved, pictures, tmp_path):
    (moved / "runs/mae").rename(tmp_path / "mae")
    (moved / "models/bb").rename(tmp_path / "bb")
    run = moved / "runs/probe"
    words = message(run)
    gone = [moved / "models/bb", made[0] / "models/bb"]
    listed = ", ".join(f"{path} (no such folder)" for path in [*gone, "models/bb"])
    assert "'models/bb' with weights " in words
    assert words.endswith(f", which is not where it was looked for: {listed}; name the original with `backbone`")
    words = message(run, backbone=tmp_path / "bb")
    assert "the domain encoder 'runs/mae' with weights " in words
    assert f"{moved / 'runs/mae'} (no such folder)" in words
    assert words.endswith("name the original with `domain_encoder`")
    assert measured(run, pictures, backbone=tmp_path / "bb", domain_encoder=tmp_path / "mae") == made[1]
    assert "name the original with `backbone`" in message(run, backbone=tmp_path / "nothing")


def test_another_encoder_where_it_was_is_passed_over_or_refused(made, moved, pictures, tmp_path, monkeypatch):
    tree, metrics = made
    run = moved / "runs/probe"
    other = tiny_mae(tmp_path / "other", seed=1)
    (moved / "runs/mae").rename(tmp_path / "mae")
    shutil.copytree(other, moved / "runs/mae")
    words = message(run)
    assert f"but '{moved / 'runs/mae'}' has weights " in words  # the only one that is there
    assert words.endswith("name the original with `domain_encoder`")
    shutil.copytree(other, tree / "runs/mae")
    try:
        assert f"{moved / 'runs/mae'} (another one), {tree / 'runs/mae'} (another one)" in message(run)
        (tmp_path / "c/runs").mkdir()
        (tmp_path / "mae").rename(tmp_path / "c/runs/mae")  # as it was typed, from the working directory
        assert measured(run, pictures) == metrics
    finally:
        shutil.rmtree(tree)


def test_a_damaged_encoder_says_so(moved, tmp_path):
    (moved / "models/bb/config.json").unlink()
    words = message(moved / "runs/probe")
    assert f"{moved / 'models/bb'} ({moved / 'models/bb'} has no config.json)" in words


def test_an_earlier_run_whose_folder_is_gone_names_itself(moved, tmp_path, monkeypatch):
    """Such a run does not say that it was a folder: the Hub may be asked, and what it says is no advice to choose."""
    from huggingface_hub import HfApi

    def offline(*_, **__):
        raise OSError("no network")

    monkeypatch.undo()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(HfApi, "model_info", offline)
    (moved / "models/bb").rename(tmp_path / "bb")
    forget_places(moved / "runs/probe")
    words = message(moved / "runs/probe")
    assert "no folder 'models/bb', and the Hub cannot be reached for it (no network)" in words
    assert words.endswith("name the original with `backbone`")


@pytest.mark.parametrize("places", [None, 3, {"backbone": 3}, {"backbone": {"relative": 3}}, {"other": {}}], ids=str)
def test_places_edited_by_hand(moved, pictures, made, places):
    path = moved / "runs/probe/record.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"places": places}))
    assert measured(moved / "runs/probe", pictures) == made[1]


def test_what_has_no_folder_has_no_place(pictures, tiny_folders, tmp_path, monkeypatch):
    model = quick(pictures, tiny_folders["clip"], method="domain-linear-probe", settings={}, domain_encoder="self")
    assert "places" not in model.record
    model.save(tmp_path / "run")
    assert [*json.loads((tmp_path / "run/record.json").read_text())["places"]] == ["backbone"]
    other = tmp_path / "c/self"
    tiny_clip(other)
    monkeypatch.chdir(tmp_path / "c")  # a folder of that name is not what is meant
    assert acclimate.load(tmp_path / "run", device="cpu").method.domain_encoder.name == "self"
