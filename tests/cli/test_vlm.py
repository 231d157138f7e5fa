"""Tuning a generative model and asking it, as a user types it."""

from __future__ import annotations

import json

import pytest

from tests.helpers.command import acclimate
from tests.helpers.pictures import make_split_pictures
from tests.helpers.tiny_vlms import tiny_llava

pytestmark = pytest.mark.slow  # half a dozen runs

QUICK = ("--shots", 4, "--domain", "natural", "--device", "cpu", "--set", "epochs=2", "--set", "rank=1")


@pytest.fixture(scope="module")
def place(tmp_path_factory, domain_folder):
    """Data, a tiny VLM, and a run of vitask beside them."""
    place = tmp_path_factory.mktemp("vlm")
    make_split_pictures(place / "animals")
    tiny_llava(place / "llava")
    words = ("--backbone", place / "llava", "--domain-encoder", domain_folder, "--out", place / "run")
    done = acclimate("adapt", place / "animals", "--method", "vitask", *words, *QUICK)
    assert done.code == 0, done.err
    (place / "adapted.txt").write_text(done.out)
    return place


def pictures(place):
    return sorted((place / "animals/test").rglob("*.png"))


def test_the_last_screen(place):
    shown = (place / "adapted.txt").read_text()
    for row in ("vlm-zero-shot", "linear-probe", "domain-linear-probe", "vitask, without exemplar"):
        assert row in shown
    assert "of the answers that it writes freely are right" in shown
    assert f"--backbone {place / 'llava'}" in shown or "acclimate predict" in shown


def test_measured_with_without_and_with_another(place, domain_folder):
    with_it, without, swapped = (
        acclimate("evaluate", place / "run", place / "animals", "--json", "-q", *words)
        for words in ((), ("--domain-encoder", "none"), ("--domain-encoder", domain_folder, "--swap"))
    )
    record = json.loads((place / "run/record.json").read_text())
    assert with_it.json["nll"] == record["metrics"]["nll"] == swapped.json["nll"]
    assert without.json["nll"] == record["ablations"]["without exemplar"]["metrics"]["nll"]


def test_predictions_without_the_domain_encoder(place, tmp_path):
    one, two = pictures(place)[:2]
    done = acclimate(
        "predict", place / "run", one, two, "--domain-encoder", "none", "--out", tmp_path / "rows.csv", "-q"
    )
    assert done.code == 0, done.err
    assert len((tmp_path / "rows.csv").read_text().splitlines()) == 3


def test_questions(place):
    one, two = pictures(place)[:2]
    alone = acclimate("ask", place / "run", one, "What is in the image?", "-q")
    assert alone.code == 0, alone.err
    assert len(alone.out.splitlines()) == 1
    both = acclimate("ask", place / "run", one, two, "What is it?", "--json", "-q", "--max-tokens", 3)
    rows = [json.loads(line) for line in both.out.splitlines()]
    assert [row["path"] for row in rows] == [str(one), str(two)]
    assert {row["question"] for row in rows} == {"What is it?"}


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("What is it?",), "'What is it?' is alone; give an image, and behind it the question"),
        (("nothing.png", "What is it?"), "nothing.png"),
        (("nothing.png", " "), "question"),
    ],
)
def test_what_cannot_be_asked(place, words, message):
    done = acclimate("ask", place / "run", *words)
    assert done.code == 2
    assert message in done.error


def test_an_image_where_the_question_is(place):
    one, two = pictures(place)[:2]
    done = acclimate("ask", place / "run", one, two)
    assert done.code == 2
    assert f"'{two}' is a file and stands where the question is" in done.error


def test_an_answer_longer_than_the_model_reads(place):
    done = acclimate("ask", place / "run", pictures(place)[0], "What is it?", "--max-tokens", 300)
    assert done.code == 2
    assert "the longest answer may have 300 tokens" in done.error


def test_a_folder_is_asked_about_image_by_image_and_what_cannot_be_read_comes_last(place, tmp_path):
    for number, path in enumerate(pictures(place)[:2]):
        (tmp_path / f"{number}.png").write_bytes(path.read_bytes())
    (tmp_path / "0a.png").write_bytes(b"no image")
    done = acclimate("ask", place / "run", tmp_path, "What is it?", "-q", "--max-tokens", 2)
    assert done.code == 2
    assert "1 of 3 images could not be read, the others are answered" in done.error
    assert [line.endswith(f"{number}.png") for number, line in enumerate(done.out.splitlines())] == [True, True]
    rows = acclimate("ask", place / "run", tmp_path, "What is it?", "--json", "--max-tokens", 2).out.splitlines()
    assert [bool(json.loads(row)["error"]) for row in rows] == [False, True, False]


def test_a_warm_start_from_other_settings(place, domain_folder):
    words = ("--backbone", place / "llava", "--domain-encoder", domain_folder, "--start", place / "run")
    words = (*words, "--out", place / "warm", *QUICK, "--set", "rank=2")
    done = acclimate("adapt", place / "animals", "--method", "vitask", *words)
    assert done.code == 2
    assert "other shapes than these settings have (rank=1 there and 2 here)" in done.error


def test_a_bench_whose_backbones_do_not_fit(place, tmp_path):
    data = f"{{animals: {{path: {place / 'animals'}, domain: natural}}}}"
    (tmp_path / "spec.yaml").write_text(
        f"{{title: x, backbones: [mini-clip], data: {data}, shots: 4, seeds: [1], methods: [instruct], "
        "suites: [{protocol: few-shot, data: [animals]}]}"
    )
    done = acclimate("bench", tmp_path / "spec.yaml", "--out", tmp_path / "bench", "--dry-run")
    assert done.code == 2
    assert "give `backbones` such a one" in done.error


def test_a_backbone_of_the_other_kind(place, tiny_folders):
    coop = acclimate("adapt", place / "animals", "--method", "coop", "--backbone", place / "llava")
    assert coop.code == 2
    assert "is a generative VLM, and coop adapts a dual encoder, such as mini-clip; give --backbone" in coop.error
    vitask = acclimate("adapt", place / "animals", "--method", "vitask", "--backbone", tiny_folders["clip"])
    assert vitask.code == 2
    assert "is a dual encoder, and vitask adapts a generative VLM, such as mini-vlm" in vitask.error


def test_an_instruction_that_leaves_no_room(place):
    words = ("--method", "instruct", "--backbone", place / "llava", "--set", f"instruction={'word ' * 300}")
    done = acclimate("adapt", place / "animals", *words, *QUICK, "--out", place / "long")
    assert done.code == 2
    assert "reads 256" in done.error


def test_other_classes_in_one_question(place):
    done = acclimate("evaluate", place / "run", place / "animals", "--rebind", "--json", "-q")
    record = json.loads((place / "run/record.json").read_text())
    assert done.json["accuracy"] == record["metrics"]["accuracy"]


def test_a_bench_has_rows_with_and_without_exemplar(place, domain_folder, tmp_path):
    (tmp_path / "spec.yaml").write_text(
        f"""
title: tuned
backbones: [{place / "llava"}, mini-clip]
data: {{animals: {{path: {place / "animals"}, domain: natural, domain_encoder: {domain_folder}}}}}
shots: 4
seeds: [1]
methods:
  - linear-probe
  - {{method: instruct, settings: {{epochs: 2, rank: 1}}}}
  - {{method: vitask, settings: {{epochs: 2, rank: 1}}}}
suites: [{{protocol: few-shot, data: [animals]}}]
"""
    )
    done = acclimate("bench", tmp_path / "spec.yaml", "--out", tmp_path / "bench", "--device", "cpu")
    assert done.code == 0, done.err
    rows = (tmp_path / "bench/results.csv").read_text()
    assert "vitask, without exemplar" in rows
    assert rows.count("linear-probe") > rows.count("instruct") > 0  # on both backbones, on one
