"""VITask from `adapt` to a folder and back: with its task-specific model, without it, and with another."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
import torch

import acclimate
from acclimate.backbones import load_vlm
from acclimate.errors import ConfigError, RunError
from acclimate.reports import write_report
from acclimate.runs import look_at_images
from acclimate.runs.classifiers import pretrain_classifier
from acclimate.training.checkpoint import read_tensors
from tests.helpers.killing import kill_often
from tests.helpers.runs import quick
from tests.helpers.tiny_vlms import tiny_llava

SETTINGS = {"rank": 2, "epochs": 2, "lr": 0.02, "batch_size": 6}


@pytest.fixture(scope="session")
def vlm_folder(tmp_path_factory):
    return tiny_llava(tmp_path_factory.mktemp("vlm") / "llava")


@pytest.fixture(scope="session")
def vlm(vlm_folder):
    return load_vlm(vlm_folder)


@pytest.fixture(scope="session")
def tsm(tmp_path_factory, pictures, domain_folder):
    """A task-specific model of the training images."""
    out = tmp_path_factory.mktemp("vlm") / "tsm"
    pretrain_classifier(pictures, out, encoder=domain_folder, settings={"epochs": 1}, device="cpu")
    return out


@pytest.fixture(scope="session")
def run(tmp_path_factory, pictures, vlm, tsm):
    """A finished run and what `adapt` returned."""
    out = tmp_path_factory.mktemp("vlm") / "run"
    return out, quick(pictures, vlm, method="vitask", settings=SETTINGS, domain_encoder=tsm, out=out)


def probabilities(model, data):
    return np.stack([row.probabilities for row in model.predict(data.test)])


@pytest.mark.slow
def test_a_learned_connector_is_saved_and_loaded(pictures, vlm, tsm, tmp_path):
    """Images go through it in prediction, those of files too."""
    settings = {**SETTINGS, "vlm_connector": "trained"}
    how = {"method": "vitask", "domain_encoder": tsm}
    model = quick(pictures, vlm, settings=settings, out=tmp_path / "run", **how)
    tensors, _ = read_tensors(tmp_path / "run" / "adapter.safetensors")
    before = vlm.learned_connector().state_dict()
    assert all(not torch.equal(tensors[f"vlm_connector.{name}"], tensor) for name, tensor in before.items())
    assert np.array_equal(probabilities(acclimate.load(tmp_path / "run"), pictures), probabilities(model, pictures))
    assert not np.allclose(
        probabilities(model, pictures), probabilities(quick(pictures, vlm, settings=SETTINGS, **how), pictures)
    )


def test_the_record(run, pictures):
    record = json.loads((run[0] / "record.json").read_text())
    assert set(record["baselines"]) == {"vlm-zero-shot", "linear-probe", "domain-linear-probe"}
    assert set(record["probes"]) == {"vision encoder", "connector", "prompt state"}
    assert set(record["ablations"]) == {"without exemplar"}
    assert record["ablations"]["without exemplar"]["metrics"] != record["metrics"]
    assert record["metrics"]["written"]["samples"] == len(pictures.test)
    assert "task_model" not in record
    assert record["verdict"]["others"] == 3
    log = [json.loads(line) for line in (run[0] / "log.jsonl").read_text().splitlines()]
    assert [line["stage"] for line in log] == ["vitask-1", "vitask-2"]
    assert {"vanilla", "exemplar", "alignment"} < log[0].keys()
    assert "contrast" in log[1].keys() - log[0].keys()
    assert (run[0] / "adapter.safetensors").stat().st_size < 200_000


def test_loaded_is_what_was_saved(run, pictures, vlm):
    loaded = acclimate.load(run[0], vlm)
    assert loaded.evaluate(pictures.test) == run[1].record["metrics"]
    np.testing.assert_allclose(probabilities(loaded, pictures), probabilities(run[1], pictures), atol=1e-6)
    assert loaded.method.prompts.domain.instruction == run[1].method.prompts.domain.instruction


def test_without_the_task_specific_model(run, pictures, vlm, tmp_path):
    loaded = acclimate.load(run[0], vlm, domain_encoder="none")
    assert loaded.method.domain_encoder is None
    assert loaded.evaluate(pictures.test) == run[1].record["ablations"]["without exemplar"]["metrics"]
    loaded.save(tmp_path / "alone")
    again = acclimate.load(tmp_path / "alone", vlm)
    assert again.method.domain_encoder is None
    assert np.array_equal(probabilities(again, pictures), probabilities(loaded, pictures))
    kept, own = (read_tensors(folder / "adapter.safetensors")[0] for folder in (tmp_path / "alone", run[0]))
    assert kept.keys() == own.keys()


@pytest.mark.slow
def test_another_task_specific_model(run, pictures, vlm, tsm, tmp_path, tiny_folders):
    other = tmp_path / "other"
    pretrain_classifier(pictures, other, encoder=tsm, settings={"epochs": 1, "lr": 0.01}, device="cpu")
    with pytest.raises(RunError, match="name the original with `domain_encoder`"):
        acclimate.load(run[0], vlm, domain_encoder=other)
    swapped = acclimate.load(run[0], vlm, domain_encoder=other, swap=True)
    assert not np.allclose(probabilities(swapped, pictures), probabilities(run[1], pictures))
    own = acclimate.load(run[0], vlm, domain_encoder=tsm, swap=True)
    np.testing.assert_allclose(probabilities(own, pictures), probabilities(run[1], pictures), atol=1e-6)
    with pytest.raises(
        RunError, match=r"gives 20 features, '.*clip' gives \d+; swap in one that goes on from"
    ) as caught:
        acclimate.load(run[0], vlm, domain_encoder=tiny_folders["clip"], swap=True)
    assert "\n" not in str(caught.value)
    with pytest.raises(RunError, match="`swap` takes another domain encoder; name it"):
        acclimate.load(run[0], vlm, swap=True)


def test_saved_without_its_domain_encoder_it_still_knows_which_it_was(run, pictures, vlm, tsm, domain_folder, tmp_path):
    acclimate.load(run[0], vlm, domain_encoder="none").save(tmp_path / "saved")
    assert acclimate.load(tmp_path / "saved", vlm).method.domain_encoder is None
    found = acclimate.load(tmp_path / "saved", vlm, domain_encoder=tsm)
    assert found.evaluate(pictures.test) == run[1].record["metrics"]
    with pytest.raises(RunError, match=r"trained on the domain encoder .* but .* has weights"):
        acclimate.load(tmp_path / "saved", vlm, domain_encoder=domain_folder)
    again = acclimate.load(tmp_path / "saved", vlm, domain_encoder="none").save(tmp_path / "again")
    assert (again / "adapter.json").read_bytes() == (tmp_path / "saved/adapter.json").read_bytes()


def test_none_is_for_runs_that_are_finished(pictures, vlm):
    with pytest.raises(ConfigError, match=r"`domain_encoder='none'` does without .* leave it out where vitask learns"):
        quick(pictures, vlm, method="vitask", settings=SETTINGS, domain_encoder="none")


@pytest.mark.parametrize(
    ("method", "settings", "length"),
    [("instruct", {"label_list": "training"}, 56), ("vitask", {"exemplar": "patches"}, 55)],
)
def test_what_does_not_fit_in_training_is_refused_at_once(method, settings, length, pictures, vlm, tsm):
    """The question alone would fit: the list of classes is longer, and so are exemplars."""
    encoder = {"domain_encoder": tsm} if method == "vitask" else {}
    settings = SETTINGS | settings | {"instruction": "What is it? One of {labels}." + " Look at it." * length}
    with pytest.raises(acclimate.errors.BackboneError, match=r"a conversation has \d+ tokens .* reads 256"):
        quick(pictures, vlm, method=method, settings=settings, **encoder)


def test_what_has_no_domain_encoder_cannot_swap_it(pictures, tiny, tmp_path):
    quick(pictures, tiny, out=tmp_path / "coop")
    for options in ({"domain_encoder": "none"}, {"domain_encoder": "x", "swap": True}):
        with pytest.raises(RunError, match="this coop has no domain encoder that could be left out or swapped"):
            acclimate.load(tmp_path / "coop", tiny, **options)


def test_questions(run, pictures, vlm):
    model = acclimate.load(run[0], vlm)
    answers = model.ask(pictures.test.paths[:3], "What is in the image?", max_tokens=5)
    assert [answer.path for answer in answers] == [str(path) for path in pictures.test.paths[:3]]
    assert all(isinstance(answer.answer, str) for answer in answers)
    with pytest.raises(ConfigError, match="`question`"):
        model.ask(pictures.test.paths[:1], "  ")
    with pytest.raises(ConfigError, match="`max_tokens`"):
        model.ask(pictures.test.paths[:1], "what?", max_tokens=0)
    with pytest.raises(acclimate.errors.BackboneError, match="reads 256"):
        model.ask(pictures.test.paths[:1], "what? " * 300)


def test_other_methods_answer_no_questions(pictures, tiny):
    model = quick(pictures, tiny)
    able = "aape-limber, instruct, limber, vitask, vlm-zero-shot"
    with pytest.raises(ConfigError, match=f"coop answers no questions; methods that do: {able}"):
        model.ask(pictures.test.paths[:1], "what?")


@pytest.mark.slow
def test_its_own_task_specific_model_is_made_first(pictures, vlm, domain_folder, tmp_path, caplog):
    caplog.set_level("INFO", "acclimate")
    settings = {**SETTINGS, "task_encoder": str(domain_folder), "task_epochs": 1}
    model = quick(pictures, vlm, method="vitask", settings=settings, out=tmp_path / "run")
    assert "no domain encoder is named: a task-specific model is made first" in caplog.text
    (folder,) = [path for path in (tmp_path / "run/prerequisites").iterdir() if path.is_dir()]
    assert (folder / "model.safetensors").is_file()
    assert model.record["task_model"]["metrics"]["samples"] == len(pictures.test)
    shutil.move(tmp_path / "run", tmp_path / "moved")
    loaded = acclimate.load(tmp_path / "moved", vlm)
    assert loaded.evaluate(pictures.test) == model.record["metrics"]
    caplog.clear()
    again = quick(pictures, vlm, method="vitask", settings=settings, out=tmp_path / "moved")
    assert "holds this very run, finished" in caplog.text
    assert again.record["identity"] == model.record["identity"]
    in_memory = quick(pictures, vlm, method="vitask", settings=settings)
    for name, tensor in model.method.learned_state().items():
        assert torch.equal(in_memory.method.learned_state()[name], tensor), name


PREPARE = """
import acclimate
acclimate_settings = json.loads(inputs[3])
def train(out):
    acclimate.adapt(inputs[0], "vitask", inputs[1], shots=4, domain="natural", device="cpu", out=out,
                    settings=acclimate_settings, checkpoint_seconds=0.0)
"""


@pytest.mark.slow
def test_killed_and_started_again(picture_folder, vlm_folder, domain_folder, tmp_path):
    settings = {**SETTINGS, "epochs": 4, "task_encoder": str(domain_folder), "task_epochs": 1}
    inputs = [str(picture_folder), str(vlm_folder), "", json.dumps(settings)]
    kill_often(PREPARE, inputs, [0, 1, 2, 3], tmp_path / "one", tmp_path / "two")
    one, two = (read_tensors(tmp_path / name / "adapter.safetensors")[0] for name in ("one", "two"))
    assert one.keys() == two.keys()
    assert all(torch.equal(one[name], two[name]) for name in one)


@pytest.mark.slow
@pytest.mark.parametrize("method", ["instruct", "vlm-zero-shot", "linear-probe"])
def test_other_methods_on_a_generative_model(method, pictures, vlm, tmp_path):
    settings = {} if method != "instruct" else SETTINGS
    model = quick(pictures, vlm, method=method, settings=settings, out=tmp_path / "run")
    loaded = acclimate.load(tmp_path / "run", vlm)
    assert loaded.evaluate(pictures.test) == model.record["metrics"]
    assert [row.label for row in loaded.predict(pictures.test)] == [row.label for row in model.predict(pictures.test)]


def test_maps_are_of_the_language_model_and_of_the_task_specific_one(run, pictures):
    path = pictures.test.paths[0]
    (found,) = look_at_images(acclimate.load(run[0]), path)
    assert found.how == "relevance"
    assert len(found.layers) == 2
    assert all(layer.values.max() > 0 for layer in found.layers)
    (alone,) = look_at_images(acclimate.load(run[0], domain_encoder="none"), path)
    assert len(alone.layers) == 1


@pytest.mark.slow
def test_a_report_says_what_the_task_specific_model_changes(run, tmp_path):
    page = write_report([run[0]], tmp_path / "report.html").read_text()
    assert "vitask, without exemplar" in page
    said = {"": {}, "without exemplar": {}}
    for row in acclimate.load(run[0]).predictions.to_pylist():
        said[row["ablation"]][row["key"]] = row["predicted"]
    changed = any(said[""][key] != name for key, name in said["without exemplar"].items())
    assert ("Other answers without exemplar" in page) == changed
    assert page.count('alt="where the model looked"') > 10
