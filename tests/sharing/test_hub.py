"""Runs go to a server that speaks the Hub's API, and come back from it, by huggingface_hub itself."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from huggingface_hub import ModelCard

import acclimate
from acclimate.errors import RunError
from acclimate.sharing import gather, pull, push
from tests.helpers.command import acclimate as command
from tests.helpers.hub_server import files_of, hub_environment
from tests.helpers.hub_store import READER, hub_store
from tests.helpers.tiny_vlms import tiny_llava
from tests.helpers.waiting import HANG

NAME = "somebody/animals"
FILES = [
    "README.md", "adapter.json", "adapter.safetensors", "calibration.safetensors", "log.jsonl", "record.json",
    "splits.json",
]  # fmt: skip


@pytest.fixture
def sent(hub, shared):
    """The repository of a run that was pushed with its encoders."""
    push(shared.run, NAME, with_encoders=True)
    return hub


def images_below(folder):
    return [str(file) for file in sorted((folder / "test").rglob("*.png"))]


def probabilities(model, files):
    return np.stack([one.probabilities for one in model.predict(files)])


def test_a_run_comes_back_as_it_was_without_what_it_was_made_from(sent, shared, picture_folder, tmp_path, monkeypatch):
    gone = shared.home.rename(shared.home.with_name("gone"))
    try:
        model = acclimate.load(f"hf:{NAME}", device="cpu")
        folder = pull(NAME, tmp_path / "pulled")
        pulled = acclimate.load(folder, device="cpu")
    finally:
        gone.rename(shared.home)
    files = images_below(picture_folder)
    expected = probabilities(shared.model, files)
    assert np.array_equal(probabilities(model, files), expected)
    assert np.array_equal(probabilities(pulled, files), expected)
    assert pulled.record["metrics"] == shared.model.record["metrics"]
    assert files_of(folder) == sent.files(NAME)


def test_nothing_of_this_machine_is_sent(sent, shared, picture_folder):
    private = [shared.home, picture_folder.parent, Path.home(), Path.cwd(), "my-clip/", "000.png"]
    for name, content in sent.files(NAME).items():
        for text in private:
            assert str(text).encode() not in content, (name, text)
    here = (shared.run / "record.json").read_bytes() + (shared.run / "splits.json").read_bytes()
    assert str(shared.home).encode() in here
    assert b"000.png" in here


def test_what_was_learned_from_is_known_by_its_bytes(sent, shared, picture_folder):
    model = acclimate.load(f"hf:{NAME}", device="cpu")
    rows = [row for rows in model.frozen["splits"].values() for row in rows]
    assert all(row["key"] == row["sha256"] for row in rows)
    assert all(row["group"].isdecimal() for row in rows)
    metrics = model.evaluate(picture_folder)
    assert {name: value for name, value in metrics.items() if name != "known"} == {
        name: value for name, value in shared.model.record["metrics"].items() if name != "known"
    }


@pytest.mark.slow
def test_every_verb_takes_a_run_of_the_hub(sent, shared, picture_folder, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    files = images_below(picture_folder)[:3]
    here, there = (command("predict", run, *files, "--device", "cpu") for run in (shared.run, f"hf:{NAME}"))
    assert there.code == 0, there.err
    assert there.out == here.out
    assert command("evaluate", f"hf://{NAME}", picture_folder, "--json").json["samples"] == 15
    assert command("report", f"hf:{NAME}", "--no-features").code == 0
    refused = command("export", f"hf:{NAME}", "--to", "onnx")
    assert refused.code == 2
    assert "name a folder with --out" in refused.error


def test_encoders_that_stay_here_are_asked_for(hub, shared, picture_folder):
    done = command("push", shared.run, NAME)
    assert done.code == 0, done.err
    assert "'my-clip' is a folder of this machine and does not go with it" in done.out.replace("\n", " ")
    assert sorted(hub.files(NAME)) == FILES
    assert 'backbone="FOLDER"' in hub.files(NAME)["README.md"].decode()
    files = images_below(picture_folder)[:2]
    refused = command("predict", f"hf:{NAME}", *files)
    assert refused.code == 2
    assert "name the original with --backbone" in refused.error
    models = shared.home / "models"
    where = ("--backbone", models / "my-clip", "--domain-encoder", models / "my-domain", "--device", "cpu")
    assert command("predict", f"hf:{NAME}", *files, *where).out == command("predict", shared.run, *files).out


def test_a_dry_run_shows_what_is_sent_and_needs_neither_network_nor_token(hub, shared, monkeypatch):
    monkeypatch.delenv("HF_TOKEN")
    told = command("push", shared.run, NAME, "--with-encoders", "--dry-run", "--json")
    assert told.code == 0, told.err
    shown = command("push", shared.run, NAME, "--dry-run")
    assert "Stays here: predictions.parquet" in shown.out
    assert "model-index:" in shown.out
    assert hub.repositories == {}
    monkeypatch.setenv("HF_TOKEN", "hf_writer")
    push(shared.run, NAME, with_encoders=True)
    assert told.json["files"] == {name: len(content) for name, content in sorted(hub.files(NAME).items())}
    assert told.json["card"] == hub.files(NAME)["README.md"].decode()


def test_the_card_says_what_the_record_says(sent, shared):
    card = ModelCard(sent.files(NAME)["README.md"].decode())
    card.validate()
    assert len(sent.yaml) > 0  # the Hub was asked whether it takes the card
    data = card.data
    assert data.library_name == "acclimate"
    assert data.pipeline_tag == "image-classification"
    assert (data.license, data["license_name"]) == ("other", "unknown")
    record = shared.model.record
    told = {result.metric_type: result.metric_value for result in data.eval_results}
    assert told == {name: record["metrics"][name]["value"] for name in told}
    assert {"accuracy", "balanced_accuracy", "macro_f1", "ece", "nll"} == told.keys()
    assert {result.dataset_name for result in data.eval_results} == {"animals"}
    assert f'acclimate.load("hf:{NAME}")' in card.text
    images = record["data"]["images"]
    assert f"{images['train']} train, {images['val']} val, {images['test']} test images" in card.text
    assert "its licence is unknown" in card.text
    code = re.search(r"```python\n(.*?)```", card.text, re.S)[1]
    assert len(code.splitlines()) == 3
    compile(code, "card", "exec")


def test_the_card_names_public_encoders_and_their_licences(shared, tmp_path):
    run = shutil.copytree(shared.run, tmp_path / "run")
    for name in ("adapter.json", "record.json"):
        told = json.loads((run / name).read_text())
        told.pop("places", None)
        told["backbone"]["id"], told["domain_encoder"]["id"] = "openai/clip-vit-base-patch32", "self"
        (run / name).write_text(json.dumps(told))
    found = gather(run, NAME)
    data = ModelCard(found.card).data
    assert data.base_model == ["openai/clip-vit-base-patch32"]
    assert "The backbone `openai/clip-vit-base-patch32`: MIT." in found.card
    assert [one.public for one in found.encoders] == [True, True]


def test_another_run_takes_the_place_of_the_first(sent, shared, tmp_path):
    run = shutil.copytree(shared.run, tmp_path / "run")
    (run / "calibration.safetensors").unlink()
    done = push(run, NAME)
    assert sorted(sent.files(NAME)) == [name for name in FILES if name != "calibration.safetensors"]
    assert done.commit in sent.repositories[NAME].commits
    assert len(sent.messages) == 2


def test_branches(hub, shared, tmp_path):
    push(shared.run, NAME)
    push(shared.run, NAME, revision="v2", with_encoders=True)
    assert sorted(hub.files(NAME)) == FILES
    assert "backbone/model.safetensors" in hub.files(NAME, "v2")
    assert acclimate.load(f"hf:{NAME}@v2", device="cpu").method.name == "domain-linear-probe"
    done = command("pull", NAME, "--revision", "v2", "--out", tmp_path / "v2")
    assert done.code == 0, done.err
    assert (tmp_path / "v2" / "backbone" / "config.json").is_file()
    refused = command("pull", NAME, "--revision", "v3", "--out", tmp_path / "v3")
    assert "has no revision 'v3'" in refused.error
    assert not (tmp_path / "v3").exists()


def test_private(hub, shared):
    push(shared.run, NAME, private=True)
    assert hub.repositories[NAME].private
    push(shared.run, "somebody/open")
    with pytest.raises(RunError, match="somebody/open is public"):
        push(shared.run, "somebody/open", private=True)


def test_what_was_fetched_is_found_again_without_the_hub(shared, tmp_path, hub, monkeypatch):
    from huggingface_hub import constants

    push(shared.run, NAME, with_encoders=True)
    first = acclimate.load(f"hf:{NAME}", device="cpu")
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", "http://127.0.0.1:9/{repo_id}/{revision}/{filename}")
    assert acclimate.load(f"hf:{NAME}", device="cpu").run == first.run
    with pytest.raises(RunError, match="the Hub cannot be reached for somebody/else"):
        acclimate.load("hf:somebody/else")


@pytest.mark.parametrize(
    ("token", "name", "said"),
    [
        ("", NAME, "no token for the Hub: run `hf auth login`"),
        ("hf_wrong", NAME, "does not let this token do that"),
        (READER, NAME, "does not let this token do that"),
        ("hf_writer", "somebody/model", "holds other files (such as config.json)"),
        ("hf_writer", "somebody", "names no repository"),
        ("hf_writer", "a/b/c", "names no repository"),
        ("hf_writer", "../../x", "names no repository"),
    ],
)
def test_what_cannot_be_sent_is_one_line(hub, shared, monkeypatch, token, name, said):
    hub.put("somebody/model", {"config.json": b"{}", "README.md": b""})
    monkeypatch.setenv("HF_TOKEN", token)
    done = command("push", shared.run, name)
    assert done.code == 2
    assert said in done.error
    assert hub.repositories.keys() == {"somebody/model"}
    assert hub.files("somebody/model").keys() == {"config.json", "README.md"}


def test_what_is_no_run_is_one_line(hub, shared, tmp_path):
    run = shutil.copytree(shared.run, tmp_path / "run")
    (run / "record.json").unlink()
    for words, said in (
        ((tmp_path / "gone",), "there is no such run folder"),
        ((tmp_path,), "give the folder of a finished run"),
        ((run,), "give the folder of a finished run"),
        ((f"hf:{NAME}",), "is on the Hub already"),
        ((shared.run, "--backbone", "mini-clip"), "add --with-encoders"),
    ):
        done = command("push", words[0], NAME, *words[1:])
        assert done.code == 2
        assert said in done.error
    assert hub.repositories == {}


def test_a_folder_of_this_machine_that_hides_in_a_file_keeps_all_here(hub, shared, tmp_path):
    run = shutil.copytree(shared.run, tmp_path / "run")
    told = json.loads((run / "record.json").read_text())
    told["data"][f"{shared.home}"] = 1  # keys stay as they are
    told["places"]["backbone"]["absolute"] = str(shared.home)
    (run / "record.json").write_text(json.dumps(told))
    with pytest.raises(RunError, match=r"record\.json would name the folder"):
        push(run, NAME)
    assert hub.repositories == {}


def weird(files, **changed):
    found = {**files, **changed}
    return {name: content for name, content in found.items() if content is not None}


HOSTILE = {
    "pickle": ({"extra/model.pkl": b"x"}, "a run is safetensors, JSON and text"),
    "torch": ({"pytorch_model.bin": b"x"}, "a run is safetensors, JSON and text"),
    "outside": ({"backbone/../../../evil.json": b"{}"}, "whose name leads out of its folder"),
    "absolute": ({"/etc/cron.d/evil.txt": b"x"}, "whose name leads out of its folder"),
    "drive": ({"C:\\evil.json": b"{}"}, "whose name leads out of its folder"),
    "no adapter": ({"adapter.safetensors": None}, "is no run of acclimate: it has no adapter.safetensors"),
    "a pickle in disguise": ({"adapter.safetensors": b"\x80\x04K\x01."}, "is no safetensors"),
    "a link": ({"calibration.safetensors": b"/etc/passwd"}, "is no safetensors"),
    "no JSON": ({"adapter.json": b"<html>"}, "adapter.json"),
    "no object": ({"record.json": b"[]"}, "holds no object"),
    "no text": ({"log.jsonl": b"\xff\x00\xfe"}, "log.jsonl"),
    "places": (
        {"record.json": b'{"places": {"backbone": {"absolute": "/home/x"}}}'},
        "names folders of another machine",
    ),
}


@pytest.mark.parametrize("kind", HOSTILE)
def test_what_must_not_come_back_is_refused(sent, tmp_path, kind):
    changed, said = HOSTILE[kind]
    sent.put(NAME, weird(sent.files(NAME), **changed))
    done = command("pull", NAME, "--out", tmp_path / "out")
    assert done.code == 2
    assert said in done.error
    assert not (tmp_path / "out").exists()
    with pytest.raises(RunError):
        acclimate.load(f"hf:{NAME}")
    assert [name for name in sent.sent if name in changed and name.endswith((".pkl", ".bin"))] == []


def test_what_cannot_be_pulled_is_one_line(sent, tmp_path):
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "notes.txt").write_text("mine")
    for words, said in (
        (("somebody/none",), "the Hub has no repository 'somebody/none'"),
        (("nobody",), "names no repository"),
        ((NAME, "--out", tmp_path / "full"), "is there already"),
        ((NAME, "--out", tmp_path / "full" / "notes.txt"), "is there already"),
        ((NAME, "--out", tmp_path / "full" / "notes.txt" / "x"), "cannot write"),
    ):
        done = command("pull", *words)
        assert done.code == 2
        assert said in done.error
    assert "names no run on the Hub" in command("predict", "hf:nobody", tmp_path).error


def test_other_files_of_a_repository_stay_there(sent, tmp_path):
    sent.put(NAME, weird(sent.files(NAME), **{"thumbnail.png": b"x", "notes/a.txt": b"x"}))
    pull(NAME, tmp_path / "out")
    assert not {"thumbnail.png", "notes/a.txt"} & files_of(tmp_path / "out").keys()
    assert not {"thumbnail.png", "notes/a.txt"} & {*sent.sent}


@pytest.mark.slow
def test_a_generative_run_with_the_model_that_it_made_for_itself(hub, tmp_path, picture_folder, domain_folder):
    """The task-specific model lies in the run folder, so that it goes with it; the language model is named."""
    vlm = tiny_llava(tmp_path / "here" / "llava")
    settings = {"epochs": 2, "rank": 1, "batch_size": 4, "task_encoder": str(domain_folder), "task_epochs": 1}
    how = {"shots": 2, "domain": "natural", "device": "cpu", "settings": settings}
    run = tmp_path / "here" / "run"
    model = acclimate.adapt(picture_folder, "vitask", vlm, out=run, **how)
    push(run, NAME, with_encoders=True)
    assert all(str(tmp_path).encode() not in content for content in hub.files(NAME).values())
    shutil.move(tmp_path / "here", tmp_path / "gone")
    files = images_below(picture_folder)[:3]
    found = acclimate.load(f"hf:{NAME}", device="cpu")
    assert np.array_equal(probabilities(found, files), probabilities(model, files))
    assert found.ask(files[0], "What is this?")[0].answer == model.ask(files[0], "What is this?")[0].answer


@pytest.mark.slow
def test_processes_of_their_own_take_the_hub_from_the_environment(shared, tmp_path, picture_folder):
    with hub_store() as store:
        environment = hub_environment(store.endpoint, tmp_path / "home") | {"HF_TOKEN": "hf_writer"}

        def run(*words):
            return subprocess.run(
                [sys.executable, "-m", "acclimate", *map(str, words)],
                env=environment, cwd=tmp_path, capture_output=True, text=True, timeout=HANG, check=False,
            )  # fmt: skip

        pushed = run("push", shared.run, NAME, "--with-encoders")
        assert pushed.returncode == 0, pushed.stderr
        assert pushed.stderr == ""
        assert run("pull", NAME).returncode == 0
        files = images_below(picture_folder)[:2]
        done = run("predict", f"hf:{NAME}", *files)
        assert done.returncode == 0, done.stderr
        assert len(done.stdout.splitlines()) == 2
        assert (tmp_path / "runs" / "animals" / "backbone" / "model.safetensors").is_file()
