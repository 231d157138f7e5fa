"""The tower runner: low-rank deltas, prompts for images, prefixes, packing and pooling, in several precisions."""

from __future__ import annotations

import copy

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from acclimate.backbones import LowRank, LowRankDeltas, NormChange
from acclimate.backbones.towers.changes import NORMS, PROJECTIONS, DeepPrompts
from acclimate.backbones.towers.packing import Packing
from acclimate.errors import BackboneError
from tests.helpers import plain
from tests.helpers.tensors import close, noise


def low_rank(linear, seed, s=True):
    rank, scale = 2, 0.5
    a = noise(rank, linear.in_features, seed=seed, scale=linear.in_features**-0.5)
    return LowRank(a, noise(linear.out_features, rank, seed=seed + 1), noise(rank, seed=seed + 2) if s else None, scale)


def merge(model, deltas, tower):
    """A copy of the model with the deltas added to its weights."""
    merged = copy.deepcopy(model)
    for index, layer in enumerate(deltas.layers):
        for name, delta in layer.items():
            linear = plain.part_of(plain.layers_of(getattr(merged, tower))[index], name)
            s = torch.ones(len(delta.a)) if delta.s is None else delta.s
            linear.weight.data += delta.scale * delta.b @ torch.diag(s) @ delta.a
    return merged


@pytest.mark.parametrize("s", [True, False])
def test_low_rank_deltas_equal_merged_weights(pair, s):
    backbone, pixels = pair.backbone, torch.randn(2, 3, pair.backbone.image_size, pair.backbone.image_size)
    ids = backbone.tokenize(["a photo of a cat.", "dog"])
    for tower, runner in (("text_model", pair.towers.text), ("vision_model", pair.towers.vision)):
        layers = [
            {name: low_rank(getattr(block, name), seed=10 * i + j, s=s) for j, name in enumerate(PROJECTIONS)}
            for i, block in enumerate(runner.blocks[:2])
        ]
        deltas = LowRankDeltas(layers)
        merged = merge(pair.plain, deltas, tower)
        if tower == "text_model":
            actual, expected = backbone.encode_text(ids, deltas=deltas), merged.get_text_features(ids)
        else:
            actual, expected = backbone.encode_image(pixels, deltas=deltas), merged.get_image_features(pixels)
        close(actual, expected.pooler_output, 5e-5)
        actual.sum().backward()
        for delta in (delta for layer in layers for delta in layer.values()):
            assert all(
                t.grad is not None and t.grad.abs().sum() > 0 for t in (delta.a, delta.b, delta.s) if t is not None
            )


def test_changes_of_norms_equal_changed_norms(pair):
    backbone, pixels = pair.backbone, torch.randn(2, 3, pair.backbone.image_size, pair.backbone.image_size)
    texts = ["a photo of a cat.", "a photo of a dog"]  # what they begin with runs once
    for tower in ("text", "vision"):
        width, merged = getattr(backbone, f"{tower}_width"), copy.deepcopy(pair.plain)
        norms = [
            {name: NormChange(noise(width, seed=4 * i + j), noise(width, seed=90 + 4 * i + j)) for j, name in places}
            for i, places in enumerate([list(enumerate(NORMS)), [(0, "norm2")]])
        ]
        for layer, entries in zip(plain.layers_of(getattr(merged, f"{tower}_model")), norms, strict=False):
            for name, change in entries.items():
                norm = plain.part_of(layer, name)
                norm.weight.data += change.weight
                norm.bias.data += change.bias
        deltas = LowRankDeltas(norms=norms)
        if tower == "text":
            ids = backbone.tokenize(texts)
            actual, before = (backbone.encode_text(ids, deltas=changes) for changes in (deltas, None))
            expected = merged.get_text_features(ids)
        else:
            actual, before = (backbone.encode_image(pixels, deltas=changes) for changes in (deltas, None))
            expected = merged.get_image_features(pixels)
        close(actual, expected.pooler_output, 5e-5)
        assert (actual - before).norm() > 0.1


def test_projections_and_norms_that_no_block_has():
    with pytest.raises(ValueError, match=r"no projection named .*'norm1'.*choose among q, k"):
        LowRankDeltas([{"norm1": None}])
    with pytest.raises(ValueError, match=r"no norm named .*'q'.*choose among norm1, norm2"):
        LowRankDeltas(norms=[{"q": None}])


@pytest.mark.parametrize("per_image", [True, False])
def test_image_prompts(pair, per_image):
    backbone, n = pair.backbone, 2
    lead = (3,) if per_image else ()
    depth = backbone.vision_layers
    prompts = [noise(*lead, n, backbone.vision_width, seed=i) for i in range(depth)]
    pixels = torch.randn(3, 3, backbone.image_size, backbone.image_size)
    expected = plain.image_features(pair.plain, pixels, prompts=[p.expand(3, -1, -1) for p in prompts])
    actual = backbone.encode_image(pixels, prompts)
    close(actual, expected)
    for ours, theirs in zip(
        torch.autograd.grad(actual.sum(), prompts), torch.autograd.grad(expected.sum(), prompts), strict=True
    ):
        close(ours, theirs, 5e-5)
    close(backbone.encode_image(pixels, prompts[:1]), plain.image_features(
        pair.plain, pixels, prompts=[prompts[0].expand(3, -1, -1)]
    ))  # fmt: skip
    close(backbone.encode_image(pixels, prompts, checkpoint=True), expected)


def test_image_prompts_that_do_not_fit_are_refused(clip):
    pixels = torch.randn(3, 3, 32, 32)
    with pytest.raises(BackboneError, match="image prompt 1"):
        clip.backbone.encode_image(pixels, [torch.zeros(2, 48), torch.zeros(3, 48)])


def test_unknown_projection_is_refused():
    with pytest.raises(ValueError, match=r"no projection named"):
        LowRankDeltas([{"w": LowRank(torch.zeros(1, 2), torch.zeros(2, 1))}])


@settings(max_examples=25, deadline=None)
@given(st.lists(st.integers(1, 6), min_size=1, max_size=6), st.integers(0, 4), st.integers(1, 3))
def test_prefix_and_packing_equal_whole_sequences(clip, lengths, before, groups):
    tower, width = clip.towers.text, clip.backbone.text_width
    lengths = lengths * groups
    each = len(lengths) // groups
    starts = [noise(before, width, seed=g) for g in range(groups)]
    rests = [noise(length, width, seed=100 + i) for i, length in enumerate(lengths)]
    whole = [torch.cat([starts[i // each], rest])[None] for i, rest in enumerate(rests)]
    cache = tower.cache_prefix(torch.stack(starts)) if before else None
    packing = Packing.of(lengths)
    x = torch.cat(rests)
    expected = [tower.run(x) for x in whole]
    close(tower.run(x, packing=packing, cache=cache), torch.cat([x[0, before:] for x in expected]))
    close(tower.run(x, packing=packing, cache=cache, pool=-1), torch.cat([x[:, -1] for x in expected]))


def test_repeated_packing():
    packing = Packing.of([2, 1, 3]).repeat(2)
    whole = Packing.of([2, 1, 3, 2, 1, 3])
    assert (packing.count, packing.length, packing.token_count) == (whole.count, whole.length, whole.token_count)
    for name in ("grid_indices", "end_rows", "end_positions"):
        assert torch.equal(getattr(packing, name), getattr(whole, name))


def test_pooled_position_equals_that_of_all_tokens(pair):
    for tower, width in (
        (pair.towers.text, pair.backbone.text_width),
        (pair.towers.vision, pair.backbone.vision_width),
    ):
        x = noise(3, 5, width)
        whole = tower.run(x)
        positions = torch.tensor([0, 4, 2])
        close(tower.run(x, pool=positions), whole[torch.arange(3), positions])
        close(tower.run(x, pool=1), whole[:, 1])
        close(tower.run(x, pool=-1), whole[:, -1])


def test_prompts_inside_a_prefix(clip):
    tower, width = clip.towers.text, clip.backbone.text_width
    start, rest = noise(1, 4, width), noise(3, 2, width, seed=1)
    vectors = [None, noise(2, width, seed=2), noise(1, 2, width, seed=3)]
    cache = tower.cache_prefix(start, prompts=DeepPrompts.within(start, vectors, 1))
    vectors[2] = vectors[2].expand(3, -1, -1)
    whole = torch.cat([start.expand(3, -1, -1), rest], dim=1)
    expected = tower.run(whole, prompts=DeepPrompts.within(whole, vectors, 1))[:, 4:]
    close(tower.run(rest, cache=cache), expected)


def test_what_needs_a_causal_tower_is_refused(clip):
    vision = clip.towers.vision
    x = torch.zeros(1, 3, clip.backbone.vision_width)
    with pytest.raises(ValueError, match="causal"):
        vision.cache_prefix(x)
    cache = clip.towers.text.cache_prefix(torch.zeros(1, 2, clip.backbone.text_width))
    with pytest.raises(ValueError, match="causal"):
        vision.run(x, cache=cache)


@settings(max_examples=25, deadline=None)
@given(st.lists(st.integers(1, 6), min_size=1, max_size=6))
def test_packing_equals_whole_sequences_where_tokens_see_all(clip, lengths):
    tower, packing = clip.towers.vision, Packing.of(lengths)
    rows = [noise(length, clip.backbone.vision_width, seed=i) for i, length in enumerate(lengths)]
    whole = [tower.run(row[None])[0] for row in rows]
    close(tower.run(torch.cat(rows), packing=packing), torch.cat(whole))
    close(tower.run(torch.cat(rows), packing=packing, pool=0), torch.stack([row[0] for row in whole]))
    close(tower.run(torch.cat(rows), packing=packing, pool=-1), torch.stack([row[-1] for row in whole]))


@pytest.mark.parametrize("per", ["shared", "image"])
def test_autocast(clip, per):
    context = noise(*((2,) if per == "image" else ()), 3, clip.backbone.text_width)
    prompts = [noise(3, clip.backbone.text_width, seed=1)]
    expected = clip.backbone.encode_context(context, clip.names, "middle", prompts, per=per)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        actual = clip.backbone.encode_context(context, clip.names, "middle", prompts, per=per)
        images = clip.backbone.encode_image(torch.randn(2, 3, 32, 32), [noise(2, 48)])
    assert images.isfinite().all()
    assert torch.nn.functional.cosine_similarity(actual.float(), expected, dim=-1).min() > 0.99
    actual.float().sum().backward()
    assert context.grad.isfinite().all()
    assert context.grad.dtype == torch.float32


def test_no_gradient_is_computed_for_weights(clip):
    context = noise(3, clip.backbone.text_width)
    clip.backbone.encode_context(context, clip.names).sum().backward()
    assert all(parameter.grad is None for parameter in clip.backbone.model.parameters())
