"""Asking a language model: what is asked, what is kept, and what happens when it fails."""

from __future__ import annotations

import os
from threading import Event

import pytest

from acclimate.describing import Description, HTTPWriter, LocalWriter, Sampling, open_writer
from acclimate.describing.answers import SUFFIX
from acclimate.describing.description import first_sentence
from acclimate.errors import BackboneError, ConfigError, DataError, LanguageModelError, RunError
from acclimate.prompts import PromptSet, get_domain
from acclimate.prompts.questions import ask, list_questions, read_questions
from acclimate.prompts.references import read_reference_prompts
from tests.helpers.killing import kill_at_files
from tests.helpers.language_servers import Server, free_port, said, transformers_server
from tests.helpers.tiny_language_model import tiny_language_model
from tests.helpers.waiting import HANG

CLASSES = ("BareLand", "Pond")
QUESTIONS = ("What does {} look like?", "A caption of {picture}:")
PROMPTS = PromptSet("satellite")


@pytest.fixture(scope="session")
def model(tmp_path_factory):
    return tiny_language_model(tmp_path_factory.mktemp("llm") / "model")


@pytest.fixture(scope="session")
def real_server(model, tmp_path_factory):
    with transformers_server(model, tmp_path_factory.mktemp("server") / "log.txt") as url:
        yield url


@pytest.fixture
def server():
    """Makes servers that answer as they are told."""
    made = []

    def make(reply, **options):
        made.append(Server(reply, **options))
        return made[-1]

    yield make
    for one in made:
        one.close()


def describe(path, model="small", classes=CLASSES, **options):
    options = {"questions": QUESTIONS, "generations": 3, **options}
    return Description(classes, PROMPTS, path / "prompts.json", model, **options)


def numbered(number, content):
    return said(f"Sentence number {'abcdefghijklmnopqrstuvwxyz'[number % 26] * 3} about it. More of it.")


@pytest.mark.slow
def test_a_real_server(real_server, model, tmp_path):
    writer = open_writer(real_server, str(model))
    description = describe(tmp_path, writer.model, sampling=Sampling(max_tokens=8))
    sentences = description.write(writer)
    assert set(sentences) == set(CLASSES)
    assert all(1 <= len(some) <= 6 for some in sentences.values())
    found = read_reference_prompts(tmp_path / "prompts.json", CLASSES)
    assert {name: list(some) for name, some in found.sentences.items()} == sentences
    assert len(description.answers.found) == 12
    assert not description.missing


def test_a_local_model(model, tmp_path):
    writer = open_writer(str(model))
    assert isinstance(writer, LocalWriter)
    sentences = describe(tmp_path, writer.model, sampling=Sampling(max_tokens=8)).write(writer)
    assert all(1 <= len(some) <= 6 for some in sentences.values())
    (tmp_path / "again").mkdir()
    again = describe(tmp_path / "again", writer.model, sampling=Sampling(max_tokens=8)).write(LocalWriter(str(model)))
    assert again == sentences


@pytest.mark.parametrize("chat", [True, False])
def test_a_local_model_by_hand(tmp_path, chat):
    """At temperature 0 its answers are those of the most probable words, one after another."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    from acclimate.backbones.language import load_language_model

    folder = tiny_language_model(tmp_path / "model", chat=chat)
    answers = load_language_model(str(folder)).sample("the round shape", [1, 2], temperature=0.0, max_tokens=4)
    plain, tokenizer = AutoModelForCausalLM.from_pretrained(folder), AutoTokenizer.from_pretrained(folder)
    ids = tokenizer("the round shape", return_tensors="pt").input_ids
    start = ids.shape[1]
    with torch.no_grad():
        for _ in range(4):
            ids = torch.cat([ids, plain(ids).logits[:, -1:].argmax(-1)], dim=1)
            if ids[0, -1] == tokenizer.eos_token_id:
                break
    expected = tokenizer.decode(ids[0, start:], skip_special_tokens=True)
    assert answers == [expected, expected]


def test_what_is_asked(server, tmp_path):
    one = server(numbered)
    describe(tmp_path, sampling=Sampling(0.7, 20)).write(HTTPWriter(one.url, parallel=1))
    assert len(one.requests) == 2 * 2 * 3
    asked = [request["messages"][-1]["content"] for request in one.requests]
    assert asked[::3] == [
        "What does bare land look like?",
        "A caption of a satellite photo of bare land:",
        "What does pond look like?",
        "A caption of a satellite photo of pond:",
    ]
    assert [request["seed"] for request in one.requests[:3]] == [1, 2, 3]
    assert {(request["model"], request["temperature"], request["max_tokens"]) for request in one.requests} == {
        ("small", 0.7, 20)
    }


def test_nothing_is_asked_twice(server, tmp_path):
    one = server(numbered)
    first = describe(tmp_path, generations=2)
    assert first.tokens[1] == 8 * 50
    sentences = first.write(HTTPWriter(one.url))
    again = describe(tmp_path, generations=2)
    assert again.tokens == (0, 0)
    assert again.write(HTTPWriter(one.url)) == sentences
    assert len(one.requests) == 8
    describe(tmp_path, generations=3).write(HTTPWriter(one.url))
    assert len(one.requests) == 12


def test_a_server_that_goes_down_loses_nothing(server, tmp_path):
    def reply(number, content):
        return numbered(number, content) if number <= 5 else (500, "out of memory")

    one = server(reply)
    with pytest.raises(LanguageModelError) as error:
        describe(tmp_path).write(HTTPWriter(one.url, parallel=1))
    message = str(error.value)
    assert "refuses: 500" in message
    assert "out of memory" in message
    assert f"5 of 12 answers are kept in {tmp_path / ('prompts.json' + SUFFIX)}; the same command goes on" in message
    assert not (tmp_path / "prompts.json").exists()
    two = server(numbered)
    describe(tmp_path).write(HTTPWriter(two.url))
    assert len(two.requests) == 7
    assert (tmp_path / "prompts.json").exists()


def test_passing_failures_are_tried_again(server, tmp_path, monkeypatch):
    monkeypatch.setattr("acclimate.describing.writers.BACKOFF", 0.01)
    one = server(lambda number, content: (503, "busy") if number in (1, 2, 5) else numbered(number, content))
    describe(tmp_path, generations=1).write(HTTPWriter(one.url, parallel=1))
    assert len(one.requests) == 4 + 3


def test_a_server_that_is_down():
    url = f"http://127.0.0.1:{free_port()}/v1"
    with pytest.raises(LanguageModelError) as error:
        HTTPWriter(url)
    assert str(error.value).startswith(f"{url} cannot be reached (Connection refused); start the server")


def test_a_server_that_is_slow(server, tmp_path):
    told = Event()

    def reply(number, content):
        if number == 3:
            told.wait(HANG)
        return numbered(number, content)

    one = server(reply)
    with pytest.raises(
        LanguageModelError, match=r"has not answered within 1\.5 s; give it more with `timeout`"
    ) as error:
        describe(tmp_path).write(HTTPWriter(one.url, timeout=1.5, parallel=1))
    told.set()
    assert "2 of 12 answers are kept" in str(error.value)


@pytest.mark.parametrize(
    ("status", "body", "told"),
    [
        (200, "<html>hello</html>", "something that is not JSON (<html>hello</html>)"),
        (200, '{"choices": []}', "answers without a text ({'choices': []})"),
        (200, '{"choices": [{"message": {"content": null}}]}', "answers without a text"),
        (200, '["what"]', "answers without a text"),
        (401, "who are you", "refuses: 401 Unauthorized (who are you); set ACCLIMATE_LLM_KEY to its key"),
        (404, "no such model", "give its base URL, which ends in /v1 as a rule, and a `model` that it has"),
        (400, "bad " * 100, "refuses: 400 Bad Request (bad bad"),
    ],
)
def test_garbage(server, tmp_path, status, body, told):
    one = server(lambda number, content: (status, body))
    with pytest.raises(LanguageModelError) as error:
        describe(tmp_path).write(HTTPWriter(one.url, parallel=2))
    assert told in str(error.value)
    assert "\n" not in str(error.value)
    assert len(str(error.value)) < 500
    assert "0 of 12 answers are kept" in str(error.value)


def test_answers_that_say_nothing(server, tmp_path):
    one = server(lambda number, content: said("" if "pond" in content["messages"][1]["content"] else "brown bare soil"))
    with pytest.raises(DataError, match="no answer about 'Pond' says anything; try another model") as error:
        describe(tmp_path).write(HTTPWriter(one.url))
    assert str(tmp_path) in str(error.value)
    assert not (tmp_path / "prompts.json").exists()


@pytest.mark.parametrize(("models", "told"), [((), "has 0 models (none)"), (("a", "b"), "has 2 models (a, b)")])
def test_which_model(server, models, told):
    one = server(numbered, models=models)
    with pytest.raises(LanguageModelError) as error:
        HTTPWriter(one.url)
    assert told in str(error.value)
    assert "`model`" in str(error.value)
    assert HTTPWriter(one.url, "b").model == "b"
    assert HTTPWriter(server(numbered).url + "/").model == "small"


def test_keys_are_sent_and_never_written(server, tmp_path, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "for-openai-alone")
    one = server(numbered)
    describe(tmp_path).write(HTTPWriter(one.url))
    assert not any("Authorization" in headers for headers in one.headers)
    monkeypatch.setenv("ACCLIMATE_LLM_KEY", "my-secret")
    two = server(lambda number, content: numbered(number, content) if number < 3 else (403, "no"))
    other = tmp_path / "other"
    with pytest.raises(LanguageModelError) as error:
        describe(other).write(HTTPWriter(two.url, parallel=1))
    assert {headers["Authorization"] for headers in two.headers} == {"Bearer my-secret"}
    assert "my-secret" not in str(error.value)
    written = [path.read_text() for path in tmp_path.rglob("*") if path.is_file()]
    assert written
    assert not any("secret" in text or "openai-alone" in text for text in written)
    assert HTTPWriter("https://api.openai.com/v1", "m").session.headers["Authorization"] == "Bearer my-secret"
    monkeypatch.delenv("ACCLIMATE_LLM_KEY")
    openai = HTTPWriter("https://api.openai.com/v1", "m").session.headers
    assert openai["Authorization"] == "Bearer for-openai-alone"


def test_answers_of_another_kind_are_not_mixed(server, tmp_path):
    describe(tmp_path).write(HTTPWriter(server(numbered).url))
    with pytest.raises(RunError, match=r"holds answers with temperature=0\.99, not 0\.5; choose another `out`"):
        describe(tmp_path, sampling=Sampling(temperature=0.5))
    with pytest.raises(RunError, match="holds answers with model=small, not large"):
        describe(tmp_path, "large")
    assert len(describe(tmp_path, "large", overwrite=True).missing) == 12


def test_a_file_of_somebody_else_is_kept(tmp_path):
    (tmp_path / "prompts.json").write_text("{}")
    with pytest.raises(RunError, match=r"prompts\.json is there, and was not written by a run of this kind"):
        describe(tmp_path)
    assert (tmp_path / "prompts.json").read_text() == "{}"


def test_a_line_that_was_cut_off(server, tmp_path):
    one = server(numbered)
    describe(tmp_path, generations=1).write(HTTPWriter(one.url))
    path = tmp_path / ("prompts.json" + SUFFIX)
    whole = path.read_bytes()
    path.write_bytes(whole[:-10])
    description = describe(tmp_path, generations=1)
    assert len(description.missing) == 1
    description.write(HTTPWriter(one.url))
    assert len(path.read_text().splitlines()) == 5
    assert len(one.requests) == 5
    path.write_bytes(whole[:10])  # not even the header is whole
    assert len(describe(tmp_path, generations=1).missing) == 4
    path.write_text("what\n")
    with pytest.raises(RunError, match="cannot be read as answers"):
        describe(tmp_path)


def test_no_room(server, tmp_path, monkeypatch):
    def full(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("acclimate.describing.answers.os.fsync", full)
    with pytest.raises(RunError, match=r"cannot write .*answers\.jsonl: No space left on device; free some space"):
        describe(tmp_path).write(HTTPWriter(server(numbered).url))


@pytest.mark.parametrize(
    ("answer", "sentence"),
    [
        ("Small round roofs in rows. There may be more.", "Small round roofs in rows"),
        ("  - **Round** roofs\n in rows", "Round roofs in rows"),
        ("1. Round roofs in rows!", "Round roofs in rows"),
        ('"Round roofs in rows."', "Round roofs in rows"),
        ("A crop of 2.5 metres in rows. More", "A crop of 2.5 metres in rows"),
        ("Yes.", ""),
        ("", ""),
        ("12 34 56 78", ""),
    ],
)
def test_first_sentence(answer, sentence):
    assert first_sentence(answer) == sentence


def test_questions(tmp_path):
    natural, satellite = list_questions(get_domain("natural")), list_questions(get_domain("satellite"))
    assert len(natural) == len(satellite) == 5
    assert ask(natural, "StorageTanks", PromptSet("natural"))[0] == "Describe what a storage tanks looks like"
    assert ask(satellite, "Pond", PROMPTS)[0] == "Describe what is seen in a satellite photo of pond."
    path = tmp_path / "questions.txt"
    path.write_text("# mine\n\nWhat is {}?\n  Show {picture}! \n")
    assert read_questions(path) == ("What is {}?", "Show {picture}!")
    for content, told in (
        ("\n# nothing\n", "no question in it"),
        ("What is it?\n", "no place for the class"),
        ("What is {class}?\n", "'{class}' stands for nothing"),
    ):
        path.write_text(content)
        with pytest.raises(DataError) as error:
            read_questions(path)
        assert told in str(error.value)
        assert str(path) in str(error.value)
    with pytest.raises(DataError, match="give a text file with one question a line"):
        read_questions(tmp_path / "none.txt")


def test_what_is_no_language_model(tmp_path, tiny_folders):
    with pytest.raises(BackboneError, match=r"no language model folder 'nowhere'.*, or 'a URL of a server'"):
        open_writer("nowhere")
    with pytest.raises(BackboneError, match="transformers cannot load the model"):
        open_writer(str(tiny_folders["clip"]))
    with pytest.raises(ConfigError, match="names a model of a server"):
        open_writer("nowhere", "model")


PREPARE = """
from acclimate.describing import Description, Sampling, open_writer
from acclimate.prompts import PromptSet

writer = open_writer(inputs[0])

def train(out):
    questions, sampling = ["What does {} look like?"], Sampling(max_tokens=8)
    description = Description(("BareLand", "Pond"), PromptSet("satellite"), Path(out, "prompts.json"), writer.model,
                              questions=questions, generations=3, sampling=sampling)
    description.write(writer)
"""


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_killed_before_its_file_is_there(model, tmp_path):
    assert kill_at_files(PREPARE, (model,), ["prompts.json"], tmp_path) == []
    names = {path.name for path in (tmp_path / "unbroken").iterdir()}
    assert names == {"prompts.json", f"prompts.json{SUFFIX}"}
