"""Adapters change the language model while they are on, and nothing otherwise."""

from __future__ import annotations

import copy
import gc
import pickle
import threading
import weakref

import pytest
import torch

from acclimate.backbones import load_vlm
from acclimate.errors import BackboneError
from tests.helpers.tensors import close
from tests.helpers.waiting import HANG


def batch(pair):
    vlm = pair.vlm
    asked = [vlm.conversation("what is it?", "a dog"), vlm.conversation("which land use is this?", "bare land")]
    return asked, vlm.encode(pair.pixels(2), ["image_tokens"])["image_tokens"]


def moved(adapter, seed=0):
    """An adapter that changes something."""
    generator = torch.Generator().manual_seed(seed)
    for name, weight in adapter.named_parameters():
        if name.endswith(".b"):
            weight.data = 0.2 * torch.randn(weight.shape, generator=generator)
    return adapter


def test_a_new_one_changes_nothing_and_a_trained_one_only_while_it_is_on(pair):
    asked, images = batch(pair)
    before = pair.vlm.response_logits(asked, images)
    names = [name for name, _ in pair.vlm.model.named_modules()]
    adapter = pair.vlm.adapter(2, 4.0, 0.0)
    assert [name for name, _ in pair.vlm.model.named_modules()] == names
    with adapter.on():
        assert torch.equal(pair.vlm.response_logits(asked, images), before)
    moved(adapter)
    with adapter.on():
        during = pair.vlm.response_logits(asked, images)
    assert (during - before).abs().max() > 1e-3
    assert torch.equal(pair.vlm.response_logits(asked, images), before)
    assert torch.equal(pair.vlm.encode(pair.pixels(2), ["image_tokens"])["image_tokens"], images)


def test_it_trains_itself_and_nothing_else(pair):
    asked, images = batch(pair)
    adapter = moved(pair.vlm.adapter(2, 4.0))
    with adapter.on():
        trained = {id(weight) for weight in pair.vlm.model.parameters() if weight.requires_grad}
        inside = {id(weight) for weight in pair.vlm.language_model.parameters() if weight.requires_grad}
        pair.vlm.response_logits(asked, images).square().mean().backward()
    assert trained == inside == {id(weight) for weight in adapter.parameters()}
    assert all(weight.grad is not None and weight.grad.abs().sum() > 0 for weight in adapter.parameters())
    assert not any(weight.requires_grad for weight in pair.vlm.model.parameters())


def test_all_linear_layers_of_the_language_model_under_stable_names(pair):
    names = set(pair.vlm.adapter(2, 4.0).state_dict())
    layers = {name.rpartition(".")[0] for name in names}
    assert "layers.0.self_attn.q_proj.a" in names
    wanted = {"self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj", "self_attn.o_proj"}
    wanted |= {"mlp.gate_proj", "mlp.up_proj", "mlp.down_proj"}
    assert layers == {f"layers.{i}.{name}" for i in range(2) for name in wanted}
    few = pair.vlm.adapter(3, 6.0, targets=("q_proj", "v_proj"))
    assert {name.split(".")[-2] for name in few.state_dict()} == {"q_proj", "v_proj"}
    assert few.state_dict()["layers.1.self_attn.v_proj.a"].shape == (3, pair.vlm.token_width)


def test_the_change_is_alpha_over_rank_times_b_a(llava):
    vlm, (asked, images) = llava.vlm, batch(llava)
    adapter = moved(vlm.adapter(2, 6.0, targets="down_proj"))
    with adapter.on():
        ours = vlm.response_logits(asked, images)
    other = load_vlm(llava.folder)
    with torch.no_grad():
        for name, layer in other.language_model.named_modules():
            if name.endswith("down_proj"):
                values = adapter.state_dict()
                layer.weight += 3.0 * values[f"{name}.b"] @ values[f"{name}.a"]
    close(other.response_logits(asked, images), ours, 1e-4)


def test_several_adapters_on_one_backbone(llava):
    vlm, (asked, images) = llava.vlm, batch(llava)
    first, second = moved(vlm.adapter(2, 4.0), 1), moved(vlm.adapter(4, 4.0, targets="q_proj"), 2)
    with first.on():
        alone = vlm.response_logits(asked, images)
        with second.on():
            both = vlm.response_logits(asked, images)
        assert torch.equal(vlm.response_logits(asked, images), alone)
    assert not torch.equal(both, alone)
    del second
    with first.on():
        assert torch.equal(vlm.response_logits(asked, images), alone)


def test_dropout_is_its_own_switch(llava):
    vlm, (asked, images) = llava.vlm, batch(llava)
    adapter = moved(vlm.adapter(2, 4.0, 0.5))
    with adapter.on():
        assert not torch.equal(vlm.response_logits(asked, images), vlm.response_logits(asked, images))
        adapter.eval()
        assert torch.equal(vlm.response_logits(asked, images), vlm.response_logits(asked, images))
    assert not any(module.training for module in vlm.model.modules())
    with adapter.train().on():
        assert [name for name, module in vlm.model.named_modules() if module.training]
        assert all("lora_" in name for name, module in vlm.model.named_modules() if module.training and "lora" in name)


def test_threads_do_not_see_each_others_adapters(llava):
    vlm, (asked, images) = llava.vlm, batch(llava)
    plain = vlm.response_logits(asked, images)
    adapters = [moved(vlm.adapter(2, 4.0), seed) for seed in range(3)]
    wanted = []
    for adapter in adapters:
        with adapter.on():
            wanted.append(vlm.response_logits(asked, images))
    wrong = []

    def work(index):
        for _ in range(4):
            if index == 3:
                found, right = vlm.response_logits(asked, images), plain
            else:
                with adapters[index].on():
                    found, right = vlm.response_logits(asked, images), wanted[index]
            if not torch.allclose(found, right, atol=1e-5):
                wrong.append(index)

    threads = [threading.Thread(target=work, args=(index,)) for index in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_images_are_encoded_while_an_adapter_is_on_elsewhere(llava):
    """A feed's thread does, while the step that waits for it has its adapter on."""
    done = []
    with llava.vlm.adapter(2, 4.0).on():
        thread = threading.Thread(target=lambda: done.append(batch(llava)), daemon=True)
        thread.start()
        thread.join(HANG)
        assert done


def test_an_error_within_switches_it_off(llava):
    vlm, (asked, images) = llava.vlm, batch(llava)
    before = vlm.response_logits(asked, images)
    with pytest.raises(ZeroDivisionError), moved(vlm.adapter(2, 4.0)).on():
        _ = 1 / 0
    assert torch.equal(vlm.response_logits(asked, images), before)


def test_the_backbone_does_not_keep_it(llava):
    adapter = llava.vlm.adapter(2, 4.0)
    gone = weakref.ref(adapter)
    with adapter.on():
        pass
    del adapter
    gc.collect()
    assert gone() is None


def test_copies_and_pickles_have_its_values_and_share_the_backbone(llava):
    vlm, (asked, images) = llava.vlm, batch(llava)
    adapter = moved(vlm.adapter(2, 4.0)).eval()
    with adapter.on():
        wanted = vlm.response_logits(asked, images)
    data = pickle.dumps(adapter)
    assert len(data) < 100_000
    for other in (copy.deepcopy(adapter), pickle.loads(data)):
        assert other.backbone is vlm
        for weight in adapter.parameters():
            weight.data += 1
        with other.on():
            assert torch.equal(vlm.response_logits(asked, images), wanted)
        for weight in adapter.parameters():
            weight.data -= 1


def test_saved_values_give_the_same_logits(pair):
    asked, images = batch(pair)
    adapter, other = moved(pair.vlm.adapter(2, 4.0)), pair.vlm.adapter(2, 4.0)
    other.load_state_dict(adapter.state_dict())
    with adapter.on():
        wanted = pair.vlm.response_logits(asked, images)
    with other.on():
        assert torch.equal(pair.vlm.response_logits(asked, images), wanted)


def test_bad_settings(llava):
    with pytest.raises(BackboneError, match=r"rank=0 .* at least 1"):
        llava.vlm.adapter(0, 1.0)
    with pytest.raises(BackboneError, match="targets='fc1' is no linear layer of the language model; choose 'all-l"):
        llava.vlm.adapter(2, 4.0, targets=["q_proj", "fc1"])
