"""Questions about scenes, whose answers follow from what was composed and not from what can be seen."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import NamedTuple

import numpy as np

from acclimate.errors import ConfigError
from acclimate.synthetic.catalogue import get_domain, pick
from acclimate.synthetic.dataset import new_folder, write_rows
from acclimate.synthetic.fields import generator
from acclimate.synthetic.scenes import Scene, Thing, kinds_of, render_scene

logger = logging.getLogger("acclimate.synthetic")

QUARTER = (0.22, 0.28)  # lengths about a quarter of the edge, of which the size is not asked
MIDDLE = 0.08  # distance from the middle of the image below which the half is not asked
APART = 1.25  # how much longer than all others a thing is that is called the longest
TESTED = 3  # of ten images


class Asked(NamedTuple):
    """A question about a scene.

    Attributes:
        about: "count", "presence", "position" or "size".
        question: in words.
        answer: a word or a number in digits.
    """

    about: str
    question: str
    answer: str


def ask(scene: Scene, rng: np.random.Generator, kinds: Sequence[str]) -> list[Asked]:
    """Return one question of each sort about a scene, without those whose answer is a close call.

    Args:
        scene: what is asked about.
        rng: chooses what is asked.
        kinds: of all scenes of the domain, of which one that is not there is asked for.
    """
    found = [_count(scene, rng), _presence(scene, rng, kinds), _position(scene, rng), _size(scene)]
    return [one for one in found if one is not None]


def _words(kind: str) -> str:
    return kind.replace("_", " ")


def _count(scene: Scene, rng: np.random.Generator) -> Asked:
    kind = str(rng.choice(scene.kinds))
    if rng.random() < 0.5:
        return Asked("count", "how many targets are there?", str(len(scene.things)))
    number = sum(thing.kind == kind for thing in scene.things)
    return Asked("count", f"how many {_words(kind)}s are there?", str(number))


def _presence(scene: Scene, rng: np.random.Generator, kinds: Sequence[str]) -> Asked:
    there = sorted({thing.kind for thing in scene.things})
    absent = [kind for kind in kinds if kind not in there]
    present = rng.random() < 0.5
    kind = str(rng.choice(there if present else absent))
    return Asked("presence", f"is there a {_words(kind)}?", "yes" if present else "no")


def _position(scene: Scene, rng: np.random.Generator) -> Asked | None:
    """Ask for the half in which something lies that there is one of: the only one of its kind, or the longest."""
    kinds = [thing.kind for thing in scene.things]
    named = [(f"the {_words(thing.kind)}", thing) for thing in scene.things if kinds.count(thing.kind) == 1]
    longest = _longest(scene)
    if longest is not None and len(scene.things) > 1:
        named.append(("the longest target", longest))
    across = rng.random() < 0.5
    clear = [(name, thing.x if across else thing.y) for name, thing in named]
    clear = [(name, place) for name, place in clear if abs(place - 0.5) > MIDDLE]
    if not clear:
        return None
    name, place = clear[rng.integers(len(clear))]
    first, second = ("left", "right") if across else ("upper", "lower")
    return Asked("position", f"is {name} in the {first} or the {second} half?", first if place < 0.5 else second)


def _longest(scene: Scene) -> Thing | None:
    """Return the thing that is clearly longer than all others, if one is."""
    first, *others = sorted(scene.things, key=lambda thing: -thing.length)
    return None if others and first.length < APART * others[0].length else first


def _size(scene: Scene) -> Asked | None:
    length = max(thing.length for thing in scene.things)
    if QUARTER[0] <= length <= QUARTER[1]:
        return None
    question = "is the longest target longer than a quarter of the image?"
    return Asked("size", question, "yes" if length > QUARTER[1] else "no")


def write_questions(
    domain: str,
    out_dir: str | os.PathLike[str],
    images: int = 200,
    size: int = 128,
    seed: int = 0,
    acquisitions: Sequence[str] | None = None,
) -> Path:
    """Write images of scenes, `questions.csv` about them, and what each shows in `scenes.jsonl`.

    The table has the columns image, question, answer, split, about and acquisition; seven of ten images are in train,
    the others in test. The folder appears complete or not at all.

    Returns the folder.

    Args:
        domain: one of `list_scene_domains()`.
        out_dir: folder to make; must not exist, or be empty.
        images: how many, >= 1; the acquisition domains take turns.
        size: edge of the images in pixels.
        seed: number of the collection.
        acquisitions: which acquisition domains; all of them by default.

    Raises:
        ConfigError: an unknown name, a domain without scenes, or a number out of range.
        DataError: the folder holds something already.
    """
    described = get_domain(domain)
    if images < 1:
        raise ConfigError(f"images {images} asks for no images: use 1 or more")
    wanted = [pick(described, "acquisition", name) for name in acquisitions or described.acquisitions]
    target, kinds = Path(out_dir), kinds_of(domain)
    with new_folder(target) as work:
        (work / "images").mkdir()
        rows, scenes = [], []
        for index in range(images):
            name, acquisition = f"images/{index:04d}.png", wanted[index % len(wanted)]
            image, scene = render_scene(domain, acquisition, index, seed, size)
            image.save(work / name, compress_level=3)
            split = "train" if index % 10 < 10 - TESTED else "test"
            asked = ask(scene, generator("questions", domain, index, seed), kinds)
            rows += [(name, one.question, one.answer, split, one.about, acquisition) for one in asked]
            scenes.append(json.dumps({"image": name, "acquisition": acquisition, **asdict(scene)}))
        write_rows(work / "questions.csv", ("image", "question", "answer", "split", "about", "acquisition"), rows)
        (work / "scenes.jsonl").write_text("\n".join(scenes) + "\n", encoding="utf-8")
    logger.info("wrote %d questions about %d images of %s to %s", len(rows), images, described.title, target)
    return target
