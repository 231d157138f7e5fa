"""Captions and questions in the JSON in which COCO and VQA v2 are published, made of a folder with `captions.csv`."""

from __future__ import annotations

import csv
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.helpers.pictures import CLASSES

PARTS = {"train": "train2014", "test": "val2014"}  # COCO's names of what the folder calls train and test


def official(part: str, number: int) -> str:
    """The name of an image of COCO."""
    return f"COCO_{part}_{number:012d}.png"


def read_captions(scenes: Path) -> dict[str, tuple[str, list[str]]]:
    """The split and the captions of each image."""
    found: dict[str, tuple[str, list[str]]] = {}
    with (scenes / "captions.csv").open(newline="") as file:
        for row in csv.DictReader(file):
            found.setdefault(row["image"], (row["split"], []))[1].append(row["caption"])
    return found


def make_coco_captions(scenes: Path, folder: Path) -> Path:
    """Write `annotations/captions_train2014.json` and that of val2014 with the images in folders, as COCO has them."""
    told: dict[str, dict[str, list[Any]]] = {part: {"images": [], "annotations": []} for part in PARTS.values()}
    for number, (image, (split, captions)) in enumerate(read_captions(scenes).items(), start=1):
        part = PARTS[split]
        copy_to(scenes / image, folder / part / official(part, number))
        told[part]["images"].append({"id": number, "file_name": official(part, number), "height": 64, "width": 64})
        annotations = told[part]["annotations"]
        annotations += [{"id": 7 * number, "image_id": number, "caption": caption} for caption in captions]
    for part, content in told.items():
        write_json(folder / "annotations" / f"captions_{part}.json", {"info": {}, **content, "licenses": []})
    return folder


def make_karpathy(scenes: Path, folder: Path) -> Path:
    """Write `dataset_coco.json`, with every third training image called restval."""
    images = []
    for number, (image, (split, captions)) in enumerate(read_captions(scenes).items(), start=1):
        part = PARTS[split]
        copy_to(scenes / image, folder / part / official(part, number))
        sentences = [{"raw": caption, "tokens": caption.split(), "imgid": number} for caption in captions]
        word = "restval" if split == "train" and number % 3 == 0 else split
        entry = {"filepath": part, "filename": official(part, number), "split": word, "cocoid": number}
        images.append({**entry, "sentences": sentences})
    write_json(folder / "dataset_coco.json", {"images": images, "dataset": "coco"})
    return folder


def make_vqa(scenes: Path, folder: Path) -> Path:
    """Write the files of VQA v2 for train2014 and val2014: two questions about each image, answered by ten people."""
    asked: dict[str, list[Any]] = {part: [] for part in PARTS.values()}
    told: dict[str, list[Any]] = {part: [] for part in PARTS.values()}
    for number, (image, (split, captions)) in enumerate(read_captions(scenes).items(), start=1):
        part = PARTS[split]
        copy_to(scenes / image, folder / part / official(part, number))
        kind = next(word for word in captions[0].split() if word in CLASSES)
        for place, (text, answer) in enumerate([("what is it?", kind), ("a cat?", "yes" if kind == "cat" else "no")]):
            ids = {"image_id": number, "question_id": 10 * number + place}
            answers = [{"answer": answer if who % 4 else "it", "answer_id": who + 1} for who in range(10)]
            asked[part].append({**ids, "question": text})
            told[part].append({**ids, "answers": answers, "multiple_choice_answer": answer, "answer_type": "other"})
    for part, questions in asked.items():
        head = {"data_type": "mscoco", "data_subtype": part, "info": {}}
        write_json(folder / f"v2_OpenEnded_mscoco_{part}_questions.json", {**head, "questions": questions})
        write_json(folder / f"v2_mscoco_{part}_annotations.json", {**head, "annotations": told[part]})
    return folder


def copy_to(source: Path, target: Path) -> None:
    """Copy an image, with the folders above it."""
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(source, target)


def write_json(file: Path, content: Any) -> Path:
    """Write a JSON file, with the folders above it."""
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(content))
    return file


def change_json(file: Path, change: Callable[[Any], Any]) -> Path:
    """Change what a JSON file says."""
    content = json.loads(file.read_text())
    change(content)
    return write_json(file, content)
