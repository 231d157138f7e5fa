"""Full fine-tuning: what is copied, what is learned, and what is minimised."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
import torch
from torch.nn import functional as F

import acclimate
from acclimate.backbones import load_domain_encoder
from acclimate.methods.fine_tune import FineTuneConfig
from acclimate.training.fine_tuning import binary_cross_entropy, cross_entropy, one_hot
from tests.helpers.methods import FACTS, learn, make, stages_of, whole
from tests.helpers.runs import quick
from tests.helpers.tensors import close

SETTINGS = {"epochs": 2, "batch_size": 6, "lr": 1e-3, "warmup_epochs": 0}


def on_self(world):
    encoder = load_domain_encoder("self", world.backbone)
    return type(world)(**{**vars(world), "domain_encoder": encoder})


@pytest.mark.parametrize("own", [False, True])
def test_it_begins_at_the_features_of_the_encoder_and_leaves_that_alone(world, own):
    place = on_self(world) if own else world
    batch = whole(place.test)
    if own:
        encoder, pixels = place.backbone.model, batch.pixels
        features = place.backbone.encode_image(pixels, project=False)
    else:
        encoder, pixels = place.domain_encoder._holder, batch.domain_pixels
        features = place.domain_encoder.encode_image(pixels)
    before = {name: tensor.clone() for name, tensor in encoder.state_dict().items()}
    method = make(place, "fine-tune", **SETTINGS)
    batch = type(batch)(domain_pixels=pixels)
    head = method.network.head
    with torch.no_grad():
        close(method.eval().logits(batch), features @ head.weight.T + head.bias, 1e-4)
    train = place.train if not own else OwnPixels(place.train)
    learn(type(place)(**{**vars(place), "train": train}), method, FACTS)
    assert all(torch.equal(tensor, before[name]) for name, tensor in encoder.state_dict().items())
    shared = {tensor.data_ptr() for tensor in encoder.state_dict().values()}
    assert not shared & {tensor.data_ptr() for tensor in method.state_dict().values()}
    with torch.no_grad():
        assert not torch.allclose(method.network.encoder(pixels), features, atol=1e-4)


class OwnPixels:
    """A feed whose domain pixels are those of the backbone, as they are where the encoder is "self"."""

    def __init__(self, feed):
        self.feed, self.labels = feed, feed.labels

    def __len__(self):
        return len(self.feed)

    def batch(self, index, epoch=None):
        batch = self.feed.batch(index, epoch)
        return type(batch)(domain_pixels=batch.pixels, labels=batch.labels)


def test_the_loss_is_the_smoothed_cross_entropy(world):
    method = make(world, "fine-tune", label_smoothing=0.2)
    batch = whole(world.train)
    expected = F.cross_entropy(method.logits(batch), batch.labels, label_smoothing=0.2)
    close(method.loss(batch)["cross_entropy"], expected, 1e-6)


def test_losses_among_some_of_the_outputs():
    generator = torch.Generator().manual_seed(0)
    outputs = torch.randn(4, 5, generator=generator)
    among = torch.tensor([[1, 1, 1, 0, 0]] * 2 + [[0, 0, 0, 1, 1]] * 2).bool()
    labels = torch.tensor([0, 2, 3, 4])
    found = cross_entropy(outputs, one_hot(labels, 5), among, 0.1)
    first = F.cross_entropy(outputs[:2, :3], labels[:2], label_smoothing=0.1, reduction="none")
    second = F.cross_entropy(outputs[2:, 3:], labels[2:] - 3, label_smoothing=0.1, reduction="none")
    close(found, torch.cat([first, second]), 1e-6)
    targets = torch.tensor([[1.0, 0, 1, 0, 0], [0, 0, 0, 0, 0], [0, 0, 0, 1, 1], [0, 0, 0, 0, 1]])
    found = binary_cross_entropy(outputs, targets, among)
    bce = F.binary_cross_entropy_with_logits
    rows = [bce(outputs[row][among[row]], targets[row][among[row]]) for row in range(4)]
    close(found, torch.stack(rows), 1e-6)
    learned = outputs.clone().requires_grad_()
    cross_entropy(learned, one_hot(labels, 5), among, 0.1).sum().backward()
    assert not learned.grad[~among].any()


def test_rates_fall_with_the_depth(world):
    method = make(world, "fine-tune", layer_decay=0.5)
    stage = stages_of(method)[0]
    names = [name for name, _ in method.network.named_parameters()]
    rates = dict(zip(names, stage.rates, strict=True))
    assert [weight.shape for weight in stage.parameters] == [weight.shape for weight in method.network.parameters()]
    wanted = {"cls_token": 0.125, "position_embeddings": 0.125, "layer.0.": 0.25, "layer.1.": 0.5, "layernorm.": 1.0}
    for name, rate in rates.items():
        assert rate == next((rate for part, rate in wanted.items() if part in name and "head" not in name), rate), name
    assert {name: rate for name, rate in rates.items() if "head" in name} == {"head.weight": 1.0, "head.bias": 1.0}
    assert set(rates.values()) == {0.125, 0.25, 0.5, 1.0}


def test_the_schedule_and_the_length():
    config = FineTuneConfig(lr=1.0, warmup_epochs=2, warmup_lr=0.2)
    rates = [config.learning_rate(epoch, 10) for epoch in (0, 1, 2, 6, 10)]
    np.testing.assert_allclose(rates, [0.2, 0.6, 1.0, 0.5, 0.0], atol=1e-9)
    assert [config.learning_rate(epoch, 1) for epoch in (0, 0.125, 0.25, 0.625)] == pytest.approx([0.2, 0.6, 1.0, 0.5])
    constant = dataclasses.replace(config, warmup="constant")
    assert [constant.learning_rate(epoch, 10) for epoch in (0, 1.9, 2)] == [0.2, 0.2, 1.0]
    lengths = [FineTuneConfig().passes(images) for images in (1, 300, 10**6)]
    assert lengths == sorted(lengths, reverse=True)
    assert FineTuneConfig(epochs=3).passes(10) == 3


def test_an_epoch_is_chosen_where_there_are_validation_images(world):
    method = make(world, "fine-tune", **SETTINGS)
    without = stages_of(method, FACTS)[0].recipe
    assert (without.select, method.stages(dataclasses.replace(FACTS, validation=5))[0].recipe.select) == (
        "last",
        "best-val",
    )


def test_of_epochs_that_are_equally_right_the_surer_one_is_better(world):
    """Else the first one that has a few validation images right would stay, after a handful of steps."""
    method = make(world, "fine-tune").eval()
    labels = whole(world.val).labels
    plain = super(type(method), method).validation_score(world.val)
    before = method.validation_score(world.val)
    with torch.no_grad():
        right = method.logits(whole(world.val)).softmax(-1).gather(1, labels[:, None]).mean().item()
    assert before == pytest.approx(plain + 1e-6 * right, abs=1e-12)
    assert 0 < before - plain < 1 / len(labels) / 100


@pytest.mark.slow
@pytest.mark.parametrize("named", ["folder", None])
def test_from_adapt_to_a_folder_and_back(named, pictures, tiny, domain_folder, tmp_path):
    """Through the transform of its own encoder, which is not that of the backbone; by default the backbone's tower."""
    encoder = domain_folder if named else None
    model = quick(pictures, tiny, method="fine-tune", settings=SETTINGS, domain_encoder=encoder, out=tmp_path / "run")
    assert model.method.domain_encoder.name == (str(domain_folder) if named else "self")
    assert "val_accuracy" in model.journal[0]
    loaded = acclimate.load(tmp_path / "run", tiny)
    assert loaded.evaluate(pictures.test) == model.record["metrics"]
    rows = loaded.predict(pictures.test.paths, batch_size=4)
    right = np.mean([row.label == label for row, label in zip(rows, pictures.test.label_names, strict=True)])
    assert right == pytest.approx(model.record["metrics"]["accuracy"]["value"])
    side = 48 if named else 32
    transform = loaded.method.domain_encoder.transform
    pixels = transform.normalise(transform(pictures.test.image(0)).unsqueeze(0))
    assert pixels.shape == (1, 3, side, side)
    with torch.no_grad():
        expected = loaded.method.network(pixels).softmax(-1)[0]
    np.testing.assert_allclose(rows[0].probabilities, expected, atol=1e-5)
    assert loaded.record["cost"]["learned_parameters"] == sum(w.numel() for w in model.method.state_dict().values())
    assert math.isfinite(loaded.record["metrics"]["nll"]["value"])


@pytest.mark.slow
def test_views_for_learning_go_through_the_transform_of_the_encoder(pictures, tiny, domain_folder):
    one, two = (
        quick(pictures, tiny, method="fine-tune", domain_encoder=domain_folder, settings={**SETTINGS, "augment": views})
        for views in ("none", "auto")
    )
    weights = [model.method.network.head.weight for model in (one, two)]
    assert not torch.equal(*weights)
