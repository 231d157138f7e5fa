"""What every registered method promises, on every family of backbones."""

from __future__ import annotations

import dataclasses
import json

import pytest
import torch
from safetensors.torch import load_file

from acclimate.errors import ConfigError
from acclimate.methods import get_method, list_methods, register
from acclimate.methods.contract import Method, TextClassifier
from acclimate.options import describe_options
from acclimate.training.checkpoint import save_tensors
from acclimate.training.recipe import Recipe
from acclimate.training.stages import SolverStage, Stage
from tests.helpers.methods import CLASSES, FACTS, NEEDS, UNSEEN, learn, make, text_runs, whole
from tests.helpers.tensors import close

METHODS = [method.name for method in list_methods()]


def settings(name):
    """Few epochs and few tokens, for methods that have them."""
    wanted = {"epochs": 2, "context_tokens": 4, "lr": 0.02, "warmup_epochs": 0}
    known = {field.name for field in dataclasses.fields(get_method(name).Config)}
    return {key: value for key, value in wanted.items() if key in known}


@pytest.fixture(scope="module", params=METHODS)
def fitted(request, world):
    weights = {name: tensor.clone() for name, tensor in world.backbone.model.state_dict().items()}
    method = make(world, request.param, **settings(request.param))
    before = {name: tensor.clone() for name, tensor in method.learned_state().items()}
    lines = learn(world, method, FACTS, world.val)
    return method, before, lines, weights


def test_logits(fitted, world):
    method, *_ = fitted
    with torch.no_grad():
        logits = method.logits(whole(world.test))
    assert logits.shape == (len(world.test), len(CLASSES))
    assert logits.isfinite().all()


def test_training_changes_the_learned_tensors_and_nothing_else(fitted, world):
    method, before, lines, weights = fitted
    after = method.learned_state()
    assert after.keys() == before.keys()
    assert all(not torch.equal(after[name], before[name]) for name in after if name != "labels.values")  # of before
    assert bool(lines) == bool(after)
    model = world.backbone.model
    assert all(parameter.grad is None and not parameter.requires_grad for parameter in model.parameters())
    assert all(torch.equal(tensor, weights[name]) for name, tensor in model.state_dict().items())


def test_learned_state_is_small(fitted, world):
    method, *_ = fitted
    frozen = sum(parameter.numel() for parameter in world.backbone.model.parameters())
    share = 4 if "domain_features" in type(method).needs else 10  # mixers are large beside towers as narrow as these
    if method.name != "spg":  # the hidden layers of its generator are as wide for any tower
        assert method.learned_parameters() < frozen / share
    assert (method.learned_parameters() == 0) == (method.learns == "nothing")
    assert sum(tensor.numel() for tensor in method.parameters()) <= method.learned_parameters()


def test_round_trip_through_a_file(fitted, world, tmp_path):
    method, *_ = fitted
    save_tensors(method.learned_state(), tmp_path / "adapter.safetensors")
    other = make(world, method.name, seed=99, **settings(method.name))
    other.load_learned_state(load_file(tmp_path / "adapter.safetensors"))
    other.eval()
    with torch.no_grad():
        assert torch.equal(other.logits(whole(world.test)), method.logits(whole(world.test)))


def test_other_weights_are_refused(fitted, world):
    method, *_ = fitted
    state = method.learned_state()
    wrong = [state | {"more": torch.zeros(2)}]
    if state:
        name = max(state, key=lambda name: state[name].numel())
        wrong += [{**state, name: state[name][:1].repeat(7, *[1] * (state[name].ndim - 1))}, {}]
    for tensors in wrong:
        with pytest.raises(ConfigError, match=f"do not belong to this {method.name}"):
            method.load_learned_state(tensors)


def test_size_and_order_of_batches_change_nothing(fitted, world):
    method, *_ = fitted
    order = torch.randperm(len(world.test), generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        expected = method.logits(whole(world.test))
        shuffled = method.logits(world.test.batch(order))
        single = torch.cat([method.logits(world.test.batch(index)) for index in torch.arange(len(order)).split(1)])
    close(shuffled, expected[order], 1e-4)
    close(single, expected, 1e-4)


def test_text_is_encoded_once_in_evaluation(fitted, world):
    method, *_ = fitted
    method.train()
    method.eval()
    runs, stop = text_runs(world)
    with torch.no_grad():
        for index in torch.arange(len(world.test)).split(2):
            method.logits(world.test.batch(index))
    stop()
    own_prompts = "domain_features" in method.needs or method.name == "spg"  # of each image
    if isinstance(method, TextClassifier) and not own_prompts:
        assert len(runs) <= 1  # not at all where the text stays frozen and was encoded with the classes


def test_the_same_seed_starts_with_the_same_values(world, fitted):
    name = fitted[0].name
    one, two = (make(world, name, seed=3, **settings(name)).learned_state() for _ in range(2))
    assert all(torch.equal(one[key], two[key]) for key in one)


def test_binding_to_new_classes(world, fitted):
    method = make(world, fitted[0].name, **settings(fitted[0].name))
    method.load_learned_state(fitted[0].learned_state())
    method.eval()
    with torch.no_grad():
        before = method.logits(whole(world.test))
        if not method.serves_new_classes:
            with pytest.raises(ConfigError, match="only the classes that it was trained on"):
                method.bind(UNSEEN)
        else:
            method.bind(UNSEEN)
            assert method.logits(whole(world.test)).shape == (len(world.test), len(UNSEEN))
        method.bind(CLASSES)
        assert method.class_names == CLASSES
        if method.serves_new_classes:
            close(method.logits(whole(world.test)), before)


def test_binding_does_not_change_what_was_learned(world, fitted):
    method, *_ = fitted
    if not method.serves_new_classes:
        return
    state = {name: tensor.clone() for name, tensor in method.learned_state().items()}
    method.bind(UNSEEN)
    method.bind(CLASSES)
    assert all(torch.equal(tensor, state[name]) for name, tensor in method.learned_state().items())


@pytest.mark.parametrize("name", METHODS)
def test_what_the_tables_show(name):
    method = get_method(name)
    assert method.title
    assert method.learns
    assert method.paper.startswith("arXiv ")
    assert method.needs <= NEEDS
    assert method.__doc__
    assert "Source: " in method.__doc__
    for row in describe_options(method.Config):
        assert row["help"], f"{name}: the setting {row['name']} is not explained"
    json.dumps(vars(method.Config()))


@pytest.mark.parametrize("name", METHODS)
def test_stages_are_known_to_the_fit_loop(name, world):
    method = make(world, name, **settings(name))
    for stage in method.stages(FACTS):
        assert isinstance(stage, Stage)
        if not isinstance(stage, SolverStage):
            assert isinstance(stage.recipe, Recipe)
            assert stage.epochs >= 1
            assert all(parameter.requires_grad for turn in stage.turns for parameter in turn.parameters)


def test_unknown_methods():
    with pytest.raises(ConfigError, match=r"unknown method 'coopp'; did you mean 'coop'\? \(methods: .*coop, .*kgcoop"):
        get_method("coopp")


def test_two_methods_of_one_name():
    class Impostor(Method):
        name = "coop"

    with pytest.raises(ValueError, match="two methods are named 'coop'"):
        register(Impostor)
