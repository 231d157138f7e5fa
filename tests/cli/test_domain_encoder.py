"""`--domain-encoder` of adapt, evaluate and predict."""

from __future__ import annotations

import json
import shutil

import pytest

from tests.helpers.command import QUICK, acclimate
from tests.helpers.runs import forget_places
from tests.helpers.tiny_backbones import tiny_clip
from tests.helpers.tiny_mae import tiny_mae


@pytest.fixture(scope="module")
def words(picture_folder, tiny_folders):
    """The command without its domain encoder."""
    backbone = ("--backbone", tiny_folders["clip"])
    return ("adapt", picture_folder, "--method", "domain-linear-probe", *backbone, *QUICK)


@pytest.fixture(scope="module")
def adapted(tmp_path_factory, words, domain_folder):
    """What `acclimate adapt --domain-encoder DIR` says, and the run that it leaves."""
    run = tmp_path_factory.mktemp("cli") / "run"
    return run, acclimate(*words, "--domain-encoder", domain_folder, "--out", run)


def test_adapt_evaluate_predict(adapted, picture_folder, domain_folder, tmp_path):
    run, done = adapted
    assert done.code == 0, done.err
    for name in ("zero-shot", "linear-probe", "domain-linear-probe", "domain features"):
        assert name in done.out
    record = json.loads((run / "record.json").read_text())
    moved = tiny_mae(tmp_path / "moved")
    for place in ((), ("--domain-encoder", domain_folder), ("--domain-encoder", moved)):
        found = acclimate("evaluate", run, picture_folder, *place, "--json").json
        assert {name: found[name] for name in record["metrics"]} == record["metrics"]
        rows = acclimate("predict", run, picture_folder / "test", *place, "--json")
        assert len(rows.out.splitlines()) == 15


def test_a_finished_run_is_found_again(adapted, words, domain_folder):
    run, _ = adapted
    again = acclimate(*words, "--domain-encoder", domain_folder, "--out", run)
    assert again.code == 0
    assert "nothing to do" in again.err


def test_the_default_folder_tells_domain_encoders_apart(words, domain_folder, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in (domain_folder, "self"):
        assert acclimate(*words, "--domain-encoder", name).code == 0
    runs = sorted(path.name for path in (tmp_path / "runs").iterdir())
    assert len(runs) == 2
    assert all(name.startswith("animals-domain-linear-probe-4shot-seed1-") for name in runs)


def test_one_that_is_not_needed_is_a_note(words, tmp_path):
    done = acclimate(*words, "--method", "zero-shot", "--domain-encoder", "no/such", "--out", tmp_path / "run")
    assert done.code == 0, done.err
    assert "zero-shot reads no domain encoder; the one that is named is not used" in done.err


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ((), "domain-linear-probe reads the features of a domain encoder and none is named; give --domain-encoder"),
        (("--domain-encoder", "gone"), "no domain encoder folder 'gone'"),
        (("--domain-encoder", ""), "--domain-encoder is ''; give a folder, a Hub id"),
        (("--domain-encoder", "notes.txt"), "notes.txt"),
        (("--domain-encoder", "empty"), "config.json"),
        (("--domain-encoder",), "requires an argument"),
    ],
    ids=lambda value: " ".join(value)[:40] if isinstance(value, tuple) else "",
)
def test_bad_domain_encoders(words, tmp_path, monkeypatch, given, expected):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    (tmp_path / "notes.txt").write_text("x")
    done = acclimate(*words, "--out", tmp_path / "run", *given)
    assert done.code == 2
    assert expected in done.error
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("verb", ["evaluate", "predict"])
def test_swapped_and_missing_on_load(adapted, picture_folder, domain_folder, tmp_path, verb):
    def error(run, *words):
        done = acclimate(verb, run, picture_folder, *words)
        assert done.code == 2
        assert "name the original with --domain-encoder" in done.error
        return done.error

    run, _ = adapted
    other = tiny_mae(tmp_path / "other", seed=1)
    assert str(other) in error(run, "--domain-encoder", other)
    assert str(domain_folder) in error(run, "--domain-encoder", "self")
    assert str(domain_folder) in error(run, "--domain-encoder", tmp_path / "gone")
    copy = shutil.copytree(run, tmp_path / "copy")
    info = json.loads((copy / "adapter.json").read_text())
    info["domain_encoder"]["id"] = str(tmp_path / "moved away")
    (copy / "adapter.json").write_text(json.dumps(info))
    forget_places(copy)
    assert "moved away" in error(copy)


def test_self_belongs_to_its_backbone(words, picture_folder, tmp_path):
    assert acclimate(*words, "--domain-encoder", "self", "--out", tmp_path / "run").code == 0
    done = acclimate("evaluate", tmp_path / "run", picture_folder, "--backbone", tiny_clip(tmp_path / "b", seed=3))
    assert done.code == 2
    assert "name the original with --backbone" in done.error
