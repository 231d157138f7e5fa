from __future__ import annotations

import json
import logging
import math
import os
from importlib.metadata import version

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

import acclimate
from acclimate.backbones.kinds import DUAL
from acclimate.data import load_data
from acclimate.data.frozen import load_splits
from acclimate.errors import BackboneError, ConfigError, DataError, RunError, TrainingError
from acclimate.methods import list_methods
from acclimate.reports import write_report
from tests.helpers.pictures import CLASSES, make_pictures, make_split_pictures, with_domains
from tests.helpers.runs import QUICK, quick

FILES = [
    "adapter.json",
    "adapter.safetensors",
    "calibration.safetensors",
    "log.jsonl",
    "predictions.parquet",
    "record.json",
    "splits.json",
]
METRICS = ["accuracy", "balanced_accuracy", "macro_f1", "ece", "nll"]


def test_the_folder_holds_these_files_and_no_other(run):
    assert sorted(path.name for path in run.folder.iterdir()) == FILES


def test_record(run, tiny, pictures):
    record = json.loads((run.folder / "record.json").read_text())
    assert record == run.model.record
    for metrics in (record["metrics"], *record["baselines"].values()):
        assert metrics["samples"] == len(pictures.test) == 15
        assert metrics["class_names"] == list(CLASSES)
        assert np.sum(metrics["confusion_matrix"]) == 15
        for name in METRICS:
            assert metrics[name]["low"] <= metrics[name]["value"] <= metrics[name]["high"]
    assert sorted(record["baselines"]) == ["linear-probe", "zero-shot"]
    assert record["method"] == "coop"
    assert (record["shots"], record["seed"], record["domain"], record["precision"]) == (4, 1, "natural", "fp32")
    assert record["backbone"] == {"id": tiny.name, "fingerprint": tiny.fingerprint}
    assert record["data"]["images"] == {"train": 12, "val": 9, "test": 15}
    assert record["data"]["split"] == "given"
    assert record["cost"]["learned_parameters"] == 4 * tiny.text_width
    assert {"coop", "zero-shot", "linear-probe", "image features", "total"} <= record["cost"]["seconds"].keys()
    assert all(seconds >= 0 for seconds in record["cost"]["seconds"].values())
    assert record["cost"]["peak_memory"]["process_mib"] > 50
    assert record["environment"]["versions"]["torch"] == version("torch")
    assert record["environment"]["device"] == "cpu"


def test_adapter(run, tiny):
    info = json.loads((run.folder / "adapter.json").read_text())
    assert info["method"] == "coop"
    assert info["config"]["context_tokens"] == 4
    assert info["class_names"] == list(CLASSES)
    assert info["backbone"] == {
        "id": tiny.name,
        "family": "clip",
        "fingerprint": tiny.fingerprint,
        "architecture": tiny.architecture.settings,
        "tokenizer": tiny.tokenizer.fingerprint,
    }
    assert info["prompts"]["template"] == "a photo of a {}."
    assert info["transform"] == json.loads(json.dumps(tiny.transform.to_dict()))
    tensors = load_file(run.folder / "adapter.safetensors")
    assert {name: tuple(tensor.shape) for name, tensor in tensors.items()} == {"context": (4, tiny.text_width)}


def test_splits_are_frozen(run, pictures):
    frozen = load_splits(run.folder / "splits.json")
    assert {name: len(rows) for name, rows in frozen["splits"].items()} == {"train": 12, "val": 9, "test": 15}
    assert (frozen["seed"], frozen["shots"], frozen["source"]) == (1, 4, "animals")
    keys = {name: {row["key"] for row in rows} for name, rows in frozen["splits"].items()}
    assert keys["train"] <= set(pictures.train.keys)
    assert keys["test"] == set(pictures.test.keys)


def test_log(run):
    lines = [json.loads(line) for line in (run.folder / "log.jsonl").read_text().splitlines()]
    assert [line["epoch"] for line in lines] == [0, 1, 2]
    assert lines == run.model.journal


def test_the_same_seed_gives_the_same_bytes(run, pictures, tiny, tmp_path):
    again = quick(pictures, tiny, out=tmp_path / "again")
    other = quick(pictures, tiny, out=tmp_path / "other", seed=2)
    for name in ("adapter.safetensors", "adapter.json", "splits.json", "log.jsonl"):
        assert (tmp_path / "again" / name).read_bytes() == (run.folder / name).read_bytes()
    assert again.record["metrics"] == run.model.record["metrics"]
    assert again.record["baselines"] == run.model.record["baselines"]
    assert not torch.equal(other.method.context, run.model.method.context)
    assert (tmp_path / "other" / "splits.json").read_bytes() != (run.folder / "splits.json").read_bytes()


def test_nothing_is_written_without_a_folder(pictures, tiny, tmp_path, monkeypatch, run):
    monkeypatch.chdir(tmp_path)
    model = quick(pictures, tiny)
    assert not list(tmp_path.iterdir())
    assert torch.equal(model.method.context, run.model.method.context)
    model.save(tmp_path / "saved")
    assert sorted(path.name for path in (tmp_path / "saved").iterdir()) == FILES
    assert (tmp_path / "saved/adapter.safetensors").read_bytes() == (run.folder / "adapter.safetensors").read_bytes()
    assert (tmp_path / "saved/splits.json").read_bytes() == (run.folder / "splits.json").read_bytes()


def test_a_finished_run_is_loaded_not_repeated(copy, run, pictures, tiny, caplog):
    before = {path.name: path.stat().st_mtime_ns for path in copy.iterdir()}
    with caplog.at_level(logging.INFO, "acclimate.runs"):
        model = quick(pictures, tiny, out=copy)
    after = {path.name: path.stat().st_mtime_ns for path in copy.iterdir()}
    assert "finished; nothing to do" in caplog.text
    assert after == before
    assert model.record == run.model.record


@pytest.mark.parametrize(
    "other",
    [{"seed": 2}, {"shots": 2}, {"settings": QUICK | {"epochs": 4}}, {"method": "kgcoop"}, {"domain": "satellite"}],
    ids=str,
)
def test_other_settings_in_a_finished_folder_are_refused(copy, pictures, tiny, other):
    splits = (copy / "splits.json").read_bytes()
    with pytest.raises(RunError, match=r"holds a finished run of other data or settings; choose another `out`"):
        quick(pictures, tiny, out=copy, **other)
    assert (copy / "splits.json").read_bytes() == splits


def test_another_backbone_in_a_finished_folder_is_refused(copy, pictures, tiny_backbones):
    with pytest.raises(RunError, match="trained on"):
        quick(pictures, tiny_backbones["siglip"], out=copy)


def test_overwrite(copy, pictures, tiny):
    model = quick(pictures, tiny, out=copy, seed=2, overwrite=True)
    assert json.loads((copy / "record.json").read_text())["seed"] == 2
    assert sorted(path.name for path in copy.iterdir()) == FILES
    assert acclimate.load(copy, tiny).record == model.record


def test_what_a_killed_run_left_half_written_is_removed(tmp_path, pictures, tiny):
    for name in (".adapter.safetensors.17.part", ".reading.png.17.part", ".checkpoint.safetensors.17.part", ".mine"):
        (tmp_path / name).write_text("half")
        os.utime(tmp_path / name, (0, 0))
    quick(pictures, tiny, out=tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == [".mine", *FILES]


def test_a_folder_with_other_files_is_refused(tmp_path, pictures, tiny):
    (tmp_path / "thesis.tex").write_text("years of work")
    for overwrite in (False, True):
        with pytest.raises(RunError, match=r"holds other files \(such as thesis.tex\)"):
            quick(pictures, tiny, out=tmp_path, overwrite=overwrite)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]


def test_a_file_is_no_run_folder(tmp_path, pictures, tiny):
    (tmp_path / "file").write_text("x")
    with pytest.raises(RunError, match="is a file; name a folder with `out`"):
        quick(pictures, tiny, out=tmp_path / "file")
    with pytest.raises(RunError, match="cannot make the folder"):
        quick(pictures, tiny, out=tmp_path / "file" / "run")


SHORT = {  # of the methods whose default is long
    "clip-lora": {"epochs": 2},
    "promptsrc": {"epochs": 2},
    "gdpl": {"epochs": 1},
    "spg": {"label_epochs": 1, "epochs": 1},
}


AT_ONCE = {"zero-shot", "linear-probe", "domain-linear-probe", "coop", "gdpl", "spg", "aape", "tip-adapter-f"}
EVERY = [
    pytest.param(one.name, marks=[] if one.name in AT_ONCE else pytest.mark.slow)
    for one in list_methods()
    if DUAL in one.backbones  # the others have tests/runs/test_vitask.py
]


@pytest.mark.parametrize("method", EVERY)
@pytest.mark.parametrize("family", ["clip", pytest.param("siglip", marks=pytest.mark.slow)])
def test_every_method_on_every_family(tmp_path, pictures, tiny_backbones, domain_encoder, method, family):
    backbone, out = tiny_backbones[family], tmp_path / "run"
    settings = QUICK if "coop" in method else SHORT.get(method, {})
    pictures = with_domains(pictures, ("day", "night"))
    model = quick(pictures, backbone, method=method, settings=settings, out=out, domain_encoder=domain_encoder)
    loaded = acclimate.load(tmp_path / "run", backbone)
    assert loaded.evaluate(pictures.test) == model.record["metrics"]
    assert [row.label for row in loaded.predict(pictures.test.paths)] == [
        row.label for row in model.predict(pictures.test.paths)
    ]
    page = write_report([out], tmp_path / "report.html", features=False).read_text()
    assert f"--method {method} " in page
    assert page.count("data:image/jpeg") > 15  # of each test image, in several galleries


def test_learning_from_pictures_helps(pictures, tiny):
    model = quick(pictures, tiny, method="linear-probe", settings={}, shots="all")
    accuracy = {name: row["accuracy"]["value"] for name, row in model.record["baselines"].items()}
    assert accuracy["linear-probe"] >= 0.9 > accuracy["zero-shot"]


def test_all_images(pictures, tiny):
    model = quick(pictures, tiny, shots="all")
    assert model.record["data"]["images"] == {"train": 18, "val": 9, "test": 15}


def test_validation_of_a_few_shot_run_is_few_shot_too(pictures, tiny):
    assert quick(pictures, tiny, shots=1).record["data"]["images"] == {"train": 3, "val": 3, "test": 15}


def test_more_shots_than_a_class_has(tmp_path, tiny, caplog):
    data = load_data(make_split_pictures(tmp_path / "data", splits={"train": 3, "test": 2}))
    with caplog.at_level(logging.INFO, "acclimate"):
        model = quick(data, tiny, shots=100)
    assert model.record["data"]["images"] == {"train": 9, "val": 0, "test": 6}
    assert "fewer than 100" in caplog.text


def test_without_test_images_nothing_is_measured(tmp_path, tiny, caplog):
    data = load_data(make_split_pictures(tmp_path / "data", splits={"train": 3, "val": 2}))
    model = quick(data, tiny, out=tmp_path / "run")
    assert "has no test images" in caplog.text
    assert model.record["metrics"] is None
    assert set(model.record["baselines"].values()) == {None}
    assert acclimate.load(tmp_path / "run", tiny).predict(data.val.paths[0])[0].label in CLASSES


def test_a_split_is_made_where_there_is_none(tmp_path, tiny):
    model = quick(make_pictures(tmp_path / "data"), tiny)
    assert model.record["data"]["split"] == "made"
    assert all(model.record["data"]["images"].values())


def test_a_class_without_training_images(tmp_path, tiny):
    folder = make_split_pictures(tmp_path / "data", splits={"train": 2, "test": 2})
    for path in (folder / "train/dog").iterdir():
        path.unlink()
    with pytest.raises(DataError, match=r"the class 'dog' has no training image"):
        quick(folder, tiny)


def test_a_class_of_one_picture(tmp_path, tiny):
    model = quick(make_pictures(tmp_path / "data", per_class=(5, 1, 5)), tiny)
    assert model.class_names == CLASSES
    assert model.record["metrics"]["per_class"]["dog"]["support"] == 0


def test_two_classes(tmp_path, tiny):
    model = quick(make_pictures(tmp_path / "data", ("cat", "dog"), 6), tiny)
    assert len(model.record["metrics"]["confusion_matrix"]) == 2


@pytest.mark.parametrize("augment", ["crop", "crop+flip"])
@pytest.mark.parametrize("views", [0, 2])
def test_augmented_training(pictures, tiny, augment, views, tmp_path):
    settings = QUICK | {"augment": augment, "views": views}
    one = quick(pictures, tiny, settings=settings, cache_dir=tmp_path / "cache")
    two = quick(pictures, tiny, settings=settings)
    plain = quick(pictures, tiny)
    assert torch.equal(one.method.context, two.method.context)
    assert not torch.equal(one.method.context, plain.method.context)


def test_flips_are_refused_where_they_change_the_meaning(pictures, tiny):
    with pytest.raises(ConfigError, match=r"augment=flip.*xray"):
        quick(pictures, tiny, domain="xray", settings=QUICK | {"augment": "flip"})


def test_words_for_classes(pictures, tiny):
    model = quick(pictures, tiny, names={"cat": "large cat"})
    assert model.method.prompts.words(CLASSES) == ["large cat", "dog", "river"]


def test_the_guessed_domain_is_said(pictures, tiny, caplog):
    with caplog.at_level(logging.INFO, "acclimate"):
        model = quick(pictures, tiny, domain=None)
    assert f"domain '{model.record['domain']}'" in caplog.text
    assert "choose another with `domain`" in caplog.text


def test_bf16(pictures, tiny):
    model = quick(pictures, tiny, precision="bf16")
    assert model.record["precision"] == "bf16"
    assert model.method.context.dtype == torch.float32


@pytest.mark.parametrize(
    ("options", "kind", "words"),
    [
        ({"method": "coopp"}, ConfigError, "did you mean 'coop'"),
        ({"settings": {"lrr": "1"}}, ConfigError, "did you mean 'lr'"),
        ({"settings": {"lr": "fast"}}, ConfigError, "lr=fast"),
        ({"shots": 0}, ConfigError, "shots=0"),
        ({"shots": "many"}, ConfigError, "`shots='many'`"),
        ({"shots": 1.5}, ConfigError, "shots=1.5"),
        ({"device": "tpu"}, ConfigError, "`device='tpu'`: choose auto"),
        ({"precision": "fp16"}, ConfigError, "`precision='fp16'` needs a GPU"),
        ({"domain": "sattelite"}, ConfigError, "satellite"),
        ({"settings": QUICK | {"context_tokens": 100}}, BackboneError, "context"),
        ({"settings": QUICK | {"lr": 1e30, "warmup_epochs": 0}}, TrainingError, "not finite"),
    ],
    ids=str,
)
def test_what_cannot_be_done_is_said_in_one_line(pictures, tiny, tmp_path, options, kind, words):
    with pytest.raises(kind) as caught:
        quick(pictures, tiny, **options)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_last_step_that_was_too_large_is_noticed(pictures, tiny, tmp_path):
    settings = QUICK | {"lr": 1e38, "warmup_epochs": 0, "epochs": 1, "batch_size": 100}
    with pytest.raises(TrainingError, match="not finite; train it with a lower learning rate"):
        quick(pictures, tiny, settings=settings, out=tmp_path / "run")
    assert not (tmp_path / "run" / "record.json").exists()


def test_selection_on_validation_images(pictures, tiny):
    model = quick(pictures, tiny, settings=QUICK | {"select": "best-val"})
    assert all(0 <= line["val_accuracy"] <= 1 for line in model.journal)


def test_test_images_are_not_opened_for_training(tmp_path, tiny):
    """Selection and training never see them: corrupt ones are noticed only when the result is measured."""
    folder = make_split_pictures(tmp_path / "data")
    for path in (folder / "test/cat").iterdir():
        path.write_bytes(b"no image")
    seen = []

    class Spy:
        def start(self, task, total):
            seen.append(task)

        def advance(self, amount=1, **figures):
            pass

        def finish(self):
            seen.append("done")

    with pytest.raises(DataError, match=r"test/cat/000\.png"):
        quick(folder, tiny, settings=QUICK | {"select": "best-val"}, progress=Spy(), out=tmp_path / "run")
    assert seen[:6] == ["image features", "done", "image features", "done", "coop", "done"]
    for path in (folder / "test/cat").iterdir():
        path.unlink()
    assert math.isfinite(quick(folder, tiny).record["metrics"]["accuracy"]["value"])


class Pressed:
    """Progress that is interrupted from the keyboard after some steps."""

    def __init__(self, steps):
        self.left = steps

    def start(self, task, total):
        pass

    def advance(self, amount=1, **figures):
        self.left -= bool(figures)  # only training has some
        if self.left < 0:
            raise KeyboardInterrupt

    def finish(self):
        pass


@pytest.mark.parametrize(("seconds", "notes"), [(0.0, ["the same command goes on from the last checkpoint"]), (60, [])])
def test_an_interrupt_promises_a_checkpoint_only_where_there_is_one(tmp_path, pictures, tiny, seconds, notes):
    with pytest.raises(KeyboardInterrupt) as stop:
        quick(pictures, tiny, out=tmp_path / "run", checkpoint_seconds=seconds, progress=Pressed(4))
    assert getattr(stop.value, "__notes__", []) == notes
    assert (tmp_path / "run/checkpoint.safetensors").exists() == bool(notes)
