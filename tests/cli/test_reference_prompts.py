"""`--reference-prompts` of adapt."""

from __future__ import annotations

import json

import pytest

from tests.helpers.command import QUICK, acclimate

SENTENCES = {"Cat": ["soft fur", "whiskers and pointed ears"], "dog": ["a wet nose"], "river": ["water that flows"]}


@pytest.fixture(scope="module")
def words(picture_folder, tiny_folders):
    """The command without its prompts."""
    return ("adapt", picture_folder, "--method", "aape", "--backbone", tiny_folders["clip"], *QUICK)


@pytest.fixture(scope="module")
def prompts(tmp_path_factory):
    path = tmp_path_factory.mktemp("cli") / "prompts.json"
    path.write_text(json.dumps(SENTENCES))
    return path


@pytest.mark.slow
def test_with_a_file_and_without(words, prompts, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for given in ((), ("--reference-prompts", prompts)):
        done = acclimate(*words, *given)
        assert done.code == 0, done.err
        assert f"reference prompts: {given[1] if given else 'bank'}" in done.err.replace("\n", "")
    runs = sorted((tmp_path / "runs").iterdir())
    records = [json.loads((run / "record.json").read_text())["reference_prompts"] for run in runs]
    sources = {record["source"]: record["sentences"] for record in records}
    assert set(sources) == {"bank", str(prompts)}  # the default folder tells them apart
    assert sources[str(prompts)] == {"cat": 2, "dog": 1, "river": 1}
    assert len({record["fingerprint"] for record in records}) == 2


@pytest.mark.slow
def test_other_sentences_are_another_run(words, prompts, tmp_path):
    run = tmp_path / "run"
    assert acclimate(*words, "--reference-prompts", prompts, "--out", run).code == 0
    again = acclimate(*words, "--reference-prompts", prompts, "--out", run)
    assert again.code == 0
    assert "nothing to do" in again.err
    changed = tmp_path / "changed.json"
    changed.write_text(json.dumps(SENTENCES | {"dog": ["a wagging tail"]}))
    refused = acclimate(*words, "--reference-prompts", changed, "--out", run)
    assert refused.code == 2
    assert "finished run of other data or settings" in refused.err


@pytest.mark.slow
def test_prediction_needs_no_prompts(words, prompts, picture_folder, tmp_path):
    """The sentences are gone when training ends."""
    run, mine = tmp_path / "run", tmp_path / "mine.json"
    mine.write_text(prompts.read_text())
    assert acclimate(*words, "--reference-prompts", mine, "--out", run).code == 0
    mine.unlink()
    record = json.loads((run / "record.json").read_text())
    found = acclimate("evaluate", run, picture_folder, "--json").json
    assert {name: found[name] for name in record["metrics"]} == record["metrics"]
    assert len(acclimate("predict", run, picture_folder / "test", "--json").out.splitlines()) == 15


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (None, "no such file or directory; give a file of reference prompts"),
        ({"cat": ["fur"], "dgo": ["tail"], "river": ["water"]}, "1 of 3 classes: 'dog', nearest entry 'dgo'"),
        ({"cat": ["fur"], "dog": [], "river": ["water"]}, "class 'dog' are []"),
    ],
)
def test_unusable_prompts(words, tmp_path, content, said):
    path = tmp_path / "prompts.json"
    if content is not None:
        path.write_text(json.dumps(content))
    done = acclimate(*words, "--reference-prompts", path, "--out", tmp_path / "run")
    assert done.code == 2
    message = " ".join(done.err.split())
    assert said in message
    assert path.name in message
    assert "Traceback" not in done.err


def test_those_that_are_not_needed_are_a_note(words, tmp_path):
    done = acclimate(*words, "--method", "zero-shot", "--reference-prompts", "no/such", "--out", tmp_path / "run")
    assert done.code == 0
    assert "learns from no reference prompts" in done.err
