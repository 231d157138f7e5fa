"""VITask and vanilla instruction tuning on a tiny LLaVA: branches, losses, what is trained when, and what is kept."""

from __future__ import annotations

import math
from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch
from torch.nn import functional as F

from acclimate.errors import BackboneError, ConfigError
from acclimate.methods.parts.lessons import Visual
from acclimate.prompts import PromptSet
from acclimate.training.batch import Batch
from acclimate.training.feeding import evaluation_feed
from acclimate.training.inputs import Given
from tests.helpers.methods import CLASSES, FACTS, descend, make, some, stages_of, whole
from tests.helpers.tensors import close

SMALL = {"rank": 2, "dropout": 0.0, "epochs": 2, "lr": 0.02}


@pytest.fixture(scope="module")
def world(worlds):
    return worlds("llava")


@pytest.fixture(scope="module")
def batch(world):
    return some(world.train, 6)


def moved(method):
    """The method with an adapter that changes something, as after training."""
    with torch.no_grad():
        for name, parameter in method.adapter.named_parameters():
            if name.endswith(".b"):
                parameter.normal_(0, 0.2)
    return method


def vitask(world, **settings):
    return moved(make(world, "vitask", **SMALL, **settings))


def plain_loss(method, batch, features=None, tokens=None):
    """The logits of each response by a pass of its own, and its token ids."""
    found = []
    for row, label in enumerate(batch.labels.tolist()):
        exemplars = None if features is None else method.connector(features[row : row + 1])[:, None]
        count = 0 if exemplars is None else 1
        conversation = method.conversation(label, exemplars=count)
        images = (batch.image_tokens if tokens is None else tokens)[row : row + 1]
        with method.tuned():
            logits = method.backbone.response_logits([conversation], images, exemplars)
        found.append((logits, conversation.ids[conversation.response]))
    return found


def mean(losses):
    return torch.stack(losses).mean()


def test_the_exemplar_changes_the_answer_and_another_feature_changes_it_again(world, batch):
    method = vitask(world).eval()
    plain, own = method.ablations()["without exemplar"], method.logits(batch)
    with plain:
        without = method.logits(batch)
    other = method.connector(batch.domain_features.roll(1, 0))[:, None]
    with method.tuned():
        asked = [method.conversation(exemplars=1)] * len(batch)
        swapped, _ = method.backbone.score(asked, method.answers, batch.image_tokens, other)
    assert (own - without).abs().max() > 1e-3
    assert (own - swapped).abs().max() > 1e-4
    assert torch.equal(method.logits(batch), own)  # and it is back


def test_the_terms_are_those_of_the_plain_way(world, batch):
    """Three passes for each image of its own against two for the batch."""
    method = vitask(world, rda=0.7, crt=0.3).eval()
    terms = method.loss(batch, contrasted=True)
    plain = plain_loss(method, batch)
    shown = plain_loss(method, batch, batch.domain_features)
    other = plain_loss(method, batch, tokens=batch.negative_tokens)
    close(terms["vanilla"], mean([F.cross_entropy(z, y) for z, y in plain]))
    close(terms["exemplar"], mean([F.cross_entropy(z, y) for z, y in shown]))
    divergences = []
    for (z, _), (e, _) in zip(plain, shown, strict=True):
        p, q = z.log_softmax(-1), e.log_softmax(-1)
        divergences.append((p.exp() * (p - q)).sum(-1).mean())
    close(terms["alignment"], 0.7 * mean(divergences))
    contrasts = [F.cross_entropy(z - n, y) for (z, y), (n, _) in zip(plain, other, strict=True)]
    close(terms["contrast"], 0.3 * mean(contrasts), 1e-4)


def test_gradients_are_those_of_the_plain_way(world, batch):
    method = vitask(world, crt=0.3).eval()
    parameters = list(method.parameters())
    sum(method.loss(batch, contrasted=True).values()).backward()
    ours = [parameter.grad.clone() for parameter in parameters]
    method.zero_grad()
    plain, shown = plain_loss(method, batch), plain_loss(method, batch, batch.domain_features)
    other = plain_loss(method, batch, tokens=batch.negative_tokens)
    total = mean([F.cross_entropy(z, y) for z, y in plain]) + mean([F.cross_entropy(z, y) for z, y in shown])
    for (z, _), (e, _) in zip(plain, shown, strict=True):
        p, q = z.log_softmax(-1), e.detach().log_softmax(-1)
        total = total + (p.exp() * (p - q)).sum(-1).mean() / len(batch)
    total = total + 0.3 * mean([F.cross_entropy(z - n, y) for (z, y), (n, _) in zip(plain, other, strict=True)])
    total.backward()
    for mine, parameter in zip(ours, parameters, strict=True):
        close(mine, parameter.grad, 1e-4)


def test_the_alignment_gives_the_connector_no_gradient(world, batch):
    for detach, moves in ((True, False), (False, True)):
        method = vitask(world, rda_detach=detach)
        gradients = torch.autograd.grad(
            method.loss(batch)["alignment"], list(method.connector.parameters()), allow_unused=True
        )
        assert any(gradient is not None and gradient.abs().sum() > 0 for gradient in gradients) == moves


def test_the_contrast_with_the_same_image_is_the_logarithm_of_the_vocabulary(world, batch):
    method = vitask(world, crt=1.0).eval()
    same = SimpleNamespace(**{**vars(batch), "negative_tokens": batch.image_tokens})
    same = type(batch)(**{name: value for name, value in vars(same).items() if name != "reader"})
    found = method.loss(same, contrasted=True)["contrast"]
    assert found.item() == pytest.approx(math.log(world.backbone.vocabulary), rel=1e-5)


def test_what_is_trained_in_which_stage(world):
    first, second = stages_of(vitask(world))
    method_parameters = len(list(vitask(world).adapter.parameters()))
    assert len(second.parameters) == method_parameters
    assert len(first.parameters) == method_parameters + 6  # normalisation and two layers
    assert (first.epochs, second.epochs) == (1, 1)


def test_the_second_stage_leaves_the_connector_alone(world):
    method = make(world, "vitask", **SMALL)
    first, second = stages_of(method)
    descend(method, [first], world.train)
    before = {name: value.clone() for name, value in method.learned_state().items()}
    lines = descend(method, [second], world.train)
    after = method.learned_state()
    assert "contrast" in lines[0]
    for name, value in before.items():
        assert torch.equal(after[name], value) == name.startswith("connector.")


def test_everything_off_is_vanilla_tuning(world):
    off = make(world, "vitask", **SMALL, exemplar="none", rda=0.0, crt=0.0)
    vanilla = make(world, "instruct", **SMALL)
    assert off.inputs == vanilla.inputs
    assert off.ablations() == {}
    for method in (off, vanilla):
        stages = stages_of(method)
        for stage, name in zip(stages, ("one", "two"), strict=True):
            object.__setattr__(stage, "name", name)  # which seeds the order
        descend(method, stages, world.train)
    one, two = off.learned_state(), vanilla.learned_state()
    assert one.keys() == two.keys()
    assert all(torch.equal(one[name], two[name]) for name in one)


def test_without_a_domain_encoder_it_predicts_bit_for_bit_as_without_exemplar(world):
    method = vitask(world).eval()
    state = method.learned_state()
    alone = SimpleNamespace(**{**vars(world), "domain_encoder": None})
    bare = make(alone, "vitask", **SMALL)
    bare.load_learned_state(state)
    bare.eval()
    test = whole(world.test)
    with method.plain():
        expected = method.logits(test)
    assert torch.equal(bare.logits(test.without("domain_features")), expected)
    kept = bare.learned_state()
    assert kept.keys() == state.keys()  # the connector is kept for who saves it again
    assert all(torch.equal(kept[name], state[name]) for name in state)


def test_new_classes_need_no_training(world):
    method = vitask(world).eval()
    test = whole(world.test)
    before = method.logits(test)
    method.bind(("bare land", "storage tank", "cat"))
    assert method.answers == ("bare land", "storage tank", "cat")
    assert method.logits(test).shape == (len(test), 3)
    assert "bare land; cat; storage tank" in method.asked(training=False)
    method.bind(CLASSES)
    assert torch.equal(method.logits(test), before)


@pytest.mark.parametrize(
    ("where", "asked", "learned"), [("always", True, True), ("training", False, True), ("never", False, False)]
)
def test_where_the_labels_are_listed(world, where, asked, learned):
    method = make(world, "instruct", rank=1, label_list=where)
    listed = "The possible answers are: cat; dog; river."
    assert (listed in method.asked(training=False)) == asked
    assert (listed in method.asked(training=True)) == learned


@pytest.mark.parametrize("exemplar", ["learned", "none", "shuffled"])
def test_controls(world, batch, exemplar):
    method = moved(make(world, "vitask", **SMALL, exemplar=exemplar, exemplar_tokens=2))
    reads = "domain_features" in method.inputs.prediction
    assert reads == (exemplar == "shuffled")
    terms = method.loss(batch if reads else batch.without("domain_features"), contrasted=True)
    assert ("exemplar" in terms) == (exemplar != "none")
    assert all(term.isfinite() for term in terms.values())
    if exemplar == "learned":
        assert method.connector.tokens.shape == (2, world.backbone.token_width)
    if exemplar == "shuffled":
        own = vitask(world, exemplar="cls")
        own.load_learned_state(method.learned_state())
        assert terms["exemplar"] != own.loss(batch)["exemplar"]
        assert terms["vanilla"] == own.loss(batch)["vanilla"]


@pytest.mark.parametrize("exemplar", ["patches", "replace"])
def test_patches_as_exemplars(world, exemplar):
    given = Given(world.backbone, world.domain_encoder)
    method = moved(make(world, "vitask", **SMALL, exemplar=exemplar, crt=0.0))
    assert method.inputs.prediction == {"image_tokens", "domain_tokens"}
    batch = some(evaluation_feed(method.inputs.all, world.data.train, given), 6)
    count = world.domain_encoder.patches
    shown = method.with_exemplar(batch)
    assert (shown.count, shown.image_tokens) == ((count, None) if exemplar == "patches" else (0, count))
    terms = method.loss(batch)
    assert all(term.isfinite() for term in terms.values())
    gradients = torch.autograd.grad(terms["exemplar"], list(method.connector.parameters()))
    assert all(gradient.abs().sum() > 0 for gradient in gradients)
    method.eval()
    with method.plain():
        without = method.logits(batch)
    assert (method.logits(batch) - without).abs().max() > 1e-3


def test_an_encoder_without_patches(world):
    bare = SimpleNamespace(width=8, widths={"domain_features": 8}, name="x", family="convnext")
    other = SimpleNamespace(**{**vars(world), "domain_encoder": bare})
    with pytest.raises(
        ConfigError, match=r"exemplar=patches needs a domain encoder with a token for each patch, and 'x'"
    ):
        make(other, "vitask", rank=1, exemplar="patches")


@pytest.mark.parametrize("exemplar", ["patches", "replace", "none"])
def test_no_contrast_of_exemplars_where_other_images_have_none(world, exemplar):
    with pytest.raises(ConfigError, match=f"which exemplar={exemplar} does not give; use crt_branch=plain"):
        make(world, "vitask", rank=1, exemplar=exemplar, crt_branch="exemplar")
    make(world, "vitask", rank=1, exemplar=exemplar, crt_branch="exemplar", crt=0.0)


def test_contrast_of_the_tokens_in_which_labels_differ(world, batch):
    method = vitask(world, crt=1.0, crt_tokens="label")
    method.bind(("a red cat", "a red dog", "a red river"))
    ids = [method.conversation(label) for label in range(3)]
    ends = method._alike(method.asked(training=True))
    for answer, conversation in zip(method.answers, ids, strict=True):
        response, mask = conversation.ids[conversation.response], method._distinct(answer, *ends)
        kept = method.backbone.tokenizer.decode(response[mask].tolist()).split()
        assert len(kept) == 1
        assert kept[0] in ("cat", "dog", "river")
    assert method.loss(batch, contrasted=True)["contrast"].isfinite()


def test_images_that_have_no_negative_are_not_contrasted(world, batch):
    method = vitask(world, crt=1.0).eval()
    fields = {name: value for name, value in vars(batch).items() if name != "reader"}
    some_mask = torch.tensor([True, False, True, False, True, False])
    masked = type(batch)(**{**fields, "negative_mask": some_mask})
    part = type(batch)(**{name: value[some_mask] for name, value in fields.items()})
    close(method.loss(masked, contrasted=True)["contrast"], method.loss(part, contrasted=True)["contrast"])
    none = type(batch)(**{**fields, "negative_mask": torch.zeros(6, dtype=torch.bool)})
    assert "contrast" not in method.loss(none, contrasted=True)


def test_the_scores_are_log_probabilities_of_the_answers(world, batch):
    method = vitask(world).eval()
    found = method.logits(batch)
    for row in range(2):
        for label in range(len(CLASSES)):
            one = batch.image_tokens[row : row + 1]
            exemplar = method.connector(batch.domain_features[row : row + 1])[:, None]
            conversation = method.conversation(label, exemplars=1)
            with method.tuned(), torch.no_grad():
                z = method.backbone.response_logits([conversation], one, exemplar).log_softmax(-1)
            ids = conversation.ids[conversation.response]
            assert found[row, label].item() == pytest.approx(z.gather(1, ids[:, None]).sum().item(), abs=1e-3)
    lengths = torch.tensor([int(method.conversation(label).response.sum()) for label in range(3)])
    by_length = moved(make(world, "vitask", **SMALL, normalise="length")).eval()
    by_length.load_learned_state(method.learned_state())
    close(by_length.logits(batch), found / lengths)


def test_written_answers_and_likelihoods_of_others(world, batch):
    method = vitask(world).eval()
    longest = max(int(method.conversation(label).response.sum()) for label in range(len(CLASSES)))
    written = method.write(batch)
    assert written == method.generate(batch, [method.asked(training=False)] * len(batch), longest + 2)
    assert all(len(method.backbone.tokenizer.plain(text)) <= longest + 2 for text in written)
    asked = [method.asked(training=False), "what is it?"]
    few = type(batch)(**{name: value[:2] for name, value in vars(batch).items() if name != "reader"})
    found = method.log_likelihood(few, asked, [list(method.answers)] * 2)
    close(found[0], method.logits(few)[0], 1e-3)
    assert found.shape == (2, 3)


def test_classes_that_cannot_be_answered_are_refused_before_anything_is_learned(world):
    method = make(world, "instruct", rank=1, label_list="never")
    with pytest.raises(ConfigError, match=r"class '<image>': the response .* write it otherwise, with `names`"):
        method.bind(("dog", "<image>"))
    with pytest.raises(BackboneError, match="of them the response"):
        method.bind(("dog", "lo " * world.backbone.context_length))


def test_more_exemplars_than_there_is_room_for_are_counted_in_the_message(world, batch):
    method = make(world, "vitask", **SMALL, exemplar="learned", exemplar_tokens=500)
    with pytest.raises(BackboneError, match=r"500 of them behind it.*take fewer visual tokens"):
        method.loss(batch.without("domain_features"))


def test_an_instruction_of_nothing_but_the_list_needs_the_list(world):
    assert make(world, "instruct", rank=1, instruction="{labels}?").asked(training=False) == "cat; dog; river?"
    with pytest.raises(ConfigError, match=r"asks nothing where label_list=training"):
        make(world, "instruct", rank=1, instruction="{labels}?", label_list="training")


def test_two_classes_that_read_the_same_are_refused(world):
    prompts = PromptSet("natural", overrides={"cat": "animal", "dog": "animal"})
    with pytest.raises(ConfigError, match=r"'cat' and 'dog' both read 'animal'.*`names`"):
        make(world, "instruct", prompts=prompts, rank=1)


def test_a_dual_encoder_is_refused_and_the_reverse(worlds, world):
    with pytest.raises(ConfigError, match=r"is a dual encoder, and vitask adapts a generative VLM, such as mini-vlm"):
        make(worlds("clip"), "vitask")
    with pytest.raises(ConfigError, match=r"is a generative VLM, and coop adapts a dual encoder, such as mini-clip"):
        make(world, "coop")


def test_views_of_several_kinds_run_together_as_alone(world, batch):
    method = vitask(world).eval()
    one, two = Visual(batch.image_tokens), Visual(batch.negative_tokens)
    both = method.respond(batch, one, two)
    with torch.no_grad():
        close(both, torch.cat([method.respond(batch, one), method.respond(batch, two)]))


def test_stages_are_prepared_for_so_many_images(world):
    method = make(world, "vitask", rank=1)
    epochs = [stage.epochs for stage in method.stages(FACTS)]
    assert sum(epochs) == 48  # of 18 images in three classes, three steps each
    assert method.config.passes(18) == method.config.passes(18, 2) == (20, 20)
    assert method.config.passes(8 * 1000) == (1, 1)


def test_every_step_learns(world):
    """Also the only one of a stage; and the settings of the warm-up mean something."""
    config = make(world, "instruct", rank=1, lr=0.01).config
    rates = [config.learning_rate(step / 10, 10) for step in range(100)]
    assert rates[0] == pytest.approx(0.001)
    assert max(rates) == pytest.approx(0.01)
    assert 0 < rates[-1] < 1e-5
    assert rates[3:] == sorted(rates[3:], reverse=True)
    constant = make(world, "instruct", rank=1, lr=0.01, warmup="constant", warmup_lr=0.002, warmup_epochs=2).config
    assert [constant.learning_rate(epoch, 10) for epoch in (0, 1.9)] == [0.002, 0.002]
    assert constant.learning_rate(2, 10) == pytest.approx(0.01)
    method = make(world, "instruct", rank=1, epochs=2, batch_size=18, lr=0.01, second_stage=0.0)
    before = {name: value.clone() for name, value in method.learned_state().items()}
    descend(method, stages_of(method)[:1], world.train)
    assert any(not torch.equal(value, before[name]) for name, value in method.learned_state().items())


def with_connector(world, name="vitask", **settings):
    """A method that learns the connector too, and the training images as it reads them."""
    method = moved(make(world, name, **SMALL, vlm_connector="trained", **settings))
    given = Given(world.backbone, world.domain_encoder)
    return method, evaluation_feed(method.inputs.all, world.data.train, given)


@pytest.mark.parametrize("name", ["instruct", "vitask"])
def test_a_learned_connector_changes_nothing_before_it_has_learned(world, name):
    """Negatives and exemplars go through it, too."""
    more = {"crt": 0.5} if name == "vitask" else {}
    torch.manual_seed(0)
    learned, feed = with_connector(world, name, **more)
    frozen = make(world, name, **SMALL, **more)
    adapter = {key: tensor for key, tensor in learned.learned_state().items() if not key.startswith("vlm_connector.")}
    frozen.load_learned_state(adapter)
    index = torch.arange(0, len(feed), 3)
    batch = feed.batch(index)
    plain = evaluation_feed(frozen.inputs.all, world.data.train, Given(world.backbone, world.domain_encoder))
    how = {"contrasted": True} if name == "vitask" else {}
    ours, theirs = learned.eval().loss(batch, **how), frozen.eval().loss(plain.batch(index), **how)
    assert ours.keys() == theirs.keys()
    for term, value in theirs.items():
        close(ours[term], value)
    pixels = evaluation_feed(
        {"pixels", "domain_features"}, world.data.train, Given(world.backbone, world.domain_encoder)
    )
    shown = pixels.batch(index)
    once = Batch(**world.backbone.encode(shown.pixels, {"image_tokens", "vision_tokens"})) | shown
    assert torch.equal(learned.logits(once), frozen.logits(once))


def test_a_learned_connector_learns_and_the_backbone_does_not(world):
    method, feed = with_connector(world, crt=0.5)
    weights = {name: tensor.clone() for name, tensor in world.backbone.model.state_dict().items()}
    before = {name: tensor.clone() for name, tensor in method.vlm_connector.state_dict().items()}
    stages = stages_of(method)
    for stage in stages:
        numbers = {id(one) for one in stage.parameters}
        assert {id(one) for one in method.vlm_connector.parameters()} <= numbers
        rates = dict(zip(map(id, stage.parameters), stage.rates, strict=True))
        assert {rates[id(one)] for one in method.vlm_connector.parameters()} == {0.1}
    lines = descend(method, stages, feed)
    assert "contrast" in lines[-1]
    after = method.vlm_connector.state_dict()
    assert all(not torch.equal(tensor, before[name]) for name, tensor in after.items())
    assert all(torch.equal(tensor, weights[name]) for name, tensor in world.backbone.model.state_dict().items())
    state = {name: tensor.clone() for name, tensor in method.learned_state().items()}
    other = make(world, "vitask", **SMALL, vlm_connector="trained", crt=0.5, seed=9)
    other.load_learned_state(state)
    batch = whole(feed)
    assert torch.equal(other.eval().logits(batch), method.eval().logits(batch))
    probed = method.probed(batch)["connector"]
    assert probed.shape == (len(batch), world.backbone.token_width)
    close(probed, method.vlm_connector(batch.vision_tokens).mean(1))


def test_the_contrast_reaches_the_connector_through_both_images(world):
    """Of L_CRT alone, with the own image's logits and with the other's."""
    method, feed = with_connector(world, crt=0.5)
    batch = feed.batch(torch.arange(0, len(feed), 3))
    both = gradient(method, method.eval().loss(batch, contrasted=True)["contrast"])
    method.config = replace(method.config, crt_detach=True)
    own = gradient(method, method.loss(batch, contrasted=True)["contrast"])
    assert own > 0
    assert abs(both - own) > 1e-3 * own


def gradient(method, term):
    parameters = list(method.vlm_connector.parameters())
    return float(sum(one.square().sum() for one in torch.autograd.grad(term, parameters))) ** 0.5


def test_images_without_negative_count_in_no_share(world, batch):
    """The contrast of two shares, of which one has fewer images with a negative, makes that of the whole."""
    method = vitask(world, crt=0.5).eval()
    mask = torch.tensor([True, False, False, True, True, True])
    batch = Batch(negative_mask=mask) | batch
    parts = [Batch(**{name: tensor[rows] for name, tensor in batch._fields.items()}) for rows in ([0, 1, 2], [3, 4, 5])]
    counts = [method.counts(part)["contrast"] for part in parts]
    assert counts == [1, 3]
    assert method.counts(batch) == {"contrast": 4}
    terms = [method.loss(part, contrasted=True)["contrast"] for part in parts]
    close(
        sum(term * count / 4 for term, count in zip(terms, counts, strict=True)), method.loss(batch, True)["contrast"]
    )
