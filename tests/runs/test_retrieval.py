"""Learning from captions, saving, loading, measuring."""

from __future__ import annotations

import json
import shutil

import pytest
import torch
from torch.nn import functional as F

import acclimate
from acclimate.data import load_captions
from acclimate.errors import ConfigError, RunError
from acclimate.training.encoding import image_features, text_features

QUICK = {"epochs": 4, "batch_size": 6}


def adapt(data, backbone, method="aape", **options):
    options = {"settings": QUICK if method == "aape" else {}, "device": "cpu", **options}
    return acclimate.adapt(data, method, backbone, **options)


@pytest.fixture(scope="module")
def learned(caption_folder, tiny, tmp_path_factory):
    run = tmp_path_factory.mktemp("runs") / "captions"
    return run, adapt(caption_folder, tiny, out=run)


def recalls(metrics):
    return {way: [entry["value"] for entry in metrics[way].values()] for way in ("image_to_text", "text_to_image")}


def test_the_record(learned):
    run, model = learned
    record = json.loads((run / "record.json").read_text())
    assert record["task"] == "retrieval"
    assert record["data"]["images"] == {"train": 12, "test": 6}
    assert record["data"]["captions"] == {"train": 36, "test": 18}
    assert set(record["metrics"]["image_to_text"]) == {"recall@1", "recall@5", "recall@10"}
    assert set(record["baselines"]) == {"zero-shot"}
    assert record["cost"]["learned_parameters"] == sum(p.numel() for p in model.method.generator.parameters())
    assert [line["stage"] for line in model.journal] == ["aape"] * 4 + ["prompts"]
    assert {"contrastive", "distillation", "reward", "image_cosine"} <= set(model.journal[0])


def test_zero_shot_is_plain_clip(caption_folder, tiny):
    """Recall of the backbone's own features, by sorting."""
    data = load_captions(caption_folder).split("test")
    images = F.normalize(image_features(tiny, data), dim=-1)
    texts = F.normalize(text_features(tiny, [text for some in data.captions for text in some]), dim=-1)
    order = (images @ texts.T).argsort(dim=1, descending=True)
    expected = [sum(bool((order[i, :k] // 3 == i).any()) for i in range(6)) / 6 for k in (1, 5, 10)]
    record = adapt(caption_folder, tiny, "zero-shot").record
    assert recalls(record["metrics"])["image_to_text"] == pytest.approx(expected)
    assert record["metrics"] == record["baselines"]["zero-shot"]


def test_queries_are_what_the_generator_makes(learned, caption_folder, tiny):
    _, model = learned
    data = load_captions(caption_folder).split("test")
    x = F.normalize(image_features(tiny, data), dim=-1)
    with torch.no_grad():
        queries = F.normalize(model.method.generator(x), dim=-1)
    texts = F.normalize(text_features(tiny, [text for some in data.captions for text in some]), dim=-1)
    order = (queries @ texts.T).argsort(dim=1, descending=True)
    expected = [sum(bool((order[i, :k] // 3 == i).any()) for i in range(6)) / 6 for k in (1, 5, 10)]
    assert recalls(model.evaluate(data))["image_to_text"] == pytest.approx(expected)


def test_it_learns_the_captions_of_its_training_images(caption_folder, tiny):
    model = adapt(caption_folder, tiny, settings={"epochs": 150, "batch_size": 12, "lr": 0.01, "warmup_epochs": 0})
    train = load_captions(caption_folder).split("train")
    before = adapt(caption_folder, tiny, "zero-shot").evaluate(train)
    after = model.evaluate(train)
    for way in ("image_to_text", "text_to_image"):
        assert after[way]["recall@5"]["value"] > before[way]["recall@5"]["value"] + 0.1
    assert model.journal[-2]["contrastive"] < model.journal[0]["contrastive"]


def test_saved_and_loaded(learned, caption_folder):
    run, model = learned
    found = acclimate.load(run)
    assert found.class_names == ()
    test = load_captions(caption_folder).split("test")
    assert found.evaluate(test) == model.evaluate(test)


def test_a_finished_run_is_found_again(learned, caption_folder, tiny, tmp_path, caplog):
    run, _ = learned
    with caplog.at_level("INFO", "acclimate"):
        adapt(caption_folder, tiny, out=run)
    assert "nothing to do" in caplog.text
    other = shutil.copytree(caption_folder, tmp_path / "scenes")
    text = (other / "captions.csv").read_text()
    (other / "captions.csv").write_text(text.replace("a small cat", "a tiny cat", 1))
    with pytest.raises(RunError, match="finished run of other data or settings"):
        adapt(other, tiny, out=run)


def test_a_killed_run_goes_on(caption_folder, tiny, tmp_path, monkeypatch):
    from acclimate.methods.aape.method import AAPE

    unbroken = adapt(caption_folder, tiny, checkpoint_seconds=0.0).method.learned_state()
    loss, steps = AAPE.loss, iter(range(5))

    def failing(self, batch):
        next(steps)
        return loss(self, batch)

    with monkeypatch.context() as patch:
        patch.setattr(AAPE, "loss", failing)
        with pytest.raises(StopIteration):
            adapt(caption_folder, tiny, out=tmp_path / "run", checkpoint_seconds=0.0)
    resumed = adapt(caption_folder, tiny, out=tmp_path / "run", checkpoint_seconds=0.0).method.learned_state()
    assert resumed.keys() == unbroken.keys()
    assert all(torch.equal(resumed[name], unbroken[name]) for name in unbroken)


def test_captions_are_learned_without_distilling_them(caption_folder, tiny):
    settings = {"epochs": 2, "batch_size": 6, "distillation_weight": 0.0}
    model = acclimate.adapt(caption_folder, "aape", tiny, settings=settings, device="cpu")
    assert model.journal[0].keys() >= {"contrastive"}
    assert not model.journal[0].keys() & {"distillation", "reward"}


def test_a_budget(caption_folder, tiny):
    few = adapt(caption_folder, tiny, shots="budget:5").record
    assert few["data"]["images"]["train"] == 5
    assert few["shots"] == "budget:5"
    assert adapt(caption_folder, tiny, shots=3).record["shots"] == "all"


def test_classes_can_be_given_later(learned, pictures):
    """Without a projection h(x) stands in for the image."""
    model = acclimate.load(learned[0])
    with pytest.raises(ConfigError, match="learned from captions and knows no classes"):
        model.predict(pictures.image(0))
    model.rebind(pictures.class_names)
    assert model.evaluate(pictures.test)["samples"] == 15
    assert model.predict(pictures.image(0))[0].label in pictures.class_names


def test_methods_that_learn_from_labels(caption_folder, tiny, run):
    with pytest.raises(ConfigError, match=r"scenes has captions, and coop learns from labels; .* aape, zero-shot"):
        adapt(caption_folder, tiny, "coop", settings={})
    with pytest.raises(ConfigError, match="scenes has captions, and coop learns from labels"):
        acclimate.load(run.folder).evaluate(load_captions(caption_folder))


def test_no_test_images(caption_folder, tiny, tmp_path):
    folder = shutil.copytree(caption_folder, tmp_path / "scenes")
    text = (folder / "captions.csv").read_text()
    (folder / "captions.csv").write_text(text.replace(",test", ",val"))
    assert adapt(folder, tiny).record["metrics"] is None
