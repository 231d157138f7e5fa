"""`--template` and `--templates` together say what the sentences of a run are."""

from __future__ import annotations

import json

import pytest

from tests.helpers.command import QUICK, acclimate


def adapt(data, tiny_folders, *words):
    return acclimate("adapt", data, "--backbone", tiny_folders["clip"], "--method", "zero-shot", *QUICK, *words)


def test_sentences_of_the_command_line_come_before_those_of_the_file(picture_folder, tiny_folders, tmp_path):
    (tmp_path / "pets.txt").write_text("a photo of a {}, a type of pet.\n{} at home\n")
    words = ("--template", "{} outside", "--templates", tmp_path / "pets.txt", "--out", tmp_path / "run")
    done = adapt(picture_folder, tiny_folders, *words, "--set", "ensemble=true")
    assert done.code == 0, done.err
    prompts = json.loads((tmp_path / "run/adapter.json").read_text())["prompts"]
    assert prompts["template"] == "{} outside"
    assert prompts["ensemble"] == ["{} outside", "a photo of a {}, a type of pet.", "{} at home"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--template", "a photo"), "--template: 'a photo' must contain {} once"),
        (("--templates", "none.txt"), "cannot read none.txt: no such file or directory; name a file with one template"),
    ],
)
def test_templates_that_are_none_end_in_one_line(picture_folder, tiny_folders, words, said):
    done = adapt(picture_folder, tiny_folders, *words)
    assert done.code == 2
    assert said in done.err
    assert "Traceback" not in done.err
