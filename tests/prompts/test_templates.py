"""Templates of one's own stand in for those of a domain, from the file to the adapter."""

from __future__ import annotations

import json

import pytest

import acclimate
from acclimate.errors import ConfigError, DataError, RunError
from acclimate.prompts import PromptSet, get_domain, open_templates, read_templates
from tests.helpers.runs import quick

PETS = ("a photo of a {}, a type of pet.", "{} at home")


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("t.txt", "# of pets\na photo of a {}, a  type of pet.\n\n{} at home\n{} at home\n"),
        ("t.yaml", "- a photo of a {}, a type of pet.\n- '{} at home'\n"),
        ("t.json", json.dumps(PETS)),
    ],
)
def test_files(tmp_path, name, text):
    path = tmp_path / name
    path.write_text(text, encoding="utf-8-sig")
    assert read_templates(path) == open_templates(path) == PETS


def test_what_may_be_given():
    assert open_templates(None) == ()
    assert open_templates(PETS[0]) == PETS[:1]
    assert open_templates([*PETS, PETS[0]]) == PETS


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ("a photo", "`templates`: 'a photo' must contain {} once"),
        ("", "`templates`: '' must contain {} once"),
        ("a {} and a {}", "must contain {} once"),
        ("a photo of {name}", "must contain {} once"),
        ("a {} {", "and no other braces"),
        ("{} \udce9", "holds bytes that are no text"),
        ([], "`templates`: no templates; write at least one sentence"),
        ([3], "`templates` has 3 among its texts"),
        ("{" * 100_000, "must contain {} once"),
    ],
)
def test_what_is_no_template(given, words):
    with pytest.raises(ConfigError) as raised:
        open_templates(given)
    assert words in str(raised.value)
    assert len(str(raised.value)) < 300


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("t.txt", "{} here\nnothing\n", "t.txt line 2: 'nothing' must contain {} once"),
        ("t.txt", "# nothing\n", "t.txt: no templates"),
        ("t.yaml", "{}: a\n", "t.yaml line 1: not valid YAML"),
        ("t.yaml", "a: b\n", "t.yaml: holds no list"),
        ("t.yaml", "- '{} here'\n- [x]\n", "t.yaml template 2: ['x'] is no sentence"),
        ("t.json", '["{} here", "x"]', "t.json template 2: 'x' must contain {} once"),
        ("none.txt", None, "cannot read"),
    ],
)
def test_files_that_hold_none(tmp_path, name, text, words):
    if text is not None:
        (tmp_path / name).write_text(text)
    with pytest.raises(DataError) as raised:
        read_templates(tmp_path / name)
    assert words in str(raised.value)


def test_one_sentence_takes_the_first_and_an_ensemble_all():
    prompts = PromptSet(get_domain("satellite").with_templates(PETS), {"cat": "a cat"})
    assert prompts.sentences(["cat"]) == ["a photo of a a cat, a type of pet."]
    assert prompts.ensemble(["cat"]) == [["a photo of a a cat, a type of pet.", "a cat at home"]]
    assert prompts.domain.flip == get_domain("satellite").flip
    assert PromptSet.from_dict(json.loads(json.dumps(prompts.to_dict()))).ensemble(["cat"]) == prompts.ensemble(["cat"])
    assert get_domain("satellite").with_templates(()) == get_domain("satellite")


def test_a_run_keeps_them_and_is_another_run(pictures, tiny, tmp_path):
    plain = quick(pictures, tiny, method="zero-shot", settings={})
    model = quick(pictures, tiny, method="zero-shot", settings={}, templates=PETS, out=tmp_path / "run")
    stored = json.loads((tmp_path / "run/adapter.json").read_text())["prompts"]
    assert (stored["template"], stored["ensemble"]) == (PETS[0], list(PETS))
    sentences = [PETS[0].replace("{}", name) for name in pictures.class_names]
    expected = tiny.encode_text(sentences)
    found = model.method.class_weights()
    assert (found - expected / expected.norm(dim=-1, keepdim=True)).abs().max() < 1e-5
    assert (found - plain.method.class_weights()).abs().max() > 1e-3
    again = acclimate.load(tmp_path / "run", tiny)
    assert (again.method.class_weights() - found).abs().max() < 1e-6
    with pytest.raises(RunError):
        quick(pictures, tiny, method="zero-shot", settings={}, templates=PETS[1], out=tmp_path / "run")


def test_a_template_that_leaves_no_room_for_a_class(pictures, tiny):
    long = "word " * 100 + "{}"
    with pytest.raises(ConfigError, match=r"the template 'word word .* makes texts of \d+ tokens and more"):
        quick(pictures, tiny, method="zero-shot", settings={}, templates=[PETS[0], long])
