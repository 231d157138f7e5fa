"""How much the parts of an image count for an answer, against a plain computation with eager attention."""

from __future__ import annotations

import pytest
import torch

from acclimate.backbones.recording import recording
from acclimate.backbones.relevance import relevance
from tests.helpers.attention import rolled_out

ANSWER = "a big dog"
UNSEEN = ("llava_next", "llava_onevision", "paligemma2")  # no square of parts, or attention that is not torch's own


def tokens(pair, pixels):
    return pair.vlm.encode(pixels, ["image_tokens"])["image_tokens"]


def scored(pair, answers, pixels):
    """Scores of answers (A,), and what was recorded meanwhile."""
    seen = tokens(pair, pixels)
    with recording() as record:
        scores, _ = pair.vlm.score([pair.vlm.conversation("what is it?")], answers, seen)
    return scores[0], record


@pytest.fixture
def readable(pair, request):
    """A family whose reading is recorded."""
    if request.node.callspec.params["pair"] in UNSEEN:
        pytest.skip("looked at by occlusion")
    return pair


def test_a_family_that_cannot_be_recorded_gives_no_gradient(pair, request):
    scores, record = scored(pair, ["cat", ANSWER], pair.pixels(1))
    seen = request.node.callspec.params["pair"] not in UNSEEN
    assert bool(record and record[0].complete) == scores.requires_grad == seen


def test_reading_is_what_a_plain_computation_has(readable):
    pair, pixels = readable, readable.pixels(1)
    conversation = pair.vlm.conversation("what is it?", ANSWER)
    model = type(pair.plain).from_pretrained(pair.folder, dtype=torch.float32, attn_implementation="eager").eval()
    ids, response = conversation.ids[None], conversation.response[None]
    said = model(input_ids=ids, output_attentions=True, **pair.inputs(pair.image_id, ids, response, pixels))
    before = response[0].nonzero()[:, 0] - 1
    goal = said.logits[0, before].log_softmax(-1).gather(1, ids[0, before + 1][:, None]).sum()
    gradients = torch.autograd.grad(goal, said.attentions)
    gathered = rolled_out([one.detach() for one in said.attentions], gradients)[0]
    (own,), (record,) = scored(pair, [ANSWER], pixels)
    parts = (ids[0] == pair.image_id).nonzero()[-record.grid[0] * record.grid[1] :, 0]
    plain = gathered[before][:, parts].sum(0)
    torch.testing.assert_close(own, goal, atol=1e-4, rtol=1e-4)
    found = relevance(record, torch.autograd.grad(own, record.weights))
    torch.testing.assert_close(found.flatten(), plain, atol=1e-5, rtol=1e-3)
    assert found.max() > 0


def test_recording_changes_no_score(readable):
    answers, pixels = ["cat", ANSWER], readable.pixels(1)
    plain, _ = readable.vlm.score([readable.vlm.conversation("what is it?")], answers, tokens(readable, pixels))
    assert not plain.requires_grad
    torch.testing.assert_close(scored(readable, answers, pixels)[0], plain[0], atol=1e-4, rtol=1e-4)


def test_vectors_stand_in_the_order_of_the_parts(readable):
    """What is painted over a part of an image changes the vector of that part most."""
    vlm, pixels = readable.vlm, readable.pixels(1)
    _, (record,) = scored(readable, [ANSWER], pixels)
    rows, columns = record.grid
    before, high, wide = tokens(readable, pixels), vlm.image_size // record.grid[0], vlm.image_size // record.grid[1]
    right = 0
    for part in range(rows * columns):
        top, left = part // columns * high, part % columns * wide
        covered = pixels.clone()
        covered[..., top : top + high, left : left + wide] += 3
        change = (tokens(readable, covered) - before).unflatten(1, (vlm.image_tokens, -1)).norm(dim=-1)[0]
        right += int(change[-rows * columns :].argmax()) == part
    assert right >= 0.75 * rows * columns
