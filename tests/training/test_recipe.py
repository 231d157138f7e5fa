from __future__ import annotations

import pytest

from acclimate.data.augment import Augmentation
from acclimate.errors import ConfigError
from acclimate.options import make_config
from acclimate.training.recipe import Recipe


def test_constant_warm_up_and_cosine_as_published():
    """Learning rates that the released CoOp trainer logs for 50 epochs after 4 of warm-up at 1e-5."""
    recipe = Recipe(warmup_epochs=4)
    rates = [recipe.learning_rate(epoch, 50) for epoch in range(50)]
    assert rates[:4] == [1e-5] * 4
    assert rates[4] == pytest.approx(2e-3)
    assert rates[49] == pytest.approx(4.9e-5, rel=0.01)
    assert rates[4:] == sorted(rates[4:], reverse=True)


def test_linear_warm_up_and_cosine_as_published():
    """The schedule of SPG's second stage: 70 epochs, 4 of linear warm-up."""
    recipe = Recipe(warmup_epochs=4, warmup="linear")
    rates = [recipe.learning_rate(epoch, 70) for epoch in range(70)]
    assert rates[:5] == pytest.approx([1e-5, 5e-4, 1e-3, 1.5e-3, 2e-3])
    assert rates[69] == pytest.approx(2.5e-5, rel=0.02)


def test_without_warm_up_the_cosine_starts_at_once():
    recipe = Recipe(warmup_epochs=0, lr=0.1)
    assert recipe.learning_rate(0, 10) == pytest.approx(0.1)
    assert recipe.learning_rate(5, 10) == pytest.approx(0.05)


@pytest.mark.parametrize(
    "settings",
    [
        {"lr": "-1"},
        {"momentum": "1"},
        {"batch_size": "0"},
        {"epochs": "0"},
        {"optimizer": "adam"},
        {"augment": "rotate"},
        {"select": "oracle"},
        {"crop_scale": "0"},
        {"views": "-1"},
    ],
    ids=str,
)
def test_recipes_out_of_range(settings):
    with pytest.raises(ConfigError, match=next(iter(settings))):
        make_config(Recipe, settings)


def test_flips_only_where_they_keep_the_meaning():
    assert Recipe(augment="none").augmentation(False, "xray") is None
    assert not Recipe(augment="crop").augmentation(False, "xray").flip
    assert Recipe(augment="crop+flip").augmentation(True, "satellite") == Augmentation(min_scale=0.08, flip=True)
    with pytest.raises(ConfigError, match=r"augment=crop\+flip.*'xray'.*augment=crop"):
        Recipe(augment="crop+flip").augmentation(False, "xray")


def test_views_of_auto_follow_the_domain():
    recipe = Recipe(augment="auto", crop_scale=0.3)
    assert recipe.augmentation(True, "satellite") == Augmentation(crop=True, min_scale=0.3, flip=True)
    assert recipe.augmentation(False, "xray") == Augmentation(crop=True, min_scale=0.3, flip=False)
    assert not Recipe(augment="flip").augmentation(True, "satellite").crop
