"""Predictions of a folder as a whole."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

from acclimate.errors import ConfigError
from acclimate.methods.parts.anchored import anchored_probabilities
from acclimate.tasks.folder import WARNING
from acclimate.training.feeding import evaluation_feed
from acclimate.training.inputs import Given
from tests.helpers.command import acclimate as command
from tests.helpers.methods import whole
from tests.helpers.runs import quick


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """Where the runs lie."""
    return tmp_path_factory.mktemp("folder")


@pytest.fixture(scope="module")
def model(pictures, tiny, place):
    """ZS-LP, trained for a moment."""
    return quick(pictures, tiny, method="zs-lp", settings={"epochs": 3}, out=place / "zs-lp")


@pytest.fixture(scope="module")
def probe(pictures, tiny, place):
    """A linear probe, which reads no text."""
    return quick(pictures, tiny, method="linear-probe", settings={}, out=place / "probe")


@pytest.fixture(scope="module")
def expected(model, pictures):
    """What the equations make of the test images together."""
    method = model.method
    batch = whole(evaluation_feed(method.inputs.prediction, pictures.test, Given(model.backbone)))
    with torch.no_grad():
        alone = method.logits(batch).double().softmax(-1)
        return anchored_probabilities(method.image_directions(batch), method.class_weights(), alone).numpy()


def test_all_images_are_labelled_together(model, pictures, expected, caplog):
    rows = model.predict(pictures.test.paths, batch_size=4, adapt_to_folder=True)
    np.testing.assert_allclose(np.stack([row.probabilities for row in rows]), expected, atol=1e-4)
    assert [row.path for row in rows] == list(pictures.test.paths)
    assert [row.label for row in rows] == [model.class_names[row.argmax()] for row in expected]
    assert all(row.probability == row.probabilities.max() and row.known is not None for row in rows)
    assert WARNING in caplog.text
    alone = model.predict(pictures.test.paths)
    assert np.abs(np.stack([row.probabilities for row in alone]) - expected).max() > 1e-3
    assert [row.p_known for row in rows] == [row.p_known for row in alone]


def test_what_is_measured_is_what_is_predicted(model, pictures, expected, caplog):
    found = model.evaluate(pictures.test, resamples=10, adapt_to_folder=True)
    assert found["accuracy"]["value"] == (expected.argmax(-1) == pictures.test.labels).mean()
    assert found["nll"]["value"] == pytest.approx(
        -np.log(expected[np.arange(len(expected)), pictures.test.labels]).mean(), rel=1e-3
    )
    assert "sets" not in found
    assert WARNING in caplog.text


def test_images_that_cannot_be_read_are_left_out(model, pictures, tmp_path):
    bad = tmp_path / "bad.png"
    bad.write_bytes(b"no image")
    paths = [*pictures.test.paths]
    fine = model.predict(paths, adapt_to_folder=True)
    rows = list(model.stream([paths[0], bad, *paths[1:]], 3, "skip", adapt_to_folder=True))
    assert rows[1].error
    close = [row for row in rows if not row.error]
    np.testing.assert_allclose(*(np.stack([row.probabilities for row in each]) for each in (close, fine)), atol=1e-5)
    assert [row.error != "" for row in model.stream([bad], 3, "skip", adapt_to_folder=True)] == [True]


def test_what_cannot_be_adapted(model, probe, pictures):
    with pytest.raises(ConfigError, match=r"^`adapt_to_folder=True`: linear-probe has no directions.*zs-lp\)$"):
        probe.predict(pictures.test.paths, adapt_to_folder=True)
    with pytest.raises(ConfigError, match=r"^`adapt_to_folder=True`: linear-probe"):
        probe.evaluate(pictures.test, adapt_to_folder=True)
    with pytest.raises(ConfigError, match=r"sets hold for images that are labelled one by one; leave out one of the"):
        model.predict(pictures.test.paths, coverage=0.8, adapt_to_folder=True)


@pytest.mark.usefixtures("model", "probe")
def test_by_the_command_line(place, pictures, picture_folder, expected):
    done = command("predict", place / "zs-lp", *pictures.test.paths, "--adapt-to-folder", "--json")
    assert "can be worse than without --adapt-to-folder" in done.err
    rows = [json.loads(line) for line in done.out.splitlines()]
    np.testing.assert_allclose([[*row["probabilities"].values()] for row in rows], expected, atol=1e-4)
    refused = command("predict", place / "probe", *pictures.test.paths, "--adapt-to-folder")
    assert refused.code == 2
    assert refused.error.startswith("error: --adapt-to-folder: linear-probe has no directions of classes")
    measured = command("evaluate", place / "zs-lp", picture_folder, "--adapt-to-folder", "--json")
    assert measured.json["accuracy"]["value"] == (expected.argmax(-1) == pictures.test.labels).mean()
    assert "can be worse than without --adapt-to-folder" in measured.err
