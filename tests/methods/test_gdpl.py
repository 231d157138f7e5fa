"""What GDPL adds to DPLQ: low-rank changes of both towers, and the relation between them."""

from __future__ import annotations

import logging

import pytest
import torch
from safetensors.torch import save_file

from acclimate.errors import ConfigError
from acclimate.methods.gdpl import GDPLConfig
from acclimate.options import make_config
from tests.helpers.methods import (
    FACTS,
    LONG,
    count,
    learn,
    make,
    on_vit_b_16,
    some,
    text_runs,
    whole,
    without_domain_encoder,
)
from tests.helpers.plain_domain import OFF, compare, gdpl_logits, stir
from tests.helpers.tensors import close

RELATIONS = ("shared", "layer", "rank")
CHANGES = [
    {"low_rank": "none"},
    *({"low_rank": kind, "low_rank_start": start} for kind in ("plain", "diagonal") for start in ("zero", "released")),
    *({"low_rank": "relation", "relation": relation} for relation in RELATIONS),
]


# ------------------------------------------------------------------------------------------------------ the equations


@pytest.mark.one_family
@pytest.mark.parametrize(
    "settings",
    [
        {"variant": "released"},
        *({"mixer": "quaternion-axes", "conditioning": "deep", **change} for change in CHANGES),
        {"variant": "released", "low_rank": "relation", "relation": "rank", "rank": 3, "alpha": 2.0, "layers": 2},
        {"low_rank": "relation", "conditioning": "first", "mixer": "dense", "depth": 2, "rank": 1},
        {"low_rank": "relation", **OFF},
    ],
    ids=str,
)
def test_logits_loss_and_gradient_equal_the_loop(world, settings):
    method = stir(make(world, "gdpl", LONG, **settings), 0.2)
    config = method.config
    noise = None if config.noise == "none" or config.conditioning == "none" else world.backbone.text_width
    for what, ours, theirs in compare(world, method, some(world.train), gdpl_logits, noise):
        close(ours, theirs, 2e-4)
        assert theirs.abs().max() > 1e-6, what


def test_a_relation_by_hand(world):
    """S' = S + S R with S = (text, vision): R[0, 1] lets the text's values into the image tower."""
    method = make(world, "gdpl", low_rank="relation", relation="shared", rank=2, layers=1)
    with torch.no_grad():
        method.low_rank.s.copy_(torch.tensor([[[1.0, 2.0], [3.0, 5.0]]]))
        method.low_rank.r.copy_(torch.tensor([[0.0, 10.0], [0.0, 0.0]]))
        expected = torch.tensor([[[1.0, 12.0], [3.0, 35.0]]])
        assert torch.equal(method.low_rank.singular_values(), expected)
        before = method.low_rank.s.clone()
        whole_set = [method.eval().logits(whole(world.test)) for _ in range(2)]
        assert torch.equal(*whole_set)  # S is read, not replaced: it does not grow with every forward pass
        assert torch.equal(method.low_rank.s, before)


# ---------------------------------------------------------------------------------------------------------- the sizes


def test_released_numbers_on_vit_b_16():
    """What learns in the authors' code.

    Theirs marks 2,456,972 as learned: S and R (76) get no update there, and a second meta-net (33,312) is not read.
    """
    method = on_vit_b_16("gdpl", variant="released")
    assert method.learned_parameters() == 2_423_584 == 2_456_972 - 76 - 33_312
    low_rank = method.low_rank
    assert method.learned_parameters() - count(*low_rank.parameters()) == 2_147_104

    def tower(name):
        return [count(getattr(low_rank, part)[name]) for part in ("a", "b", "a_out", "b_out")]

    assert (sum(tower("vision")), sum(tower("vision")[:2]), sum(tower("vision")[2:])) == (165_888, 110_592, 55_296)
    assert (sum(tower("text")), sum(tower("text")[:2]), sum(tower("text")[2:])) == (110_592, 73_728, 36_864)
    assert set(dict(low_rank.named_parameters())) == {
        f"{name}.{tower}" for name in ("a", "b", "a_out", "b_out") for tower in ("text", "vision")
    }


@pytest.mark.parametrize(("relation", "numbers"), [("shared", 4), ("layer", 9 * 4), ("rank", 9 * 4 * 4)])
def test_numbers_of_the_relation(relation, numbers):
    plain = on_vit_b_16("gdpl", low_rank="plain")
    related = on_vit_b_16("gdpl", low_rank="relation", relation=relation, rank=4, layers=9)
    assert related.learned_parameters() - plain.learned_parameters() == 9 * 4 * 2 + numbers
    diagonal = on_vit_b_16("gdpl", low_rank="diagonal")
    assert diagonal.learned_parameters() - plain.learned_parameters() == 9 * 4 * 2


def test_size_of_an_adapter(tmp_path, world):
    for kind, limit in ((on_vit_b_16("gdpl"), 25 * 2**20), (make(world, "gdpl"), 2**17)):
        path = tmp_path / "adapter.safetensors"
        save_file(kind.learned_state(), path)
        assert path.stat().st_size < limit


# ------------------------------------------------------------------------------------------------------ what is learned


def opened(method, scale=0.3):
    """Give every B numbers, so that the changes change something."""
    torch.manual_seed(5)
    with torch.no_grad():
        for b in (*method.low_rank.b.values(), *method.low_rank.b_out.values()):
            b.normal_(std=scale)
    return method


def gradients(world, method):
    method.zero_grad()
    method.loss(whole(world.train))["cross_entropy"].backward()
    return {name: parameter.grad for name, parameter in method.named_parameters()}


@pytest.mark.parametrize("relation", RELATIONS)
def test_gradients_reach_s_and_r_and_all_the_rest(world, relation):
    method = stir(make(world, "gdpl", low_rank="relation", relation=relation), 0.1)
    (stage,) = method.stages(FACTS)
    assert {id(parameter) for parameter in stage.parameters} == {id(parameter) for parameter in method.parameters()}
    assert list(method.learned_state()) == [name for name, _ in method.named_parameters()]
    found = gradients(world, method)
    for name, gradient in found.items():
        assert gradient is not None, name
        assert gradient.any(), name
        if name.startswith("low_rank"):
            assert gradient.ne(0).all() or gradient.ndim > 1, name
    assert found["low_rank.s"].ne(0).all()
    assert found["low_rank.r"].ne(0).all()
    assert all(parameter.grad is None for parameter in world.backbone.model.parameters())


@pytest.mark.one_family
@pytest.mark.parametrize("relation", RELATIONS)
def test_s_and_r_learn(world, relation):
    method = make(world, "gdpl", low_rank="relation", relation=relation, epochs=3, lr=0.02, warmup_epochs=0)
    before = {name: value.clone() for name, value in method.learned_state().items()}
    assert not before["low_rank.r"].any()
    learn(world, method, FACTS)
    after = method.learned_state()
    assert all(not torch.equal(after[name], before[name]) for name in after)
    for name in ("low_rank.s", "low_rank.r"):
        assert (after[name] - before[name]).abs().min() > 1e-4, name
    assert torch.equal(make(world, "gdpl", low_rank="relation", relation=relation).low_rank.s, before["low_rank.s"])


@pytest.mark.one_family
def test_s_and_r_learn_at_a_rate_of_their_own(world):
    moved = {}
    for rate in (0.0, 1.0, 5.0):
        method = make(world, "gdpl", epochs=1, lr=1e-4, warmup_epochs=0, relation_rate=rate)
        before = {name: tensor.clone() for name, tensor in method.learned_state().items()}
        learn(world, method, FACTS)
        moved[rate] = {name: (tensor - before[name]).norm() for name, tensor in method.learned_state().items()}
    assert moved[0.0]["low_rank.s"] == moved[0.0]["low_rank.r"] == 0
    for name in ("low_rank.s", "low_rank.r"):
        assert moved[5.0][name] > 3 * moved[1.0][name] > 0
    others = [name for name in moved[0.0] if not name.endswith((".s", ".r"))]
    assert all(moved[0.0][name] > 0 for name in others)


def test_what_learns_first(world):
    """As long as B is zero, nothing else of a change gets a gradient; the next step reaches S and R."""
    found = gradients(world, make(world, "gdpl", low_rank="relation", low_rank_start="zero"))
    for name, gradient in found.items():
        if name.startswith("low_rank"):
            assert bool(gradient.any()) == name.startswith("low_rank.b"), name


@pytest.mark.parametrize("relation", RELATIONS)
def test_equal_singular_values_give_both_rows_of_r_one_gradient(world, relation):
    equal = opened(make(world, "gdpl", low_rank="relation", relation=relation, relation_spread=0.0))
    assert (equal.low_rank.s == 1).all()
    of_r = gradients(world, equal)["low_rank.r"]
    assert of_r.abs().max() > 1e-4
    assert torch.equal(of_r[..., 0, :], of_r[..., 1, :])
    spread = opened(make(world, "gdpl", low_rank="relation", relation=relation, relation_spread=0.5))
    of_r = gradients(world, spread)["low_rank.r"]
    assert not torch.allclose(of_r[..., 0, :], of_r[..., 1, :], rtol=0.01)


@pytest.mark.one_family
@pytest.mark.parametrize(
    "settings", [{"variant": "released"}, {"low_rank": "plain"}, {"low_rank": "diagonal"}], ids=str
)
def test_learning_of_the_other_kinds(world, settings):
    method = make(world, "gdpl", **{"epochs": 5, "lr": 0.02, "warmup_epochs": 0, **settings})
    before = {name: value.clone() for name, value in method.learned_state().items()}
    lines = learn(world, method, FACTS)
    assert lines[-1]["cross_entropy"] < 0.9 * lines[0]["cross_entropy"]
    assert all(not torch.equal(value, before[name]) for name, value in method.learned_state().items())
    assert ("low_rank.s" in before) == (settings == {"low_rank": "diagonal"})
    assert "low_rank.r" not in before


# ---------------------------------------------------------------------------------------------------------- the start


@pytest.mark.parametrize(
    "settings", [change for change in CHANGES if change.get("low_rank_start") != "released"], ids=str
)
def test_at_first_the_towers_are_unchanged(world, settings):
    method = make(world, "gdpl", LONG, noise="none", **settings).eval()
    dplq = make(world, "dplq", LONG, noise="none").eval()
    shared = dplq.learned_state()
    assert all(torch.equal(method.learned_state()[name], value) for name, value in shared.items())
    batch = whole(world.test)
    with torch.no_grad():
        close(method.logits(batch), dplq.logits(batch))
        if settings["low_rank"] != "none":
            assert not any(b.any() for b in (*method.low_rank.b.values(), *method.low_rank.b_out.values()))
            assert (opened(method).logits(batch) - dplq.logits(batch)).abs().max() > 0.01


def test_alpha_zero_is_dplq(world):
    method = opened(make(world, "gdpl", LONG, noise="none", alpha=0.0)).eval()
    with torch.no_grad():
        expected = make(world, "dplq", LONG, noise="none").eval().logits(whole(world.test))
        close(method.logits(whole(world.test)), expected)


def test_released_start_of_the_changes():
    """Xavier for A and B of q, k and v together; A of the output projection within 1/sqrt(d), its B zero."""
    low_rank = on_vit_b_16("gdpl", variant="released").low_rank
    for tower, width in (("text", 512), ("vision", 768)):
        assert not low_rank.b_out[tower].any()
        for values, bound in (
            (low_rank.a[tower], (6 / (4 + width)) ** 0.5),
            (low_rank.b[tower], (6 / (4 + 3 * width)) ** 0.5),
            (low_rank.a_out[tower], width**-0.5),
        ):
            assert 0.99 * bound < values.abs().max() <= bound
            assert float(values.detach().std()) == pytest.approx(bound / 3**0.5, rel=0.03)
            assert abs(float(values.detach().mean())) < 0.02 * bound


def test_released_start_moves_the_towers(world):
    settings = {"noise": "none", "low_rank": "plain"}
    one, other = (make(world, "gdpl", low_rank_start=start, **settings).eval() for start in ("zero", "released"))
    with torch.no_grad():
        assert (one.logits(whole(world.test)) - other.logits(whole(world.test))).abs().max() > 1e-4


def test_start_of_s_and_r():
    low_rank = on_vit_b_16("gdpl", low_rank="relation", rank=64, layers=9, relation_spread=0.3).low_rank
    assert float(low_rank.s.detach().mean()) == pytest.approx(1.0, abs=0.05)
    assert float(low_rank.s.detach().std()) == pytest.approx(0.3, rel=0.1)
    assert not torch.equal(low_rank.s[..., 0], low_rank.s[..., 1])
    assert not low_rank.r.any()


# ------------------------------------------------------------------------------------------------ towers and encoders


def test_depth_and_layers_are_cut_to_the_towers(world, caplog):
    with caplog.at_level(logging.INFO, "acclimate.methods"):
        method = make(world, "gdpl", depth=9, layers=7, low_rank="relation")
    assert len(method.low_rank.s) == len(method.text) == 3
    for tower in ("text", "vision"):
        assert f"gdpl: depth=9 is cut to the 3 layers of the {tower} tower" in caplog.messages
        assert f"gdpl: layers=7 is cut to the 3 layers of the {tower} tower" in caplog.messages
    assert len(make(world, "gdpl", layers=2, low_rank="relation").low_rank.s) == 2


def test_nothing_conditioned_needs_no_domain_encoder(world):
    bare, batch = without_domain_encoder(world)
    method = stir(make(bare, "gdpl", LONG, low_rank="relation", **OFF), 0.1).eval()
    assert method.inputs.all == {"pixels"}
    runs, stop = text_runs(world)
    with torch.no_grad():
        for _ in range(3):
            method.logits(batch)
    stop()
    assert len(runs) == 1
    with pytest.raises(ConfigError, match="gdpl reads the features of a domain encoder"):
        make(bare, "gdpl")


# -------------------------------------------------------------------------------------------------------- the settings


def test_released_settings():
    config = make_config(GDPLConfig, {"variant": "released"})
    assert (config.prompt_tokens, config.depth, config.context_init, config.meta_width) == (2, 9, "a photo of a", 32)
    assert (config.conditioning, config.mixer, config.residual) == ("first", "quaternion-padded", False)
    assert (config.image_bias, config.feature_norm, config.noise, config.noise_std) == (False, False, "always", None)
    assert (config.low_rank, config.low_rank_start) == ("plain", "released")
    assert (config.rank, config.alpha, config.layers) == (4, 1.0, 9)
    assert (config.optimizer, config.lr, config.momentum, config.weight_decay) == ("sgd", 3.5e-3, 0.9, 5e-4)
    assert (config.batch_size, config.warmup_epochs, config.warmup_lr, config.crop_scale) == (4, 1, 1e-5, 0.08)
    assert on_vit_b_16("gdpl", variant="released").stages(FACTS)[0].epochs == 15


@pytest.mark.parametrize("variant", ["released", "corrected"])
def test_settings_make_themselves_again(variant):
    config = make_config(GDPLConfig, {"variant": variant, "low_rank": "diagonal", "layers": "4"})
    assert (config.variant, config.low_rank, config.layers) == (variant, "diagonal", 4)
    assert make_config(GDPLConfig, vars(config)) == config


def test_strength_of_the_released_changes():
    """alpha / rank = 1/4 for the output projection, and a quarter of that for q, k and v, which share A."""
    changes = on_vit_b_16("gdpl", variant="released").deltas()
    for tower in ("text", "vision"):
        assert len(changes[tower].layers) == 9
        for layer in changes[tower].layers:
            assert {name: change.scale for name, change in layer.items()} == {
                **dict.fromkeys("qkv", 1 / 16),
                "out": 1 / 4,
            }
            assert layer["q"].a is layer["k"].a is layer["v"].a
            assert all(change.s is None for change in layer.values())
