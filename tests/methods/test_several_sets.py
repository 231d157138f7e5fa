"""Several data sets that a generative VLM learns from together: each image is asked for the classes of its own set."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from torch.nn import functional as F

from acclimate.errors import ConfigError
from acclimate.methods import ClassSet
from acclimate.prompts import PromptSet
from acclimate.training.batch import Batch
from acclimate.training.feeds import FeatureFeed, JoinedFeed, LabelFeed
from tests.helpers.methods import FACTS, make, some
from tests.helpers.tensors import close

SETS = (
    ClassSet("aerial", ("cat", "dog"), PromptSet("satellite")),
    ClassSet("radar", ("dog", "river"), PromptSet("sar", overrides={"dog": "a ship"})),
)
ASKED = (
    "Analyze the given satellite image. The possible answers are: cat; dog.",
    "Analyze the given SAR image. The possible answers are: a ship; river.",
)
TOLD = [(0, 0), (1, 0), (1, 1), (2, 1)]  # class and set of four images
SMALL = {"rank": 2, "dropout": 0.0, "epochs": 2, "lr": 0.02}


@pytest.fixture(scope="module")
def world(worlds):
    return worlds("llava")


@pytest.fixture(scope="module")
def batch(world):
    labels, sets = (torch.tensor(column) for column in zip(*TOLD, strict=True))
    return Batch(labels=labels, sets=sets) | some(world.train, 4)


def joint(world, name, **settings):
    method = make(world, name, **SMALL, **settings)
    with torch.no_grad():
        for parameter in method.adapter.parameters():
            parameter.normal_(0, 0.2)
    method.prepare(dataclasses.replace(FACTS, sets=SETS))
    return method.eval()


def words(label, of):
    """What is answered for a class in a set."""
    prompts, name = SETS[of].prompts, ("cat", "dog", "river")[label]
    return prompts.words([name])[0]


@pytest.mark.slow
def test_the_loss_is_that_of_the_instruction_and_the_words_of_the_own_set(world, batch):
    method, losses = joint(world, "instruct"), []
    for row, (label, of) in enumerate(TOLD):
        told = method.backbone.conversation(ASKED[of], words(label, of))
        with method.tuned():
            logits = method.backbone.response_logits([told], batch.image_tokens[row : row + 1])
        losses.append(F.cross_entropy(logits, told.ids[told.response]))
    close(method.loss(batch)["vanilla"], torch.stack(losses).mean())


@pytest.mark.parametrize("tokens", ["all", "label"])
def test_all_branches_of_vitask_ask_alike(world, batch, tokens):
    method = joint(world, "vitask", crt=0.3, crt_tokens=tokens)
    together = method.loss(batch, contrasted=True)
    alone = [method.loss(batch.take(torch.tensor([row])), contrasted=True) for row in range(len(batch))]
    assert set(together) == {"vanilla", "exemplar", "alignment", "contrast"}
    for name, value in together.items():
        close(value, torch.stack([terms[name] for terms in alone]).mean(), 1e-4)


def test_epochs_are_chosen_among_the_classes_of_the_own_set(world, batch):
    """As if the model were bound to the classes of each set, whose images it is asked about."""
    method = joint(world, "instruct")
    feed = JoinedFeed(
        [LabelFeed(batch.labels, None, batch.sets), FeatureFeed(batch.image_tokens, batch.labels, kind="image_tokens")]
    )
    score = method.validation_score(feed)
    method.end_training()
    right = 0
    for row, (label, of) in enumerate(TOLD):
        method.prompts = SETS[of].prompts
        method.bind(SETS[of].class_names)
        best = int(method.logits(batch.take(torch.tensor([row]))).argmax())
        right += method.class_names[best] == ("cat", "dog", "river")[label]
    assert score == right / len(TOLD)


def test_prediction_asks_for_what_is_bound(world):
    method = joint(world, "instruct")
    method.end_training()
    assert method.asked(training=False).endswith("The possible answers are: cat; dog; river.")
    method.prompts = SETS[1].prompts
    method.bind(SETS[1].class_names)
    assert method.asked(training=False) == ASKED[1]
    assert method.answers == ("a ship", "river")


def test_classes_of_one_set_that_read_the_same_are_refused(world):
    method = make(world, "instruct", rank=1)
    alike = ClassSet("radar", ("dog", "river"), PromptSet("sar", overrides={"dog": "river"}))
    with pytest.raises(ConfigError, match="'dog' and 'river' both read 'river'"):
        method.prepare(dataclasses.replace(FACTS, sets=(SETS[0], alike)))
