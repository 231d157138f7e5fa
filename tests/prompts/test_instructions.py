"""Instructions for generative VLMs: the list of labels survives commas and can be left out; answers are matched."""

import pytest

from acclimate.errors import ConfigError
from acclimate.prompts import check_instruction, get_domain, list_domains, match_answer, render_instruction


def test_every_domain_asks_for_one_of_its_labels():
    for domain in list_domains():
        asked = render_instruction(domain.instruction, ["a", "b"])
        assert asked.startswith("Analyze the given ")
        assert asked.endswith(" are: a; b.")
        assert "{" not in asked
    assert render_instruction(get_domain("xray").instruction, ["normal", "pneumonia"]) == (
        "Analyze the given X-ray image. The possible diagnoses are: normal; pneumonia."
    )


def test_labels_with_commas_and_semicolons_stay_apart():
    cells = ["basophil", "immature granulocytes (myelocytes, metamyelocytes and promyelocytes)"]
    assert "; ".join(cells) in render_instruction("The answers are: {labels}.", cells)
    assert render_instruction("Which? {labels}", ["a; b", "c"]) == "Which? \na; b\nc\n"


def test_without_the_list_its_sentence_is_left_out():
    template = "Analyze the given X-ray image. The possible diagnoses are: {labels}. Answer shortly."
    assert render_instruction(template) == "Analyze the given X-ray image. Answer shortly."
    assert render_instruction("Is it one of {labels}?") == "Is it one of ?"
    assert render_instruction("What is this?", ["a"]) == "What is this?"


@pytest.mark.parametrize("wrong", ["", "  ", "{labels} or {labels}", "what {x}?", "what } is", "{}"])
def test_what_is_no_instruction_is_refused(wrong):
    with pytest.raises(ConfigError, match="my setting"):
        check_instruction(wrong, "my setting")


@pytest.mark.parametrize(
    ("text", "place"),
    [("Bare Land.", 1), ("  bare   land ", 1), ("forest", 0), ("bare", None), ("", None), ("forest, bare land", None)],
)
def test_written_answers_are_matched_whole(text, place):
    assert match_answer(text, ["Forest", "bare land"]) == place
