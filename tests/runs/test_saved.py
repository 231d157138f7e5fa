from __future__ import annotations

import json

import pytest
import torch
from safetensors.torch import save_file

import acclimate
from acclimate.backbones import load_backbone
from acclimate.data import load_data
from acclimate.errors import AcclimateError, ConfigError, DataError, RunError
from tests.helpers.pictures import CLASSES, make_pictures
from tests.helpers.runs import QUICK, quick
from tests.helpers.tiny_backbones import tiny_clip


def edit(path, **changes):
    content = json.loads(path.read_text())
    path.write_text(json.dumps(content | changes))


def test_loaded_is_what_was_saved(run, tiny, pictures, tmp_path):
    loaded = acclimate.load(run.folder)  # finds the backbone by the id in adapter.json
    assert loaded.record == run.model.record
    assert loaded.class_names == CLASSES
    assert loaded.journal == run.model.journal
    assert loaded.backbone.fingerprint == tiny.fingerprint
    assert loaded.evaluate(pictures.test) == run.model.record["metrics"]
    loaded.save(tmp_path / "moved")
    again = acclimate.load(tmp_path / "moved", tiny)
    assert torch.equal(again.method.context, run.model.method.context)
    for name in ("adapter.safetensors", "adapter.json", "splits.json", "log.jsonl"):
        assert (tmp_path / "moved" / name).read_bytes() == (run.folder / name).read_bytes()
    before, after = (json.loads((place / "record.json").read_text()) for place in (run.folder, tmp_path / "moved"))
    assert {**before, "places": None} == {**after, "places": None}


def test_saving_twice_changes_nothing(copy, tiny):
    acclimate.load(copy, tiny).save(copy)  # notes where the backbone is from there
    before = {path.name: path.read_bytes() for path in copy.iterdir()}
    acclimate.load(copy, tiny).save(copy)
    assert {path.name: path.read_bytes() for path in copy.iterdir()} == before


def test_a_backbone_with_other_weights_is_refused_and_both_are_named(run, tmp_path, tiny):
    other = tiny_clip(tmp_path / "other", seed=1)
    with pytest.raises(RunError) as caught:
        acclimate.load(run.folder, other)
    message = str(caught.value)
    assert tiny.name in message
    assert str(other) in message
    assert tiny.fingerprint[:12] in message
    assert load_backbone(other).fingerprint[:12] in message


def test_a_backbone_with_another_configuration_is_refused(run, copy, tmp_path):
    other = tiny_clip(tmp_path / "other", text={"hidden_act": "gelu"})
    told = r"config\.json of '.*other' says otherwise \(text hidden_act gelu, was quick_gelu\); restore it, or"
    with pytest.raises(RunError, match=told):
        acclimate.load(run.folder, other)
    info = json.loads((copy / "adapter.json").read_text())
    known = {key: info["backbone"][key] for key in ("id", "family", "fingerprint")}
    edit(copy / "adapter.json", backbone=known)  # as it was written before: what is there is compared
    assert acclimate.load(copy, other).class_names == run.model.class_names


def test_a_backbone_with_another_tokenizer_is_refused(run, tmp_path):
    other = tiny_clip(tmp_path / "other")
    content = json.loads((other / "tokenizer.json").read_text())
    words = content["model"]["vocab"]
    words["cat</w>"], words["dog</w>"] = words["dog</w>"], words["cat</w>"]
    edit(other / "tokenizer.json", **content)
    with pytest.raises(RunError, match=r"with another tokenizer than that of '.*other'; restore its tokenizer files"):
        acclimate.load(run.folder, other)


def test_the_same_weights_elsewhere_are_accepted(run, tmp_path, pictures):
    model = acclimate.load(run.folder, tiny_clip(tmp_path / "moved"))
    assert model.evaluate(pictures.test)["accuracy"] == run.model.record["metrics"]["accuracy"]


def test_the_backbone_is_gone(copy, tmp_path):
    edit(copy / "adapter.json", backbone={"id": str(tmp_path / "gone"), "family": "clip", "fingerprint": "0" * 32})
    edit(copy / "record.json", places=None)
    with pytest.raises(RunError, match=r"copy: this adapter was .*gone.*; name the original with `backbone`"):
        acclimate.load(copy)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("adapter.safetensors", "adapter.safetensors"),
        ("adapter.json", "adapter.json"),
        ("record.json", "record.json"),
    ],
)
@pytest.mark.parametrize("damage", ["gone", "cut", "empty", "garbage"])
def test_missing_and_damaged_files_are_named(copy, tiny, name, words, damage):
    content = (copy / name).read_bytes()
    if damage == "gone":
        (copy / name).unlink()
    else:
        broken = {"cut": content[: len(content) // 2], "empty": b"", "garbage": b"\xff\xfe" * 99}
        (copy / name).write_bytes(broken[damage])
    with pytest.raises(RunError) as caught:
        acclimate.load(copy, tiny)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_damaged_log_is_named(copy, tiny):
    (copy / "log.jsonl").write_text('{"epoch": 0}\n{"epo')
    with pytest.raises(RunError, match=r"log\.jsonl"):
        acclimate.load(copy, tiny)
    (copy / "log.jsonl").unlink()
    assert acclimate.load(copy, tiny).journal == []


@pytest.mark.parametrize(
    "changes",
    [
        {"format": 2},
        {"format": None},
        {"method": "coopp"},
        {"config": {"lrr": 1}},
        {"config": {"lr": "fast"}},
        {"config": None},
        {"backbone": {}},
        {"backbone": None},
        {"prompts": {}},
        {"prompts": None},
        {"class_names": None},
        {"class_names": 3},
        {"transform": {}},
        {"transform": None},
    ],
    ids=str,
)
def test_an_adapter_json_edited_by_hand(copy, tiny, changes):
    edit(copy / "adapter.json", **changes)
    with pytest.raises(AcclimateError) as caught:
        acclimate.load(copy, tiny)
    assert "\n" not in str(caught.value)


def test_an_adapter_json_that_is_no_object(copy, tiny):
    (copy / "adapter.json").write_text("[1, 2]")
    with pytest.raises(RunError, match=r"adapter\.json"):
        acclimate.load(copy, tiny)


@pytest.mark.parametrize("tensors", [{"context": torch.zeros(5, 32)}, {"other": torch.zeros(4, 32)}, {}])
def test_weights_of_another_adapter_are_refused(copy, tiny, tensors):
    save_file(tensors, copy / "adapter.safetensors")
    with pytest.raises(AcclimateError, match="do not belong to this coop"):
        acclimate.load(copy, tiny)


def test_a_run_that_is_not_there(tmp_path):
    with pytest.raises(RunError, match="there is no such run folder"):
        acclimate.load(tmp_path / "nothing")
    (tmp_path / "empty").mkdir()
    with pytest.raises(RunError, match=r"cannot read .*adapter.json: .*give a folder written by `acclimate adapt`"):
        acclimate.load(tmp_path / "empty")


def test_an_unfinished_run_says_so(tmp_path, tiny):
    save_file({"x": torch.zeros(1)}, tmp_path / "checkpoint.safetensors")
    with pytest.raises(RunError, match="this run is not finished, start its command again"):
        acclimate.load(tmp_path, tiny)


def test_a_checkpoint_of_other_settings_is_refused(tmp_path, pictures, tiny):
    save_file({"learned/x": torch.zeros(1)}, tmp_path / "checkpoint.safetensors", {"identity": "x", "position": "{}"})
    with pytest.raises(RunError, match="checkpoint of another run"):
        quick(pictures, tiny, out=tmp_path)


def test_evaluation_knows_only_its_classes(run, tmp_path):
    data = load_data(make_pictures(tmp_path / "data", ("bird", "cat", "horse"), 4))
    with pytest.raises(DataError) as caught:
        run.model.evaluate(data)
    assert "does not know the class 'bird' and 1 more" in str(caught.value)
    assert "cat, dog, river" in str(caught.value)
    with pytest.raises(DataError, match="no image to evaluate on"):
        run.model.evaluate(data.select([]))


def test_evaluation_on_some_of_the_classes(run, tmp_path):
    data = load_data(make_pictures(tmp_path / "data", ("dog", "river"), 4, seed=7))
    metrics = run.model.evaluate(data)
    assert metrics["samples"] == 8
    assert metrics["class_names"] == list(CLASSES)
    assert metrics["per_class"]["cat"]["support"] == 0


@pytest.mark.parametrize("method", ["coop", "zs-lp", "ss-text"])
def test_a_model_bound_to_other_classes_is_saved_with_both(method, pictures, tiny, tmp_path):
    """Rows of a method stay with the classes they were learned for, though as many others are bound."""
    settings = {"coop": QUICK, "zs-lp": {"epochs": 3}, "ss-text": {}}[method]
    model = quick(pictures, tiny, method=method, settings=settings).rebind(("mill", CLASSES[0], "bare land"))
    expected = model.predict(pictures.image(0))
    model.save(tmp_path / "rebound")
    loaded = acclimate.load(tmp_path / "rebound", tiny)
    assert (loaded.class_names, loaded.trained_classes) == (model.class_names, CLASSES)
    assert loaded.predict(pictures.image(0))[0].probabilities.tolist() == expected[0].probabilities.tolist()
    assert loaded.rebind(CLASSES).evaluate(pictures.test) == model.record["metrics"]


@pytest.mark.parametrize(("method", "settings"), [("linear-probe", {}), ("cupl", {}), ("coop", QUICK)])
def test_a_model_bound_to_its_own_classes_again_is_what_it_was(method, settings, pictures, tiny, tmp_path):
    model = quick(pictures, tiny, method=method, settings=settings)
    learned = {name: tensor.clone() for name, tensor in model.method.learned_state().items()}
    model.rebind(model.class_names).rebind(list(model.class_names))
    assert model.evaluate(pictures.test) == model.record["metrics"]
    model.save(tmp_path / "run")
    loaded = acclimate.load(tmp_path / "run", tiny)
    assert loaded.evaluate(pictures.test) == model.record["metrics"]
    assert all(torch.equal(tensor, learned[name]) for name, tensor in loaded.method.learned_state().items())
    with pytest.raises(ConfigError, match="is 'cat', which is one text; give a list"):
        model.rebind("cat")


def test_rebinding(run, tiny, tmp_path):
    data = load_data(make_pictures(tmp_path / "data", ("bare land", "mill"), 4))
    model = acclimate.load(run.folder, tiny).rebind(data.class_names)
    assert model.evaluate(data)["class_names"] == ["bare land", "mill"]
    with pytest.raises(ConfigError, match="only the classes that it was trained on"):
        quick(data, tiny, method="linear-probe", settings={}).rebind(CLASSES)
    with pytest.raises(ConfigError, match="class_specific=false"):
        quick(data, tiny, settings=QUICK | {"class_specific": True}).rebind(CLASSES)
