"""Scenes of which everything is known, and questions about them."""

from __future__ import annotations

import csv
import json
import re
from itertools import product

import numpy as np
import pytest
from scipy import ndimage

from acclimate.data import load_questions
from acclimate.errors import ConfigError, DataError
from acclimate.synthetic import get_domain, list_scene_domains, render_scene, write_questions
from acclimate.synthetic.scenes import kinds_of
from tests.helpers.command import acclimate

ACQUISITIONS = get_domain("sar").acquisitions


@pytest.fixture(scope="module")
def asked(tmp_path_factory):
    """A folder of questions, its rows and its scenes by image."""
    folder = write_questions("sar", tmp_path_factory.mktemp("asked") / "radar", images=80, size=32, seed=3)
    with (folder / "questions.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    scenes = [json.loads(line) for line in (folder / "scenes.jsonl").read_text().splitlines()]
    return folder, rows, {scene["image"]: scene for scene in scenes}


def right(question, things):
    """The answer to a question, from the words of it and what is there."""
    longest = max(things, key=lambda thing: thing["length"])
    if question == "how many targets are there?":
        return str(len(things))
    if found := re.fullmatch(r"how many (.+)s are there\?", question):
        return str(sum(thing["kind"].replace("_", " ") == found[1] for thing in things))
    if found := re.fullmatch(r"is there a (.+)\?", question):
        return "yes" if found[1] in {thing["kind"].replace("_", " ") for thing in things} else "no"
    if question == "is the longest target longer than a quarter of the image?":
        assert abs(longest["length"] - 0.25) > 0.03 - 1e-9
        return "yes" if longest["length"] > 0.25 else "no"
    found = re.fullmatch(r"is the (.+) in the (left|upper) or the (right|lower) half\?", question)
    if found[1] == "longest target":
        (one,) = [thing for thing in things if thing["length"] > 0.8 * longest["length"]]
    else:
        (one,) = [thing for thing in things if thing["kind"].replace("_", " ") == found[1]]
    place = one["x"] if found[2] == "left" else one["y"]
    assert abs(place - 0.5) > 0.08
    return found[2] if place < 0.5 else found[3]


def test_every_answer_follows_from_its_scene(asked):
    _, rows, scenes = asked
    for row in rows:
        assert row["answer"] == right(row["question"], scenes[row["image"]]["things"]), row
    about = [row["about"] for row in rows]
    assert about.count("count") == about.count("presence") == 80
    assert min(about.count("position"), about.count("size")) > 40


def test_no_answer_is_much_commoner_than_the_other(asked):
    _, rows, _ = asked
    for sort, answers in (("presence", 2), ("size", 2), ("position", 4)):
        given = [row["answer"] for row in rows if row["about"] == sort]
        assert len({*given}) == answers
        assert all(given.count(answer) > 0.6 / answers * len(given) for answer in {*given})
    counts = [row["answer"] for row in rows if row["question"] == "how many targets are there?"]
    assert {*counts} == {"1", "2", "3", "4"}


def test_they_are_data_as_any_questions(asked):
    folder, rows, _ = asked
    data = load_questions(folder)
    assert (len(data), data.split_origin) == (len(rows), "given")
    images = {name: {*data.split(name).paths} for name in ("train", "test")}
    assert [len(paths) for paths in images.values()] == [56, 24]
    assert not images["train"] & images["test"]


def test_the_same_arguments_give_the_same_and_another_seed_another(asked, tmp_path):
    folder, _, _ = asked
    again = write_questions("sar", tmp_path / "again", images=3, size=32, seed=3)
    for index in range(3):
        name = f"images/{index:04}.png"
        assert (again / name).read_bytes() == (folder / name).read_bytes()
    assert (folder / "questions.csv").read_text().startswith((again / "questions.csv").read_text())
    other = write_questions("sar", tmp_path / "other", images=3, size=32, seed=4)
    assert (other / "scenes.jsonl").read_text() != (again / "scenes.jsonl").read_text()


def test_a_scene_is_the_same_in_every_acquisition_and_size():
    images, scenes = zip(
        *(render_scene("sar", name, 5, size=size) for name in ACQUISITIONS for size in (32, 64)), strict=True
    )
    assert len({*scenes}) == 1
    assert len({image.tobytes() for image in images}) == 8


@pytest.mark.slow
def test_nothing_touches_anything():
    for index in range(30):
        _, scene = render_scene("sar", ACQUISITIONS[0], index, size=32)
        things = scene.things
        assert {thing.kind for thing in things} <= {*scene.kinds} <= {*kinds_of("sar")}
        for place, one in enumerate(things):
            radius = one.length / 2
            assert radius < min(one.x, one.y, 1 - one.x, 1 - one.y)
            for other in things[place + 1 :]:
                assert np.hypot(one.x - other.x, one.y - other.y) > radius + other.length / 2


@pytest.mark.slow
def test_what_is_said_is_what_is_seen():
    """Around every place that is named it is brighter than anywhere else, and at sea there are as many bright spots."""
    counted = []
    x, y = np.meshgrid((np.arange(128) + 0.5) / 128, (np.arange(128) + 0.5) / 128)
    for index, acquisition in product(range(10), ACQUISITIONS):
        image, scene = render_scene("sar", acquisition, index, seed=3)
        grey = ndimage.gaussian_filter(np.asarray(image, dtype=float).mean(axis=2), 2.0)
        near = [np.hypot(x - thing.x, y - thing.y) <= thing.length / 2 + 0.02 for thing in scene.things]
        elsewhere = np.quantile(grey[~np.any(near, axis=0)], 0.999)
        assert all(grey[disc].max() > elsewhere for disc in near), (index, acquisition)
        if scene.place == "roadstead":
            spots = ndimage.label(grey > 0.3 * grey.max() + 0.7 * np.median(grey))[1]
            counted.append(spots == len(scene.things))
    assert len(counted) >= 8
    assert np.mean(counted) > 0.75  # a long ship may fall into two


def test_bad_arguments(tmp_path):
    assert list_scene_domains() == ("sar",)
    with pytest.raises(ConfigError, match="synthetic domain 'flow' has no scenes to ask about: choose one of sar"):
        write_questions("flow", tmp_path / "x")
    with pytest.raises(ConfigError, match="unknown synthetic domain 'radar'"):
        render_scene("radar", "x", 0)
    with pytest.raises(ConfigError, match="has no acquisition 'ka_band'"):
        render_scene("sar", "ka_band", 0)
    with pytest.raises(ConfigError, match="images 0 asks for no images"):
        write_questions("sar", tmp_path / "x", images=0)
    with pytest.raises(ConfigError, match="size 8 of a synthetic image is out of range"):
        write_questions("sar", tmp_path / "x", images=1, size=8)
    assert not list(tmp_path.iterdir())
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "notes.txt").touch()
    with pytest.raises(DataError, match="exists and is not an empty folder"):
        write_questions("sar", tmp_path / "full", images=1)


def test_the_command_line(tmp_path):
    done = acclimate("data", "make", "sar", tmp_path / "asked", "--questions", 5, "--size", 32)
    assert done.code == 0
    assert f"acclimate adapt {tmp_path / 'asked'} --method instruct --shots all --out runs/mine" in done.out
    assert len({*load_questions(tmp_path / "asked").paths}) == 5
    labelled = acclimate("data", "make", "sar", tmp_path / "radar", "--per-class", 1, "--size", 32)
    assert labelled.code == 0
    assert len((tmp_path / "radar" / "labels.csv").read_text().splitlines()) == 1 + 8 * 4
    again = acclimate("data", "make", "flow", tmp_path / "more", "--questions", 5)
    assert again.code == 2
    assert again.error == "error: synthetic domain 'flow' has no scenes to ask about: choose one of sar"
