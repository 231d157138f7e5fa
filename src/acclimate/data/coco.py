"""Texts about images in the JSON in which they are published: captions of COCO, questions of VQA v2.

Captions have two forms: COCO's own, `{images: [{id, file_name}], annotations: [{image_id, caption}]}`, and that of
Karpathy's splits, `{images: [{filepath, filename, split, sentences: [{raw}]}]}`. Questions stand in one file,
`{questions: [{question_id, image_id, question}]}`, and their answers in another,
`{annotations: [{question_id, answers: [{answer}], multiple_choice_answer}]}`. See https://cocodataset.org/#format-data
and https://visualqa.org/vqa_v1_download.html.
"""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from acclimate.data.manifests import resolve, table_name
from acclimate.data.ordering import some
from acclimate.data.rows import split_of
from acclimate.data.tables import Record, plain
from acclimate.data.texts import TextTable
from acclimate.documents import load_json, read_text
from acclimate.errors import DataError, brief

log = logging.getLogger("acclimate.data")

SUFFIX = ".json"
ASIDE = ("annotations", "questions")  # folders in which such files lie beside those of the images
CAPTIONS = r"captions.*|.*_captions|dataset|dataset_.*"
QUESTIONS = r".*questions.*"
ENDINGS = (".jpg", ".png", ".jpeg")

_PART = re.compile(r"(?<![a-z])(?:train|val|test)(?:\d{4})?(?![a-z\d])")
_QUESTION_FIELDS = (r'"questions"\s*:\s*\[', r'"question"\s*:')
_ANSWER_FIELDS = (r'"annotations"\s*:\s*\[', r'"question_id"\s*:', r'"answers?"|"multiple_choice_answer"')


def find_coco_captions(path: Path) -> tuple[Path, ...]:
    """Return the files of captions that a path is, or that lie in a folder or in `annotations` there; else none."""
    return _find(path, CAPTIONS, _has_captions)


def find_vqa(path: Path) -> tuple[Path, ...]:
    """Return the files of questions that a path is, or that lie in a folder or in `questions` there; else none.

    A file of answers stands for that of its questions.

    Raises:
        DataError: the path is a file of answers to questions that are not there.
    """
    files = _find(path, QUESTIONS, lambda text: _has(text, *_QUESTION_FIELDS))
    if files or path.suffix.lower() != SUFFIX or not os.path.isfile(path) or not _has(_peek(path), *_ANSWER_FIELDS):
        return files
    near = [file for file in _files(_home(path), QUESTIONS) if _answers_to(file) == path]
    if not near:
        raise DataError(f"{path.name}: answers without their questions; put the file of questions beside it")
    return (near[0],)


def name_of_json(source: Path, files: Sequence[Path]) -> str:
    """Return what the data are called: as their folder, or as the file that is named."""
    return source.resolve().name if source.is_dir() else table_name(files[0])


def read_coco_captions(files: Sequence[Path], images_root: Path | None) -> list[TextTable]:
    """Return the captions of each file, a row for each annotation, or for each image in Karpathy's form.

    Args:
        files: of one or more splits.
        images_root: the folder that images lie in; by default that of the files, or the one above `annotations`. They
            may also lie in `images`, and in a folder of their split there, such as `val2014`.

    Raises:
        DataError: a file is none of captions.
    """
    return [_captions(file, split, images_root or _home(file)) for file, split in _splits(files).items()]


def read_vqa(files: Sequence[Path], images_root: Path | None) -> list[TextTable]:
    """Return the questions of each file with their answers, a row for each question.

    Args:
        files: of questions; that of the answers lies beside each.
        images_root: as in `read_coco_captions`.

    Raises:
        DataError: a file is none of questions or answers, or there are no answers.
    """
    answered = {file: answers for file in files if (answers := _answers_to(file)) or _has(_peek(file), *_ANSWER_FIELDS)}
    if not answered:
        raise DataError(
            f"{some([file.name for file in files])}: questions without answers; put the file of annotations beside it"
        )
    if len(answered) < len(files):
        without = some([file.name for file in files if file not in answered])
        log.info("%s: not read, for no file of annotations lies beside it", without)
    splits = _splits(tuple(answered))
    return [_questions(file, answers, splits[file], images_root or _home(file)) for file, answers in answered.items()]


# ------------------------------------------------------------------------------------------------------ finding files


def _find(path: Path, names: str, holds: Callable[[str], bool]) -> tuple[Path, ...]:
    if os.path.isdir(path):
        return tuple(file for file in _files(path, names) if holds(_peek(file)))
    return (path,) if path.suffix.lower() == SUFFIX and os.path.isfile(path) and holds(_peek(path)) else ()


def _files(folder: Path, names: str) -> list[Path]:
    """Return the JSON files of a folder, and of those for annotations in it, whose names are of a kind."""
    entries = [entry for entry in os.scandir(folder) if entry.name.lower() in ASIDE and entry.is_dir()]
    folders = [folder, *(Path(entry.path) for entry in sorted(entries, key=lambda entry: entry.name))]
    found = (file for place in folders for file in sorted(place.glob(f"*{SUFFIX}")))
    return [file for file in found if re.fullmatch(names, file.stem, re.IGNORECASE) and file.is_file()]


def _home(file: Path) -> Path:
    """Return the folder that a file belongs to, which is above one for annotations."""
    folder = file.resolve().parent
    return folder.parent if folder.name.lower() in ASIDE else file.parent


def _answers_to(file: Path) -> Path | None:
    """Return the file of answers to a file of questions, by its name; none where it is not there."""
    plain_name = re.sub(r"(OpenEnded|MultipleChoice)_", "", file.name)
    wanted = {re.sub("questions", "annotations", name, flags=re.IGNORECASE).lower() for name in (file.name, plain_name)}
    near = (other for other in _files(_home(file), ".*annotations.*") if other.name.lower() in wanted)
    return next(near, None)


def _peek(file: Path) -> str:
    """Return the text of a file, nothing where it cannot be read: whoever loads it will say why."""
    try:
        return read_text(file)
    except DataError:
        return ""


def _has(text: str, *patterns: str) -> bool:
    return all(re.search(pattern, text) for pattern in patterns)


def _has_captions(text: str) -> bool:
    return _has(text, r'"images"\s*:\s*\[', r'"caption"\s*:|"sentences"\s*:\s*\[')


def _splits(files: Sequence[Path]) -> dict[Path, str]:
    """Return the split that each file is by its name, where several are; of one file alone a split is made.

    Where there are files for training and validation alone, validation is what is tested on: the answers to the tests
    of COCO and VQA are not public.
    """
    if len(files) == 1:
        return {files[0]: ""}
    found = {}
    for file in files:
        meant = {split for word in re.findall("[a-z]+", file.stem.lower()) if (split := split_of(word))}
        found[file] = meant.pop() if len(meant) == 1 else ""
    if {*found.values()} == {"train", "val"}:
        held = some([file.name for file, split in found.items() if split == "val"])
        log.info("%s: read as the test, since no file is called test", held)
        return {file: "test" if split == "val" else split for file, split in found.items()}
    return found


# ------------------------------------------------------------------------------------------------------------- reading


class _Images:
    """Names of image files below a folder, where they may lie in `images`, and in a folder of their split."""

    def __init__(self, root: Path, part: str) -> None:
        self.root, self.part, self.last = root, part, ""
        self.found: dict[str, str] = {}

    def find(self, names: Sequence[str]) -> str:
        """Return the first of some names of one image that is there, else the first one."""
        if names[0] not in self.found:
            self.found[names[0]] = self._look(names)
        return self.found[names[0]]

    def _look(self, names: Sequence[str]) -> str:
        own = _part_of(names[0])
        folders = (self.last, "", *(f"{place}{part}" for part in (own, self.part) for place in ("", "images/")))
        for folder in dict.fromkeys((*folders, "images")):
            for name in names:
                if resolve(self.root, raw := f"{folder}/{name}" if folder else name) is not None:
                    self.last = folder
                    return raw
        return names[0]


def _part_of(name: str) -> str:
    """Return the part of COCO that the name of a file speaks of, such as val2014."""
    found = _PART.search(name.lower())
    return found[0] if found else ""


def _load(file: Path) -> Any:
    return load_json(read_text(file), file.name, next_step="download or write it again")


def _list(content: Any, key: str, title: str) -> list[Any]:
    found = content.get(key) if isinstance(content, dict) else None
    if not isinstance(found, list):
        raise DataError(f"{title}: no list {key!r} in it; give the file as it is published")
    return found


def _cell(entry: Any, name: str, where: str) -> str:
    """Return a field of an entry as text, empty where there is none."""
    return plain(entry.get(name), f"{where}: {name!r}").strip() if isinstance(entry, dict) else ""


def _captions(file: Path, split: str, root: Path) -> TextTable:
    content = _load(file)
    entries = _list(content, "images", file.name)
    images = _Images(root, _part_of(file.stem))
    columns = ["image", "caption", "split"]
    if any(isinstance(entry, dict) and "sentences" in entry for entry in entries):
        return TextTable(file.name, columns, _of_karpathy(file.name, entries, images), root, "image")
    annotations = _list(content, "annotations", file.name)
    names: dict[str, tuple[int, str]] = {}
    bad: list[str] = []
    for number, entry in enumerate(entries, start=1):
        key, name = (_cell(entry, field, f"{file.name} image {number}") for field in ("id", "file_name"))
        if not key or not name:
            bad.append(f"image {number}: it has no {'id' if not key else 'file_name'}")
        elif names.setdefault(key, (number, name))[0] != number:
            bad.append(f"image {number}: its id {brief(key)} is that of image {names[key][0]}")
    records: list[Record] = []
    described: set[str] = set()
    for number, entry in enumerate(annotations, start=1):
        key, caption = (_cell(entry, field, f"{file.name} annotation {number}") for field in ("image_id", "caption"))
        if key not in names:
            bad.append(f"annotation {number}: no image has the id {brief(repr(key))}")
            continue
        described.add(key)
        records.append((number, {"image": names[key][1], "caption": caption, "split": split}))
    bad += [
        f"image {number}: {brief(name, 120)!r} has no caption"
        for key, (number, name) in names.items()
        if key not in described
    ]
    found = ((number, {**record, "image": images.find([record["image"]])}) for number, record in records)
    return TextTable(file.name, columns, found, root, "annotation", tuple(bad))


def _of_karpathy(title: str, entries: list[Any], images: _Images) -> Iterator[Record]:
    for number, entry in enumerate(entries, start=1):
        where = f"{title} image {number}"
        folder, name, split = (_cell(entry, field, where) for field in ("filepath", "filename", "split"))
        sentences = entry.get("sentences") if isinstance(entry, dict) else None
        told = [_cell(one, "raw", where) for one in sentences] if isinstance(sentences, list) else []
        raw = images.find([f"{folder}/{name}", name] if folder else [name]) if name else ""
        yield number, {"image": raw, "caption": told, "split": "train" if split == "restval" else split}


def _questions(file: Path, answers: Path | None, split: str, root: Path) -> TextTable:
    content, source = _load(file), answers or file
    entries = _list(content, "questions", file.name)
    annotations = _list(content if answers is None else _load(answers), "annotations", source.name)
    bad: list[str] = []
    told: dict[str, tuple[int, list[str], str]] = {}
    for number, entry in enumerate(annotations, start=1):
        where = f"{source.name} annotation {number}"
        key = _cell(entry, "question_id", where)
        if key in told:
            bad.append(f"annotation {number}: question {brief(key)} is answered in annotation {told[key][0]} already")
            continue
        told[key] = (number, _given(entry, where), _cell(entry, "image_id", where))
    found: dict[str, int] = {}
    records: list[Record] = []
    images = _Images(root, _cell(content, "data_subtype", file.name) or _part_of(file.stem))
    for number, entry in enumerate(entries, start=1):
        where = f"{file.name} question {number}"
        key, image, text = (_cell(entry, field, where) for field in ("question_id", "image_id", "question"))
        if found.setdefault(key, number) != number:
            bad.append(f"question {number}: its question_id {brief(repr(key))} is that of question {found[key]}")
            continue
        if key not in told:
            bad.append(f"question {number}: no annotation has its question_id {brief(repr(key))}")
            continue
        _, given, other = told[key]
        if other not in ("", image):
            bad.append(f"question {number}: it is about image {brief(image)}, and its annotation about {brief(other)}")
            continue
        raw = images.find(_names_of(image, images.part)) if image else ""
        records.append((number, {"image": raw, "question": text, "answer": given, "split": split}))
    unknown = ((number, key) for key, (number, *_) in told.items() if key not in found)
    bad += [f"annotation {number}: no question has the id {brief(repr(key))}" for number, key in unknown]
    return TextTable(file.name, ["image", "question", "answer", "split"], records, root, "question", tuple(bad))


def _given(entry: Any, where: str) -> list[str]:
    """Return the answers in an annotation; of equally frequent ones that first which the file calls the answer."""
    usual = _cell(entry, "multiple_choice_answer", where)
    listed = entry.get("answers") if isinstance(entry, dict) else None
    answers = [_cell(one, "answer", where) for one in listed] if isinstance(listed, list) else []
    if not answers:
        return [usual]
    return sorted(answers, key=lambda answer: answer != usual)


def _names_of(image: str, part: str) -> list[str]:
    """Return the names that the file of an image may have."""
    if image.lower().endswith(ENDINGS):
        return [image]
    stems = [image]
    if image.isdecimal():
        padded = image.zfill(12)
        stems = [*([f"COCO_{part}_{padded}"] if part else []), padded, image]
    return [f"{stem}{ending}" for stem in stems for ending in ENDINGS]
