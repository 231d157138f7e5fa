"""Questions about images, from a table to a run folder and back, on tiny generative models."""

from __future__ import annotations

import json
import shutil

import pytest
import torch

import acclimate
from acclimate.data import load_questions
from acclimate.errors import ConfigError, DataError
from acclimate.methods import get_method
from acclimate.options import make_config
from acclimate.prompts import PromptSet
from acclimate.runs.beside import evaluate_beside
from acclimate.tasks import get_task
from acclimate.training.checkpoint import read_tensors
from acclimate.training.feeding import evaluation_feed
from acclimate.training.inputs import NEGATIVES, Given, find_kind
from tests.helpers.killing import kill_often
from tests.helpers.runs import quick

SETTINGS = {"rank": 2, "epochs": 4, "lr": 0.02, "batch_size": 8}


def learn(data, vlm, **options):
    return acclimate.adapt(data, "instruct", vlm, **{"settings": SETTINGS, "device": "cpu", "shots": "all"} | options)


@pytest.fixture(scope="module")
def run(tmp_path_factory, asked, vlm):
    out = tmp_path_factory.mktemp("questions") / "run"
    return out, learn(asked, vlm, out=out)


@pytest.mark.slow
def test_the_record(run):
    record = json.loads((run[0] / "record.json").read_text())
    assert record["task"] == "answering"
    assert record["data"]["images"] == {"train": 24, "test": 12}
    assert record["data"]["asked_about"] == {"train": 12, "test": 6}
    assert set(record["baselines"]) == {"vlm-zero-shot"}
    assert (record["metrics"]["samples"], record["metrics"]["groups"], record["metrics"]["images"]) == (12, 6, 6)
    assert record["verdict"]["metric"] == "vqa_accuracy"
    log = [json.loads(line) for line in (run[0] / "log.jsonl").read_text().splitlines()]
    assert log[-1]["vanilla"] < log[0]["vanilla"]  # it has learned the answers


@pytest.mark.slow
def test_loaded_is_what_was_saved(run, asked, vlm):
    loaded = acclimate.load(run[0], vlm)
    data = load_questions(asked).test
    assert loaded.evaluate(data) == run[1].evaluate(data)
    assert loaded.evaluate(asked)["vqa_accuracy"] == run[1].record["metrics"]["vqa_accuracy"]
    assert loaded.ask(data.paths[0], "is it a cat?")[0].answer
    with pytest.raises(ConfigError, match="put one to an image with `ask`"):
        loaded.predict(data.paths[0])


@pytest.mark.slow
def test_another_question_is_another_run(run, asked, vlm, tmp_path):
    """Which answers are learned decides the result, though images and splits are the same."""
    table = (asked / "questions.csv").read_text()
    other = make_copy(asked, tmp_path / "asked", table.replace("is it a cat?", "a cat?"))
    assert learn(other, vlm).record["identity"] != run[1].record["identity"]


PREPARE = """
import acclimate
from acclimate.backbones import load_vlm

vlm = load_vlm(inputs[1])
SETTINGS = json.loads(inputs[2])

def train(out):
    acclimate.adapt(
        inputs[0], "instruct", vlm, shots="all", settings=SETTINGS, device="cpu", out=out, checkpoint_seconds=0
    )
"""


@pytest.mark.slow
def test_killed_and_started_again(asked, vlm, tmp_path):
    inputs = [str(asked), vlm.name, json.dumps(SETTINGS)]
    kill_often(PREPARE, inputs, [0, 1, 3], tmp_path / "one", tmp_path / "two")
    one, two = (read_tensors(tmp_path / name / "adapter.safetensors")[0] for name in ("one", "two"))
    assert all(torch.equal(one[name], two[name]) for name in one)


@pytest.mark.slow
def test_a_tuned_classifier_answers_other_questions(pictures, asked, vlm):
    """What is left of a general ability: measured as before, beside the untuned model."""
    model = quick(pictures, vlm, method="instruct", shots=2, settings=SETTINGS)
    before = model.record["metrics"]
    found = evaluate_beside(model, load_questions(asked).test)
    assert found["baselines"].keys() == {"vlm-zero-shot"}
    assert found["samples"] == 12
    assert model.evaluate(pictures.test)["accuracy"] == before["accuracy"]  # its classes are still bound


def test_answers_need_a_method_and_a_model_that_write(asked, vlm, tiny):
    with pytest.raises(ConfigError, match="has questions, and coop writes no answers; methods that do: aape-limber"):
        acclimate.adapt(asked, "coop", tiny, device="cpu")
    with pytest.raises(ConfigError, match="vitask learns from a task-specific model, which is made from labels"):
        acclimate.adapt(asked, "vitask", vlm, device="cpu")


def test_an_answer_that_is_too_long_is_named_by_its_row(asked, vlm, tmp_path):
    lines = (asked / "questions.csv").read_text().splitlines()
    path, question, _, split = lines[4].split(",")
    lines[4] = ",".join([path, question, "cat " * 600, split])
    other = make_copy(asked, tmp_path / "asked", "\n".join(lines))
    with pytest.raises(DataError, match=r"asked row 5: a conversation has \d+ tokens .*, \d+ of them the response\)"):
        learn(other, vlm)


def test_questions_about_one_image_are_answered_together_and_keep_their_places(asked, vlm):
    data = load_questions(asked).test
    data = data.select([*range(0, len(data), 2), *range(1, len(data), 2)])  # those of an image far apart
    task, method = get_task("answering"), get_method("vlm-zero-shot")
    method = method(vlm, make_config(method.Config, {}), PromptSet())
    task.begin(method, data)
    feed = evaluation_feed(method.inputs.prediction, data, Given(vlm))
    read = []
    hook = vlm.model.get_input_embeddings().register_forward_hook(lambda _, args, out: read.append(args[0].shape))
    texts = task.answer(method, feed, data, Given(vlm)).texts
    hook.remove()
    assert len(texts) == 12
    assert read[0][0] == 6  # each image once
    alone = [feed.batch(torch.tensor([row])).without("shown") for row in range(len(data))]
    questions = [question.text for question in data.questions]
    assert texts == [method.generate(one, [text], 32)[0] for one, text in zip(alone, questions, strict=True)]
    assert len(set(texts)) > 6


def test_answers_are_written_by_beam_search_where_the_settings_say_so(asked, vlm):
    data, kind = load_questions(asked).test, get_method("vlm-zero-shot")
    feed = evaluation_feed(kind.inputs.prediction, data, Given(vlm))
    batch, texts = feed.batch(torch.arange(4)), [question.text for question in data.questions[:4]]
    greedy, searched = (
        kind(vlm, make_config(kind.Config, {"beams": beams}), PromptSet()).generate(batch, texts, 6) for beams in (1, 3)
    )
    told = [vlm.conversation(text) for text in texts]
    assert searched == vlm.generate(told, batch.image_tokens, max_new_tokens=6, beams=3)
    assert searched != greedy


def test_negatives_have_another_answer_to_the_same_question(asked, vlm):
    data = load_questions(asked).train
    feed = find_kind(NEGATIVES).feed(data, Given(vlm))
    rows = feed.rows(torch.arange(len(data)), epoch=0)
    for row, negative in enumerate(rows.tolist()):
        own, other = data.questions[row], data.questions[negative]
        assert own.text == other.text
        assert own.lesson != other.lesson
    batch = feed.batch(torch.arange(len(data)), epoch=0)
    shown = vlm.encode(vlm.transform.normalise(vlm.transform(data.image(int(rows[0])))[None]), {"image_tokens"})
    assert torch.allclose(batch.negative_tokens[0], shown["image_tokens"][0], atol=1e-5)


def make_copy(folder, place, table):
    shutil.copytree(folder, place)
    (place / "questions.csv").write_text(table)
    return place
