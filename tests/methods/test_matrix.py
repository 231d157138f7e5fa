"""What every registered method promises, on every family of backbones."""

from __future__ import annotations

import dataclasses
import json

import pytest
import torch
from safetensors.torch import load_file

from acclimate.backbones.kinds import DUAL, GENERATIVE
from acclimate.errors import ConfigError
from acclimate.methods import (
    AnsweringClassifier,
    Classifier,
    DomainAttributor,
    Method,
    PromptAttributor,
    Retriever,
    WordLearner,
    get_method,
    list_methods,
    register,
)
from acclimate.methods.parts.text import TextClassifier
from acclimate.options import describe_options
from acclimate.prompts import PromptSet
from acclimate.training.checkpoint import save_tensors
from acclimate.training.recipe import Recipe
from acclimate.training.stages import SolverStage, Stage
from tests.helpers.methods import (
    CLASSES,
    DOMAINS,
    FACTS,
    NEEDS,
    TILED,
    UNSEEN,
    descend,
    learn,
    make,
    stages_of,
    text_runs,
    whole,
)
from tests.helpers.tensors import close

METHODS = [method.name for method in list_methods()]
FAMILIES = {"clip": DUAL, "siglip": DUAL, "vit-bert-clip": DUAL, "llava": GENERATIVE, "composed": GENERATIVE}


def pairs(capability=Method):
    """Methods with this capability, each with the families of backbones that it adapts."""
    able = [method for method in list_methods() if issubclass(method, capability)]
    return [(family, one.name) for family in FAMILIES for one in able if adapts(one, family)]


def adapts(method, family):
    """Whether a method adapts backbones of a family; one that is composed only if no other will do."""
    try:
        method.check_backbone(FAMILIES[family], "one+another" if family == "composed" else family)
    except ConfigError:
        return False
    return family != "composed" or not adapts(method, "llava")


def settings(name):
    """Few epochs, few tokens and small changes, for methods that have them."""
    wanted = {"epochs": 2, "context_tokens": 4, "lr": 0.02, "warmup_epochs": 0, "fine_tuned": True}
    wanted |= {"rank": 1} if GENERATIVE in get_method(name).backbones else {}
    known = {field.name for field in dataclasses.fields(get_method(name).Config)}
    return {key: value for key, value in wanted.items() if key in known}


def state_of(method):
    return {name: tensor.clone() for name, tensor in method.learned_state().items()}


pytestmark = pytest.mark.one_family  # the tests of each method run on both


@pytest.fixture(scope="module", params=pairs(), ids="-".join)
def pair(request):
    return request.param


@pytest.fixture(scope="module")
def world(pair, worlds):
    return worlds(pair[0])


@pytest.fixture(scope="module")
def fitted(pair, world):
    weights = {name: tensor.clone() for name, tensor in world.backbone.model.state_dict().items()}
    method = make(world, pair[1], **settings(pair[1]))
    before = state_of(method)
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
    bare = make(world, method.name, adopt=False, **settings(method.name)).learned_state()
    adopted = {name for name in bare if not torch.equal(bare[name], before[name])}  # what prerequisites have learned
    assert all(not torch.equal(after[name], before[name]) for name in after.keys() - adopted)
    assert bool(lines) == bool(after)
    model = world.backbone.model
    assert all(parameter.grad is None and not parameter.requires_grad for parameter in model.parameters())
    assert all(torch.equal(tensor, weights[name]) for name, tensor in model.state_dict().items())


def test_learned_state_is_small(fitted, world):
    method, *_ = fitted
    frozen = sum(parameter.numel() for parameter in world.backbone.model.parameters())
    share = 4 if method.inputs.domain_encoder else 10  # mixers are large beside towers as narrow as these
    networks = 3_000_000 if method.inputs.domains else 0  # hidden layers that are as wide for any tower
    if "domain_pixels" in method.inputs.all:  # an encoder of its own
        networks = method.domain_encoder.copy_model()[1].num_parameters() + 100
    assert method.learned_parameters() < max(frozen / share, networks)
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
    if not isinstance(method, TextClassifier) or method.prompts_per_image:
        return
    method.train()
    method.eval()
    runs, stop = text_runs(world)
    with torch.no_grad():
        for index in torch.arange(len(world.test)).split(2):
            method.logits(world.test.batch(index))
    stop()
    assert len(runs) <= 1  # not at all where the text stays frozen and was encoded with the classes


@pytest.mark.slow
def test_terms_of_parts_of_a_batch_add_up_to_those_of_all(fitted, world):
    """What a stage promises that several processes may share: each term by the share of the images that it is of."""
    method = make(world, fitted[0].name, **settings(fitted[0].name))
    method.load_learned_state(fitted[0].learned_state())
    stages = [stage for stage in stages_of(method) if not isinstance(stage, SolverStage)]
    method.eval()
    index = torch.arange(0, len(world.train), 2)[:7]
    for stage in stages if all(stage.divisible for stage in stages) else ():
        (turn,), whole_batch = stage.turns, world.train.batch(index)
        terms, sums = turn.loss(whole_batch), {}
        total = dict.fromkeys(terms, len(index)) | (stage.counts(whole_batch) if stage.counts else {})
        for part in map(world.train.batch, index.split([4, 1, 2])):
            own = turn.loss(part)
            counts = dict.fromkeys(own, len(part)) | (stage.counts(part) if stage.counts else {})
            for name, term in own.items():
                sums[name] = sums.get(name, 0.0) + term * counts[name] / total[name]
        assert sums.keys() == terms.keys()
        for name, term in terms.items():
            close(sums[name], term, 1e-4)


TOGETHER = {"spg": "draws noise for a batch"}  # methods whose batches processes cannot share, as they are by default


def test_batches_can_be_shared_but_for_a_reason(fitted, world):
    method = make(world, fitted[0].name, **settings(fitted[0].name))
    stages = [stage for stage in stages_of(method) if not isinstance(stage, SolverStage)]
    assert all(stage.divisible for stage in stages) == (method.name not in TOGETHER)


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
    state = state_of(method)
    method.bind(UNSEEN)
    method.bind(CLASSES)
    assert all(torch.equal(tensor, state[name]) for name, tensor in method.learned_state().items())


def test_binding_twice_changes_nothing(fitted, world):
    method, *_ = fitted
    state = state_of(method)
    with torch.no_grad():
        before = method.logits(whole(world.test))
        for _ in range(2):
            method.bind(CLASSES)
        assert torch.equal(method.logits(whole(world.test)), before)
    assert all(torch.equal(tensor, state[name]) for name, tensor in method.learned_state().items())


def test_binding_others_and_its_own_again_changes_nothing(fitted, world, tmp_path):
    """Nor does a file that is written in between, or after its own classes were bound twice."""
    method, *_ = fitted
    state = state_of(method)
    with torch.no_grad():
        before = method.logits(whole(world.test))
        for classes in (UNSEEN, CLASSES, CLASSES) if method.serves_new_classes else (CLASSES, CLASSES):
            method.bind(classes)
            save_tensors(method.learned_state(), tmp_path / "adapter.safetensors")
            saved = load_file(tmp_path / "adapter.safetensors")
            assert saved.keys() == state.keys()
            assert all(torch.equal(tensor, state[name]) for name, tensor in saved.items())
        assert torch.equal(method.logits(whole(world.test)), before)


def test_its_own_classes_in_another_order(fitted, world):
    """Logits follow the names, also of a method with weights for all of them together."""
    method, *_ = fitted
    listed = isinstance(method, AnsweringClassifier)  # without some, it is asked another question
    with torch.no_grad():
        before = method.logits(whole(world.test))
        for order in [[2, 0, 1]] if listed else [[2, 0, 1], [1, 0]]:
            classes = [CLASSES[place] for place in order]
            method.bind(classes)
            assert method.class_names == tuple(classes)
            close(method.of_bound(method.logits(whole(world.test))), before[:, order], 1e-4)
            method.bind(CLASSES)
        assert torch.equal(method.logits(whole(world.test)), before)


NO_CLASSES = [
    ("cat", "is 'cat', which is one text"),
    (b"cat", "is b'cat', which is one text"),
    ((), "has no class"),
    (("cat", "dog", "cat"), "has 'cat' twice"),
    (("cat", " "), "has ' ' among"),
    (("cat", ""), "has '' among"),
    (("cat", 3), "has 3 among"),
    (("cat", None), "has None among"),
    (None, "is None"),
    (3, "is 3"),
    ({"cat": 1}, "is a dict"),
]


def test_what_cannot_be_bound(fitted):
    method, *_ = fitted
    for classes, message in NO_CLASSES:
        with pytest.raises(ConfigError, match=f"^`class_names` {message}[^\n]*$"):
            method.bind(classes)
        assert method.class_names == CLASSES


class Picky(get_method("zs-lp")):
    """A method that cannot follow every class."""

    def set_classes(self):
        super().set_classes()
        if "mill" in self.class_names:
            raise ConfigError("no mills")


def test_binding_that_fails_changes_nothing(worlds):
    world = worlds("clip")
    method = Picky(world.backbone, Picky.Config(), PromptSet("natural"))
    with pytest.raises(ConfigError, match="no mills"):
        method.bind(("mill", "dog"))
    assert method.class_names == method.trained_classes == ()
    method.bind(CLASSES)
    with torch.no_grad():
        before = method.logits(whole(world.test))
        with pytest.raises(ConfigError, match="no mills"):
            method.bind(("mill", "cat"))
        assert method.class_names == CLASSES
        assert torch.equal(method.logits(whole(world.test)), before)


def test_what_serves_training_alone_is_gone(fitted, world):
    """A loaded adapter does not make it, and a state from the midst of training fits a method that is prepared."""
    method, *_ = fitted
    parts = [method.get_submodule(name.rpartition(".")[0]) for name in method.training_only]
    names = [name.rpartition(".")[2] for name in method.training_only]
    assert all(getattr(part, name) is None for part, name in zip(parts, names, strict=True))
    under_way = make(world, method.name, **settings(method.name))
    under_way.prepare(FACTS)
    state = state_of(under_way)
    only = method.training_only
    alone = {name for name in state if name in only or name.startswith(tuple(f"{part}." for part in only))}
    assert state.keys() - alone == method.learned_state().keys()
    assert bool(alone) == bool(method.training_only)
    under_way.load_learned_state(state)
    under_way.load_learned_state({name: state[name] for name in state.keys() - alone})


def test_listing_stages_changes_nothing(pair, world):
    method = make(world, pair[1], **settings(pair[1]))
    method.prepare(FACTS)
    state, generator = state_of(method), torch.get_rng_state()
    attributes = {key: id(value) for key, value in vars(method).items()}
    method.stages(FACTS)
    assert all(torch.equal(tensor, state[key]) for key, tensor in method.learned_state().items())
    assert torch.equal(torch.get_rng_state(), generator)
    assert {key: id(value) for key, value in vars(method).items()} == attributes


@pytest.mark.parametrize(("family", "name"), pairs(Retriever))
def test_retrievers_need_no_classes(family, name, worlds):
    world = worlds(family)
    method = get_method(name)(world.backbone, get_method(name).Config(), PromptSet("natural"))
    method.build()
    queries = method.eval().queries(whole(world.test))
    assert queries.shape == (len(world.test), world.backbone.embed_dim)
    close(queries.norm(dim=-1), torch.ones(len(world.test)))


@pytest.mark.parametrize(("family", "name"), pairs(PromptAttributor))
def test_attribution_comes_before_the_end_of_training(family, name, worlds):
    world = worlds(family)
    method = make(world, name, **settings(name))
    descend(method, stages_of(method), world.train, world.val)
    found = method.attribution(world.train)
    assert found.prompts.shape == (len(world.train), world.backbone.embed_dim)
    method.end_training()
    assert method.attribution(world.train) is None


@pytest.mark.parametrize(("family", "name"), pairs(WordLearner))
def test_learned_words_are_learned_tensors_as_wide_as_words(family, name, worlds):
    world = worlds(family)
    method = make(world, name, **settings(name))
    found = method.word_vectors(DOMAINS)
    state = method.learned_state()
    for vectors in found.values():
        assert vectors.shape[1] == world.backbone.text_width
        assert any(vectors.numel() <= own.numel() and is_part(vectors, own) for own in state.values())


def is_part(rows, tensor):
    """Whether rows (n, D) stand beside each other in a tensor (..., D)."""
    if tensor.shape[-1] != rows.shape[1]:
        return False
    flat = tensor.reshape(-1, tensor.shape[-1])
    return any(torch.equal(flat[start : start + len(rows)], rows) for start in range(len(flat) - len(rows) + 1))


@pytest.mark.parametrize(("family", "name"), pairs(DomainAttributor))
def test_images_are_nearest_to_a_domain(family, name, worlds):
    world = worlds(family)
    method = make(world, name, **settings(name)).eval()
    with torch.no_grad():
        found = method.domain_distances(whole(world.test))
    assert found.shape == (len(world.test), len(DOMAINS))
    assert (found > 0).all()


@pytest.mark.parametrize("name", METHODS)
def test_what_the_tables_show(name):
    method = get_method(name)
    assert method.title
    assert method.learns
    assert method.paper.startswith("arXiv ")
    assert method.inputs.prediction <= {*NEEDS, *TILED, "image_tokens", "vision_tokens"}
    assert issubclass(method, Classifier | Retriever)
    assert method.__doc__
    assert "Source: " in method.__doc__
    for row in describe_options(method.Config):
        assert row["help"], f"{name}: the setting {row['name']} is not explained"
    json.dumps(vars(method.Config()))


def test_stages_are_known_to_the_fit_loop(pair, world):
    method = make(world, pair[1], **settings(pair[1]))
    for stage in stages_of(method):
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
