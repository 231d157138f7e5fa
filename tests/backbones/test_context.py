"""Learned contexts: every shortcut equals full-length padded sequences through transformers, gradients included."""

from __future__ import annotations

import logging

import pytest
import torch

from acclimate.backbones import LowRank, LowRankDeltas
from acclimate.backbones.families import ClipFamily
from acclimate.backbones.towers import class_sequences, make_layout
from acclimate.errors import BackboneError
from tests.helpers import plain
from tests.helpers.pairs import WORDS
from tests.helpers.tensors import close, noise

POSITIONS = ["end", "middle", "front"]


def per_class(context, per, image=0):
    """The context (C, n, D) of each class, for one image."""
    if context.ndim == 2:
        return context.expand(len(WORDS), -1, -1)
    return context if per == "class" else context[image].expand(len(WORDS), -1, -1)


def reference(pair, context, position, per, prompts=(), project=True):
    features = []
    for image in range(len(context) if per == "image" else 1):
        full = per_class(context, per, image)
        sequences, pool, slots = plain.context_sequences(pair.backbone, pair.plain, full, pair.names, position)
        deep = [per_class(vectors, per, image) for vectors in prompts]
        features.append(plain.text_features(pair.plain, sequences, pool, deep=deep, slots=slots, project=project))
    return torch.stack(features) if per == "image" else features[0]


def gradients(features, tensors):
    weights = torch.linspace(-1, 1, features.numel()).view_as(features) / features.shape[-1]
    return torch.autograd.grad((features * weights).sum(), tensors)


def compare(pair, context, position, per, prompts=(), **options):
    expected = reference(pair, context, position, per, prompts)
    actual = pair.backbone.encode_context(context, pair.names, position, list(prompts) or None, per=per, **options)
    close(actual, expected)
    tensors = [context, *prompts]
    for ours, theirs in zip(gradients(actual, tensors), gradients(expected, tensors), strict=True):
        close(ours, theirs)


@pytest.mark.parametrize("position", POSITIONS)
@pytest.mark.parametrize("per", ["shared", "class", "image"])
def test_context(pair, position, per):
    lead = {"shared": (), "class": (len(WORDS),), "image": (3,)}[per]
    compare(pair, noise(*lead, 3, pair.backbone.text_width), position, per)


@pytest.mark.parametrize("position", POSITIONS)
@pytest.mark.parametrize("per", ["shared", "class", "image"])
def test_deep_prompts(pair, position, per):
    lead = {"shared": (), "class": (len(WORDS),), "image": (3,)}[per]
    width, depth = pair.backbone.text_width, min(2, pair.backbone.text_layers - 1)
    prompts = [noise(*(lead if i else ()), 3, width, seed=i + 1) for i in range(depth)]
    compare(pair, noise(*lead, 3, width), position, per, prompts)


@pytest.mark.parametrize("max_tokens", [1, 9, 40])
@pytest.mark.parametrize("per", ["shared", "class", "image"])
def test_small_batches(pair, per, max_tokens):
    lead = {"shared": (), "class": (len(WORDS),), "image": (5,)}[per]
    width = pair.backbone.text_width
    prompts = [noise(*lead, 2, width, seed=1)][: pair.backbone.text_layers - 1]
    compare(pair, noise(*lead, 2, width), "middle", per, prompts, max_tokens=max_tokens)


def test_recomputed_activations(pair):
    compare(pair, noise(3, pair.backbone.text_width), "end", "shared", checkpoint=True)


def test_images_at_once_equal_images_one_by_one(clip):
    contexts = noise(5, 4, clip.backbone.text_width)
    together = clip.backbone.encode_context(contexts, clip.names, per="image")
    alone = [clip.backbone.encode_context(context, clip.names) for context in contexts]
    assert together.shape == (5, len(WORDS), clip.backbone.embed_dim)
    close(together, torch.stack(alone))


def test_before_projection(pair):
    context = noise(2, pair.backbone.text_width)
    actual = pair.backbone.encode_context(context, pair.names, project=False)
    close(actual, reference(pair, context, "end", "shared", project=False))


def test_the_layout_is_that_of_the_picture(clip):
    """The example at the top of `acclimate.backbones.towers`."""
    family, tokenizer = ClipFamily(clip.backbone.model), clip.backbone.tokenizer
    classes = clip.backbone.class_tokens(["cat", "bare land", "dog"])
    sequences = class_sequences(classes, 2, "end", tokenizer.lead, clip.backbone.context_length)
    layout = make_layout(family, tokenizer.pad_rows(sequences))
    assert [sequence[:3] for sequence in sequences] == [[*tokenizer.lead, -1, -2]] * 3
    assert layout.prefix.shape == (1, 3, clip.backbone.text_width)
    assert layout.context_positions.tolist() == [1, 2]
    (part,) = layout.parts
    assert part.base.shape == (10, clip.backbone.text_width)
    assert part.packing.grid_indices.tolist() == [0, 1, 2, 4, 5, 6, 7, 8, 9, 10]
    assert part.packing.end_rows.tolist() == [2, 6, 9]
    assert len(part.context_rows) == 0
    per_class = make_layout(family, tokenizer.pad_rows(sequences), per_class=True)
    assert per_class.prefix.shape[1] == 1  # SOS alone
    assert per_class.parts[0].context_rows.tolist() == [0, 1, 5, 6, 11, 12]


def test_one_class(clip):
    names = clip.backbone.class_tokens(["bare land"])
    context = clip.backbone.word_embeddings("a photo of a")
    close(clip.backbone.encode_context(context, names), clip.backbone.encode_text(["a photo of a bare land."]))


def test_no_class_is_refused(clip):
    with pytest.raises(BackboneError, match="at least one class"):
        clip.backbone.class_tokens([])


def test_other_classes_after_training(clip):
    context = noise(2, clip.backbone.text_width)
    both = clip.backbone.class_tokens(["river", *WORDS])
    close(clip.backbone.encode_context(context, both)[1:], clip.backbone.encode_context(context, clip.names))


def test_prepared_classes_serve_training_after_inference_mode(clip):
    names = clip.backbone.class_tokens(["river", "glacier"])
    context = noise(2, clip.backbone.text_width)
    with torch.inference_mode():
        clip.backbone.encode_context(context, names)
    clip.backbone.encode_context(context, names).sum().backward()
    assert context.grad.abs().sum() > 0


def test_low_rank_deltas_reach_prefix_and_classes(clip):
    width = clip.backbone.text_width
    delta = LowRank(noise(2, width, seed=1), noise(width, 2, seed=2, scale=0.1))
    deltas = LowRankDeltas([{"q": delta, "v": delta}] * clip.backbone.text_layers)
    context = clip.backbone.word_embeddings("a photo of a")
    whole = clip.backbone.encode_text([f"a photo of a {words}." for words in WORDS], deltas=deltas)
    close(clip.backbone.encode_context(context, clip.names, deltas=deltas), whole)
    assert (whole - clip.backbone.encode_text([f"a photo of a {words}." for words in WORDS])).abs().max() > 0.01


def test_class_names_too_long_are_cut(pair, caplog):
    names = pair.backbone.class_tokens(["cat", "large storage tanks of the mill " * 30])
    context = noise(2, pair.backbone.text_width)
    with caplog.at_level(logging.WARNING, "acclimate.backbones"):
        features = pair.backbone.encode_context(context, names)
    assert "1 class name is cut" in caplog.text
    assert features.isfinite().all()
    close(features[:1], pair.backbone.encode_context(context, pair.names)[:1])


def test_full_stop_that_merges_with_the_name(clip):
    names = clip.backbone.class_tokens(["etc."])
    context = clip.backbone.word_embeddings("a photo of")
    close(clip.backbone.encode_context(context, names), clip.backbone.encode_text(["a photo of etc.."]))


@pytest.mark.parametrize(
    ("shape", "options", "message"),
    [
        ((4, 3, 32), {}, "per='shared' takes"),
        ((2, 3, 32), {"per": "class"}, "4 classes"),
        ((3, 32), {"per": "image"}, "per='image' takes"),
        ((3, 31), {}, "D=32"),
        ((3, 32), {"per": "pixel"}, "choose shared"),
        ((3, 32), {"position": "top"}, "choose end"),
        ((3, 32), {"prompts": [torch.zeros(2, 32)]}, "deep prompt 0"),
        ((23, 32), {}, "no room"),
    ],
)
def test_shapes_that_do_not_fit_are_refused(clip, shape, options, message):
    with pytest.raises(BackboneError, match=message):
        clip.backbone.encode_context(torch.zeros(shape), clip.names, **options)
