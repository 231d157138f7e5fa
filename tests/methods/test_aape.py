from __future__ import annotations

import dataclasses

import pytest
import torch
from torch.nn import functional as F

from acclimate.errors import ConfigError
from acclimate.methods import TrainingFacts
from acclimate.methods.aape import AAPEConfig
from acclimate.methods.aape.aggregators import AGGREGATORS, clip_reward, mean_prompt
from acclimate.methods.aape.distilling import relative_entropy
from acclimate.methods.aape.networks import Projection, PromptGenerator
from acclimate.training.batch import Batch
from acclimate.training.checkpoint import CheckpointFile
from acclimate.training.devices import make_accelerator
from acclimate.training.fit import FitContext, fit
from acclimate.training.journal import Journal
from tests.helpers.methods import CLASSES, FACTS, UNSEEN, count, learn, make, stages_of, whole
from tests.helpers.tensors import close

WIDTH = 32


def aggregator(kind, query_mode="image_conditioned", learned=True, images=3):
    torch.manual_seed(0)
    made = AGGREGATORS[kind](WIDTH, AAPEConfig(aggregator=kind, query_mode=query_mode), images)
    if learned:  # away from its zeros
        for parameter in made.parameters():
            torch.nn.init.normal_(parameter, std=0.3)
    return made


def references(images=3, prompts=5):
    generator = torch.Generator().manual_seed(1)
    p = F.normalize(torch.randn(images, prompts, WIDTH, generator=generator), dim=-1)
    x = F.normalize(torch.randn(images, WIDTH, generator=generator), dim=-1)
    return p, torch.ones(images, prompts, dtype=torch.bool), x, torch.arange(images)


LEARNED = [("attention", mode) for mode in ("image_conditioned", "per_image", "mean")]
LEARNED += [("convex", mode) for mode in ("image_conditioned", "per_image", "mean")] + [("mlp", "mean")]


@pytest.mark.parametrize(("kind", "mode"), [*LEARNED, ("mean", "mean")])
def test_order_and_padding_change_nothing(kind, mode):
    made, (p, mask, x, index) = aggregator(kind, mode), references()
    expected, attention = made(p, mask, x, index)
    order = torch.tensor([3, 0, 4, 2, 1])
    shuffled, turned = made(p[:, order], mask, x, index)
    close(shuffled, expected)
    padded = torch.cat([p, 7.0 * torch.ones_like(p[:, :2])], dim=1)
    wide = torch.cat([mask, torch.zeros_like(mask[:, :2])], dim=1)
    longer, around = made(padded, wide, x, index)
    close(longer, expected)
    assert torch.allclose(expected.norm(dim=-1), torch.ones(3))
    if attention is not None:
        close(turned, attention[:, order])
        close(around[:, :5], attention)
        assert not around[:, 5:].any()


@pytest.mark.parametrize(("kind", "mode"), LEARNED)
def test_training_starts_from_the_mean(kind, mode):
    if kind == "convex":  # which weighs all prompts nearly the same
        made, (p, mask, x, index) = aggregator(kind, mode, learned=False), references()
        assert (made(p, mask, x, index)[0] * F.normalize(p.mean(1), dim=-1)).sum(-1).min() > 0.8
        return
    made, (p, mask, x, index) = aggregator(kind, mode, learned=False), references()
    close(made(p, mask, x, index)[0], F.normalize(p.mean(dim=1), dim=-1))


@pytest.mark.parametrize("kind", AGGREGATORS)
def test_a_single_prompt(kind):
    made, (p, mask, x, index) = aggregator(kind, learned=False), references(prompts=1)
    close(made(p, mask, x, index)[0], p[:, 0])


def test_attention_against_a_loop_over_heads_and_prompts():
    made, (p, mask, x, _) = aggregator("attention"), references()
    expected = []
    for prompts, image in zip(p, x, strict=True):
        mean = prompts.mean(dim=0)
        query = made.query(made.query_norm(mean + made.of_image.weight @ image))
        rows = [made.prompt_norm(row) for row in (mean, *prompts)]
        size = WIDTH // made.heads
        parts = []
        for head in range(made.heads):
            cut = slice(head * size, (head + 1) * size)
            weights = torch.stack([query[cut] @ made.key(row)[cut] / size**0.5 for row in rows]).softmax(dim=0)
            parts.append(sum(w * made.value(row)[cut] for w, row in zip(weights, rows, strict=True)))
        summed = mean + made.output(torch.cat(parts))
        expected.append(F.normalize(summed + made.network(made.last_norm(summed)), dim=-1))
    close(made(p, mask, x)[0], torch.stack(expected))


def test_the_image_acts_through_the_attention_alone():
    """With one prompt there is nothing to choose from but the prompt itself, so no image can come through."""
    made, (p, mask, x, _) = aggregator("attention"), references(prompts=1)
    close(made(p, mask, x)[0], made(p, mask, x.flip(0))[0])
    p, mask, x, _ = references()
    assert (made(p, mask, x)[0] - made(p, mask, x.flip(0))[0]).abs().max() > 1e-3


def test_a_vector_for_each_training_image():
    made, (p, mask, x, index) = aggregator("attention", "per_image"), references()
    close(made(p, mask, x, index)[0], made(p, mask, x.flip(0), index)[0])  # the image itself is not seen
    same = p[:1].expand_as(p)
    found = made(same, mask, x, index)[0]
    assert (found[0] - found[1]).abs().max() > 1e-3


def test_a_convex_aggregate_lies_among_its_prompts():
    made, (p, mask, x, index) = aggregator("convex"), references()
    found, attention = made(p, mask, x, index)
    rest = 1 - attention.sum(dim=1, keepdim=True)  # goes to the mean
    mixed = (attention[..., None] * p).sum(dim=1) + rest * p.mean(dim=1)
    close(found, F.normalize(mixed, dim=-1))
    assert (attention >= 0).all()
    assert (rest >= 0).all()


def test_a_random_prompt_is_one_of_those_that_count():
    made, (p, mask, x, index) = aggregator("random"), references()
    mask[:, 2:] = False
    torch.manual_seed(0)
    drawn = torch.stack([made(p, mask, x, index)[0] for _ in range(50)])
    hits = torch.isclose(drawn[:, :, None], p[None], atol=1e-6).all(dim=-1)  # (50, 3, 5)
    assert hits[:, :, :2].any(dim=-1).all()
    assert not hits[:, :, 2:].any()
    assert (hits[:, :, :2].float().mean(dim=0) > 0.2).all()  # both of them


def test_mean_and_reward():
    p, mask, x, _ = references()
    mask[0, 3:] = False
    close(mean_prompt(p, mask)[0], p[0, :3].mean(dim=0))
    cosines = torch.tensor([float(torch.cosine_similarity(a, b, dim=0)) for a, b in zip(x, p[:, 0], strict=True)])
    assert cosines.min() < 0 < cosines.max()
    close(clip_reward(x, p[:, 0], clipped=False), 2.5 * cosines.mean())
    close(clip_reward(x, p[:, 0], clipped=True), 2.5 * cosines.clamp(min=0).mean())


def test_entropy_of_attention():
    mask = torch.tensor([[True, True, True, True], [True, True, False, False], [True, False, False, False]])
    attention = torch.tensor([[0.1, 0.1, 0.1, 0.1], [0.9, 0.0, 0.0, 0.0], [0.5, 0.0, 0.0, 0.0]])
    close(relative_entropy(attention, mask), torch.tensor([1.0, 0.0, 0.0]))


def test_published_counts():
    generator, bottleneck = PromptGenerator(512), Projection(512, "bottleneck")
    assert count(*generator.parameters()) == 33_312  # 33k
    assert count(*generator.parameters(), *bottleneck.parameters()) == 82_464  # 82k
    assert count(*Projection(512, "residual").parameters()) == 49_152
    assert count(*Projection(512, "fc_relu").parameters()) == 524_800


@pytest.mark.parametrize("mode", ["bottleneck", "residual", "fc_relu"])
def test_projection_against_the_plain_one(mode, monkeypatch):
    torch.manual_seed(0)
    g = Projection(WIDTH, mode)
    for parameter in g.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    x, w, h = (
        F.normalize(torch.randn(7, WIDTH), dim=-1),
        F.normalize(torch.randn(4, WIDTH), dim=-1),
        torch.randn(7, WIDTH),
    )
    x.requires_grad_()

    def plain():
        rows = []
        for image, prompt in zip(x, h, strict=True):
            hidden = F.relu(g.first(torch.cat([w, prompt.expand_as(w)], dim=1)))
            made = hidden if mode == "fc_relu" else g.last(hidden)
            made = made + w if mode == "residual" else made
            rows.append(F.normalize(made, dim=-1) @ image)
        return torch.stack(rows)

    upstream = torch.randn(7, 4)
    expected = plain()
    wanted = torch.autograd.grad((expected * upstream).sum(), [*g.parameters(), x])
    for held in (2**22, 1):  # all at once, and image by image
        monkeypatch.setattr("acclimate.methods.aape.networks.HELD", held)
        found = g.cosines(x, w, h)
        close(found, expected, 1e-5)
        for ours, theirs in zip(
            torch.autograd.grad((found * upstream).sum(), [*g.parameters(), x]), wanted, strict=True
        ):
            close(ours, theirs, 1e-4)


@pytest.mark.parametrize("settings", [{"projection": "residual"}, {"projection": "none", "generator": "residual"}])
def test_residual_starts_from_zero_shot(world, settings):
    method, zero = make(world, "aape", **settings), make(world, "zero-shot")
    with torch.no_grad():
        close(method.eval().logits(whole(world.test)), zero.eval().logits(whole(world.test)), 1e-4)


def test_class_residual(world):
    """It starts where the default does, moves by its own rate, is one row a class, and leaves new classes alone."""
    plain = make(world, "aape", distillation_weight=0.0)
    method = make(world, "aape", distillation_weight=0.0, class_residual=True, residual_rate=7.0)
    batch = whole(world.test)
    with torch.no_grad():
        assert torch.equal(method.eval().logits(batch), plain.eval().logits(batch))
    (stage,) = stages_of(method.train())
    assert stage.parameters[-1] is method.residuals
    assert (stage.rates[-1], set(stage.rates[:-1])) == (7.0, {1.0})
    (gradient,) = torch.autograd.grad(sum(stage.loss(whole(world.train)).values()), [method.residuals])
    assert float(gradient.abs().sum()) > 0
    with torch.no_grad():
        torch.nn.init.normal_(method.residuals, std=0.3)
        method.eval().drop_kept()
        before = method.logits(batch)
        turned = [CLASSES[2], UNSEEN[0], CLASSES[0]]
        method.bind(turned)
        plain.bind(turned)
        close(method.logits(batch)[:, [2, 0]], before[:, [0, 2]])
        close(method.logits(batch)[:, 1], plain.logits(batch)[:, 1])


def test_class_residual_needs_a_projection():
    with pytest.raises(ConfigError, match="projection=none has none"):
        AAPEConfig(class_residual=True, projection="none")


def test_loss_by_hand(world):
    method, batch = make(world, "aape", aggregator="mean", distillation_weight=3.0), whole(world.train)
    method.prepare(FACTS)
    terms = method.loss(batch)
    x = F.normalize(batch.image_features, dim=-1)
    p = F.normalize(batch.reference_prompts, dim=-1)
    assert batch.reference_mask.all()  # the classes have as many each
    h = method.generator(x)
    wanted = F.normalize(p.mean(dim=1), dim=-1)
    close(terms["distillation"], 3.0 * (h - wanted).square().sum(dim=1).mean())
    close(terms["cross_entropy"], F.cross_entropy(method.logits(batch), batch.labels))
    assert "reward" not in terms
    close(terms["image_cosine"], (x * wanted).sum(dim=1).mean())


def test_gradients_stay_apart(world):
    """The reward reaches the aggregator alone, the other terms the networks that serve alone, none the backbone."""
    method = make(world, "aape")
    method.prepare(FACTS)
    torch.nn.init.normal_(method.aggregator.output.weight, std=0.1)  # zero at the start
    batch, aggregator = whole(world.train), list(method.aggregator.parameters())
    served = [*method.generator.parameters(), *method.projection.parameters()]
    terms = method.loss(batch)
    for name, reached, untouched in (
        ("reward", aggregator, served),
        ("distillation", served[:4], aggregator),
        ("cross_entropy", served, aggregator),
    ):
        kwargs = {"retain_graph": True, "allow_unused": True}
        assert all(gradient is None for gradient in torch.autograd.grad(terms[name], untouched, **kwargs))
        found = torch.autograd.grad(terms[name], reached, **kwargs)
        assert sum(float(gradient.abs().sum()) for gradient in found if gradient is not None) > 0
    assert not any(terms[name].requires_grad for name in ("image_cosine", "mean_cosine", "attention_entropy"))
    assert not any(parameter.requires_grad for parameter in world.backbone.model.parameters())


@pytest.mark.one_family
@pytest.mark.parametrize("settings", [{}, {"aggregator": "convex"}, {"aggregator": "mlp"}, {"query_mode": "per_image"}])
def test_the_aggregator_comes_nearer_to_the_images(world, settings):
    method = make(world, "aape", epochs=30, aggregator_lr=0.003, warmup_epochs=0, **settings)
    lines = learn(world, method, FACTS)
    assert lines[-2]["image_cosine"] > lines[0]["image_cosine"] + 0.005
    assert lines[-2]["reward"] < lines[0]["reward"]


@pytest.mark.one_family
def test_the_generator_comes_nearer_to_the_aggregate(world):
    method = make(world, "aape", epochs=60, warmup_epochs=0, lr=0.01, distillation_weight=5.0)
    lines = learn(world, method, FACTS)
    assert lines[-1]["stage"] == "prompts"
    assert lines[-1]["generated_cosine"] > 0.8
    assert lines[-2]["distillation"] < lines[0]["distillation"] / 4


def test_without_distillation_no_prompts_are_needed(world):
    method = make(world, "aape", distillation_weight=0.0, epochs=2)
    assert not method.inputs.training
    bare = whole(world.train).without("reference_prompts", "reference_mask")
    (stage,) = stages_of(method)
    assert set(stage.loss(bare)) == {"cross_entropy"}
    other = make(world, "aape", epochs=2)
    other.prepare(FACTS)
    close(other.loss(whole(world.train))["cross_entropy"], stage.loss(bare)["cross_entropy"])


def test_prediction_needs_no_prompts(world):
    method = make(world, "aape", epochs=2)
    learn(world, method, FACTS)
    assert method.aggregator is None
    assert not any("aggregator" in name for name in method.learned_state())
    assert "reference_prompts" not in whole(world.test)
    with torch.no_grad():
        assert method.logits(whole(world.test)).shape == (len(world.test), len(CLASSES))
        method.bind(UNSEEN)
        assert method.logits(whole(world.test)).shape == (len(world.test), len(UNSEEN))


def test_the_generated_prompt_alone(world):
    method = make(world, "aape", projection="none").eval()
    batch = whole(world.test)
    with torch.no_grad():
        h = F.normalize(method.generator(F.normalize(batch.image_features, dim=-1)), dim=-1)
        expected = world.backbone.logit_scale * h @ method.templates.T + world.backbone.logit_bias
        close(method.logits(batch), expected, 1e-4)
    assert method.learned_parameters() == count(*method.generator.parameters())


def test_two_stages_learn_the_same_aggregator(world):
    """Its gradient does not depend on the rest: a batch of all images leaves nothing else that could differ."""
    made = []
    for two_stage in (True, False):
        method = make(world, "aape", epochs=3, batch_size=18, two_stage=two_stage, warmup_epochs=0)
        stages = stages_of(method)
        assert [stage.name for stage in stages] == (["aggregator"] if two_stage else []) + ["aape", "prompts"]
        aggregator = method.aggregator
        fit(method, stages, world.train, context=FitContext(make_accelerator(torch.device("cpu"))))
        made.append(aggregator.state_dict())
    for name, tensor in made[0].items():
        close(tensor, made[1][name], 1e-4)


@pytest.mark.one_family
@pytest.mark.parametrize("settings", [{}, {"query_mode": "per_image"}, {"two_stage": True}])
def test_an_interrupted_run_goes_on(world, tmp_path, settings):
    def run(path, stop=None):
        method = make(world, "aape", epochs=4, batch_size=6, **settings)
        files = CheckpointFile(path)
        context = FitContext(make_accelerator(torch.device("cpu")), checkpoints=files, checkpoint_seconds=0.0)
        stages = list(stages_of(method))
        if stop is not None:
            steps, loss = iter(range(stop)), stages[0].loss

            def failing(batch):
                next(steps)
                return loss(batch)

            stages[0] = dataclasses.replace(stages[0], loss=failing)
        fit(method, stages, world.train, context=context)
        return method.learned_state()

    unbroken = run(None)
    with pytest.raises(StopIteration):
        run(tmp_path / "state", stop=5)
    resumed = run(tmp_path / "state")
    assert resumed.keys() == unbroken.keys()
    assert all(torch.equal(resumed[name], unbroken[name]) for name in unbroken)


def test_a_limit_takes_the_first_prompts(world):
    few, cut = make(world, "aape", reference_limit=2), whole(world.train)
    all_of_them = make(world, "aape")
    for method in (few, all_of_them):
        torch.manual_seed(0)
        method.prepare(FACTS)
    prompts = Batch(reference_prompts=cut.reference_prompts[:, :2], reference_mask=cut.reference_mask[:, :2])
    shorter = prompts | cut
    close(few.aggregate(cut)[0], all_of_them.aggregate(shorter)[0])


def test_what_is_left_of_the_prompts_is_watched(world, caplog):
    method = make(world, "aape", epochs=1)
    method.prepare(FACTS)
    torch.nn.init.constant_(method.aggregator.output.bias, 100.0)  # drowns all that the prompts say
    journal = Journal()
    context = FitContext(make_accelerator(torch.device("cpu")), journal=journal)
    with caplog.at_level("WARNING", "acclimate"):
        fit(method, method.stages(FACTS), world.train, context=context)
    assert "little of what the sentences say is left" in caplog.text
    assert "aggregator=convex" in caplog.text
    assert journal.lines[-1]["mean_cosine"] < 0.5


def test_rates():
    with pytest.raises(ConfigError, match="lr=0 leaves the aggregator no learning rate"):
        AAPEConfig(lr=0.0)
    assert AAPEConfig(lr=0.0, aggregator_lr=0.0).lr == 0


def test_learning_rates_of_the_groups(world):
    method = make(world, "aape", lr=0.01, aggregator_lr=0.002)
    stage = stages_of(method)[0]
    aggregator = len(list(method.aggregator.parameters()))
    assert stage.rates == [pytest.approx(0.2)] * aggregator + [1.0] * (len(stage.parameters) - aggregator)
    assert stage.epochs == 200
    assert method.stages(TrainingFacts(images=3, shots=1))[0].epochs == 50
