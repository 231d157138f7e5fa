"""Conversations about one image run what they share once, and are answered as they would be alone."""

from __future__ import annotations

import shutil

import pytest
import torch

from acclimate.backbones import load_vlm
from acclimate.backbones.generative import sharing
from tests.helpers.tensors import close

ASKED = ["what is it?", "what is it made of: wood; stone?", "a cat?", "which kind of land use is it?", "x", "what?"]
SHOWN = [0, 1, 0, 2, 0, 1]


def case(vlm, k=0):
    draw = torch.Generator().manual_seed(3)
    side = vlm.image_size
    images = vlm.encode(torch.randn(3, 3, side, side, generator=draw), ["image_tokens"])["image_tokens"]
    more = torch.randn(3, k, vlm.token_width, generator=draw) if k else None
    return [vlm.conversation(text, exemplars=k) for text in ASKED], images, more


def each(values):
    return None if values is None else values[SHOWN]


def tokens_run(vlm, call):
    """How many tokens the language model reads in a call."""
    read = []
    hook = vlm.model.get_input_embeddings().register_forward_hook(lambda _, args, out: read.append(args[0].numel()))
    call()
    hook.remove()
    return sum(read)


@pytest.mark.parametrize("k", [0, 2])
def test_shared_equals_alone(pair, k):
    vlm = pair.vlm
    asked, images, more = case(vlm, k)
    alone = [
        vlm.generate([one], images[i : i + 1], None if more is None else more[i : i + 1], 6)[0]
        for one, i in zip(asked, SHOWN, strict=True)
    ]
    assert vlm.generate(asked, images, more, 6, SHOWN) == alone
    assert len(set(alone)) > 2
    answers = ["dog", "a large dog", "bare land"]
    plain, _ = vlm.score(asked, answers, each(images), each(more))
    close(vlm.score(asked, answers, images, more, SHOWN)[0], plain, 1e-5 * max(1.0, float(plain.abs().max())))


def test_states_of_a_shared_prefix(pair):
    """Logits of the first token of every answer, to 1e-5."""
    vlm = pair.vlm
    asked, images, _ = case(vlm)
    head = pair.plain.get_output_embeddings()
    states = (vlm.prompt_states(asked, each(images)), vlm.prompt_states(asked, images, shown=SHOWN))
    close(*(head(state.detach()) for state in states), 1e-5)


def test_fewer_tokens_run(pair):
    """Those of an image run once for all its questions, unless image and question see each other."""
    vlm = pair.vlm
    asked, images, _ = case(vlm)
    plain = tokens_run(vlm, lambda: vlm.generate(asked, each(images), max_new_tokens=1))
    shared = tokens_run(vlm, lambda: vlm.generate(asked, images, max_new_tokens=1, shown=SHOWN))
    assert shared == plain if vlm.family == "paligemma" else shared <= plain - 3 * vlm.image_tokens


def test_long_questions_run_in_several_rows(llava, monkeypatch):
    vlm = llava.vlm
    asked, images, _ = case(vlm)
    whole = vlm.generate(asked, images, max_new_tokens=3, shown=SHOWN)
    read = {}
    for most in (1, 15, 1024):
        monkeypatch.setattr(sharing, "PACKED", most)
        assert vlm.generate(asked, images, max_new_tokens=3, shown=SHOWN) == whole
        read[most] = tokens_run(vlm, lambda: vlm.generate(asked, images, max_new_tokens=1, shown=SHOWN))
    assert read[1] > read[15] > read[1024]


def test_an_image_behind_the_question_is_not_shared(llava, tmp_path):
    template = (
        "{{ bos_token }}{% for m in messages %}{% for c in m['content'] if c['type'] == 'text' %}{{ c['text'] }}"
        "{% endfor %}{% if m['role'] == 'user' %}<image>{% else %}{{ eos_token }}{% endif %}{% endfor %}"
    )
    folder = shutil.copytree(llava.folder, tmp_path / "last")
    (folder / "chat_template.jinja").write_text(template)
    last = load_vlm(folder)
    asked, images, _ = case(last)
    calls = (
        lambda: last.generate(asked, images, max_new_tokens=3, shown=SHOWN),
        lambda: last.generate(asked, each(images), max_new_tokens=3),
    )
    assert calls[0]() == calls[1]()
    assert tokens_run(last, calls[0]) == tokens_run(last, calls[1])
