"""What a method reads, said once: inputs by their names, and a batch that names its reader where a field is missing."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch

from acclimate.errors import AcclimateError, ConfigError, DataError, MissingInputError
from acclimate.prompts import ReferencePrompts
from acclimate.training.feeding import evaluation_feed, training_feed
from acclimate.training.feeds import FeatureFeed
from acclimate.training.inputs import Given, InputKind, Inputs, find_kind, kinds, register_input
from acclimate.training.recipe import Recipe

READS = Inputs({"image_features"}, {"reference_prompts"})
REFERENCES = ReferencePrompts({"cat": ("whiskers", "a small cat"), "dog": ("a wet nose",), "river": ("water",)}, "mine")


@pytest.fixture
def registry(monkeypatch):
    """A registry of input kinds that forgets what a test adds to it."""
    find_kind("reference_prompts")
    monkeypatch.setattr(kinds, "_KINDS", dict(kinds._KINDS))


@pytest.mark.parametrize("training", [False, True])
def test_a_field_that_the_inputs_do_not_name_tells_who_reads_what(pictures, tiny, training):
    given, reader = Given(tiny, references=REFERENCES), f"my-method reads {READS}"
    if training:
        recipe = Recipe(augment="crop", views=1)
        feed = training_feed(READS.all, pictures.train, given, recipe, recipe.augmentation(True, "natural"), 1, reader)
    else:
        feed = evaluation_feed(READS.all, pictures.train, given, reader)
    batch = feed.batch(torch.tensor([0, 2]), 0 if training else None).to("cpu")
    assert batch.reference_prompts.shape == (2, 2, tiny.embed_dim)
    with pytest.raises(MissingInputError) as caught:
        _ = batch.pixels
    assert str(caught.value) == (
        "my-method reads image features (to learn: reference prompts), but asks for 'pixels', and the batch holds "
        "reference_prompts, reference_mask, index, labels, image_features; name it in the inputs of the method"
    )
    assert isinstance(caught.value, AcclimateError)
    assert not hasattr(batch, "pixels")


def test_inputs_say_what_is_read():
    reads = Inputs({"pixels"}, {"pixels", "domain_features", "reference_prompts", "domains"})
    assert reads.prediction == {"pixels"}
    assert reads.training == {"domain_features", "reference_prompts", "domains"}
    assert (reads.domain_encoder, reads.reference_prompts, reads.domains) == (True, True, True)
    less = reads.without("reference_prompts", "domain_features")
    assert less == Inputs({"pixels"}, {"domains"})
    assert (less.domain_encoder, less.reference_prompts, less.domains) == (False, False, True)
    assert str(reads) == "pixels (to learn: domain features, domains, reference prompts)"
    assert str(Inputs()) == "image features"


def test_an_input_that_nothing_gives_is_named_with_those_that_there_are(pictures, tiny):
    expected = (
        "no input is named 'depth' .*pixels, image_features, pooled_features, domain_pixels, domain_features.*reference"
    )
    with pytest.raises(ConfigError, match=expected):
        evaluation_feed({"image_features", "depth"}, pictures.test, Given(tiny))


def test_reference_prompts_that_are_not_there(pictures, tiny):
    with pytest.raises(DataError, match="no reference prompts are given"):
        evaluation_feed({"reference_prompts"}, pictures.train, Given(tiny))
    few = ReferencePrompts({"cat": ("whiskers",), "dog": ("a wet nose",)}, "few.yaml")
    with pytest.raises(DataError, match=r"few\.yaml: no reference prompts for .*river"):
        evaluation_feed({"reference_prompts"}, pictures.train, Given(tiny, references=few))
    with pytest.raises(ConfigError, match="'reference_prompts' is learned from, and is not there in prediction"):
        find_kind("reference_prompts").batch(["a.png"], Given(tiny))


def test_a_kind_of_input_of_ones_own(registry, pictures, tiny):
    """One class serves every feed; what it gives may depend on the settings of the method."""

    class Sizes(InputKind):
        name = "sizes"

        def feed(self, data, given):
            sizes = [data.image(row).size for row in range(len(data))]
            values = torch.tensor(sizes, dtype=torch.float32) / given.config.unit
            return FeatureFeed(values, torch.from_numpy(data.labels), kind="sizes")

    assert register_input(Sizes) is Sizes
    given = Given(tiny, config=SimpleNamespace(unit=2.0))
    recipe = Recipe(augment="crop", views=0)
    augmentation = recipe.augmentation(True, "natural")
    for names in ({"sizes"}, {"sizes", "image_features"}, {"sizes", "pixels"}):
        feeds = [
            evaluation_feed(names, pictures.test, given),
            training_feed(names, pictures.test, given, recipe, augmentation, 1),
        ]
        for feed in feeds:
            batch = feed.batch(torch.tensor([4, 1]), 0)
            assert batch.sizes.tolist() == [[side / 2 for side in pictures.test.image(row).size] for row in (4, 1)]
            assert all(name in batch for name in names)
    with pytest.raises(ValueError, match="two kinds of input are named 'sizes'"):
        register_input(type("Others", (Sizes,), {}))
