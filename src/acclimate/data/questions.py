"""`QuestionData`: images with questions and their answers, or instructions and responses."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, Literal, NamedTuple

import numpy as np

from acclimate import arguments
from acclimate.data.coco import find_vqa, name_of_json, read_vqa
from acclimate.data.dataset import ImageData
from acclimate.data.frames import frame_columns, is_frame
from acclimate.data.load import is_path, settle_split
from acclimate.data.splits import STABLE, Rule, SplitPlan
from acclimate.data.tables import SUFFIXES, read_table
from acclimate.data.texts import LABEL, PATH, TextReader, folder_of, name_of, open_table, to_data
from acclimate.errors import DataError
from acclimate.files import fingerprint

QUESTION, ANSWER = ("question", "instruction"), ("answer", "answers", "response")
TURNS = ("conversations", "messages", "conversation")  # columns of tables that hold whole conversations
TABLES = ("questions", "vqa", "instructions")
"""Names of such tables in a folder, without their endings."""


class Question(NamedTuple):
    """A question about an image.

    Attributes:
        text: what is asked, or the instruction.
        answers: one answer, or one of each person who was asked.
        row: where it stands in its table, for messages.
    """

    text: str
    answers: tuple[str, ...]
    row: int = 0

    @property
    def lesson(self) -> tuple[str, str]:
        """What is learned: the question, and the answer that most have given, the first of them if several have."""
        return self.text, Counter(self.answers).most_common(1)[0][0]


@dataclass(frozen=True, eq=False, repr=False)
class QuestionData(ImageData):
    """Images with questions, a row for each question; all of one class.

    Attributes:
        by_key: the question of each row, by its key, which is that of the image with a number.
    """

    task: ClassVar[str] = "answering"

    by_key: Mapping[str, Question] = field(default_factory=dict)

    def __repr__(self) -> str:
        """Return name and size in a word."""
        images = len(set(self.paths))
        return f"QuestionData({self.name!r}, {len(self)} questions, {images} images, split {self.split_origin})"

    @property
    def questions(self) -> list[Question]:
        """The question of every row."""
        return [self.by_key[key] for key in self.keys]

    @cached_property
    def lessons(self) -> tuple[tuple[str, str], ...]:
        """What there is to learn, each pair of question and answer once, sorted."""
        return tuple(sorted({question.lesson for question in self.questions}))

    def told(self) -> tuple[np.ndarray, np.ndarray]:
        """Return for each row which question is asked (N,), and which of the `lessons` it is (N,)."""
        lessons = {lesson: number for number, lesson in enumerate(self.lessons)}
        asked = {text: number for number, text in enumerate(sorted({text for text, _ in lessons}))}
        pairs = [question.lesson for question in self.questions]
        return (
            np.array([asked[text] for text, _ in pairs], dtype=np.int64),
            np.array([lessons[pair] for pair in pairs], dtype=np.int64),
        )

    def choices(self) -> list[list[int]]:
        """Return for each row which of the `lessons` can be learned from it: one."""
        return [[int(number)] for number in self.told()[1]]

    def once(self) -> tuple[ImageData, np.ndarray | None]:
        """Return the images, each once, and for each row which it shows (N,)."""
        first: dict[str | None, int] = {}
        for row, path in enumerate(self.paths):
            first.setdefault(path, row)
        places = {path: number for number, path in enumerate(first)}
        return self.select(list(first.values())), np.array([places[path] for path in self.paths], dtype=np.int64)

    @property
    def fingerprint(self) -> str:
        """A hash of questions and answers with the names of their images."""
        return fingerprint({key: [self.by_key[key].text, *self.by_key[key].answers] for key in self.keys})


def find_questions(source: object) -> Any:
    """Return the table of questions that a source is or has, none where it is something else.

    That is a folder with `questions.csv`, `vqa.csv` or `instructions.jsonl` (or another kind of table of these names),
    or a table with a column `question` or `instruction`, and none called `label`: its path, or the table itself where
    it is one in memory; or the files of questions as VQA v2 publishes them.
    """
    if is_frame(source):
        return source if _asks(frame_columns(source)) else None
    if not isinstance(source, (str, os.PathLike)) or not os.fspath(source):
        return None
    path = Path(source).expanduser()
    if os.path.isdir(path):
        places = (path / f"{name}{end}" for name in TABLES for end in SUFFIXES)
        return next((place for place in places if place.is_file()), None) or find_vqa(path) or None
    if not os.path.isfile(path) or path.suffix.lower() not in SUFFIXES:
        return find_vqa(path) or None
    try:
        columns = read_table(path, ())[0]
    except DataError:  # whoever loads it will say what is wrong
        return None
    return path if _asks(columns) else None


def _asks(columns: Iterable[Any]) -> bool:
    names = {str(column).strip().lower() for column in columns}
    return bool(names & {*QUESTION, *TURNS}) and "label" not in names


def load_questions(
    source: str | os.PathLike[str] | QuestionData | Any,
    *,
    images_root: str | os.PathLike[str] | None = None,
    split_seed: int = 0,
    split_rule: Rule = STABLE,
    split_from: str | os.PathLike[str] | None = None,
    on_corrupt: Literal["error", "skip"] = "error",
) -> QuestionData:
    """Load images with questions and answers, or instructions and responses, a row of a table each.

    The images are read when they are used. A split that the table gives is kept; a table without one gets one, as in
    `load_data`, in which all questions about an image stay together.

    Args:
        source: a folder with `questions.csv`, `vqa.csv` or `instructions.jsonl` (or .csv, .tsv, .jsonl, .parquet), or
            such a table with the columns `image,question,answer[,split,group]` or `image,instruction,response`, also in
            memory; or questions as VQA v2 publishes them, a `.json` file with that of the answers beside it, or a
            folder of such; or `QuestionData`, which is returned as it is unless `split_from` is given. In JSON lines
            and Parquet, `answers` may be a list, one of each person who was asked.
        images_root: the folder to which paths are relative; by default that of the table, or the working directory.
        split_seed, split_rule, split_from, on_corrupt: as in `load_data`.

    Raises:
        DataError: columns, questions, answers or images that are missing, conversations of several turns, or splits
            that contradict one another; it names the rows.
        ConfigError: an option out of its range.
    """
    arguments.one_of("on_corrupt", on_corrupt, ("error", "skip"))
    plan = SplitPlan(rule=split_rule, seed=arguments.whole("split_seed", split_seed))
    if isinstance(source, QuestionData):
        return source if split_from is None else settle_split(source, plan, split_from)
    table = find_questions(source)
    if table is None:
        if is_path(source) and Path(source).suffix.lower() in SUFFIXES and Path(source).is_file():
            read_table(Path(source), ())  # says what is wrong with it
        place = os.fspath(source) if is_path(source) else arguments.kind_of(source)
        raise DataError(
            f"{place}: no questions here; name a folder with questions.csv, or a table with the columns "
            "image,question,answer"
        )
    root = folder_of(images_root)
    if isinstance(table, tuple):
        name, tables = name_of_json(Path(source).expanduser(), table), read_vqa(table, root)
    else:
        name, tables = name_of(table), [open_table(table, _Reader, root)]
    reader = _Reader(name, several=len(tables) > 1)
    for one in tables:
        reader.read(one)
    return to_data(QuestionData, reader.finish(), plan, split_from, on_corrupt, reader.questions)


class _Reader(TextReader):
    """Questions, a row for each."""

    wanted = (*QUESTION, *ANSWER)
    lists = ANSWER
    example = "image,question,answer"
    each = "question"

    def __init__(self, name: str, several: bool = False) -> None:
        super().__init__(name, several)
        self.questions: dict[str, Question] = {}
        self.counts: Counter[str] = Counter()

    def begin(self) -> None:
        """Find the columns of images, questions and answers.

        Raises:
            DataError: one is missing, or conversations stand in the table.
        """
        if not self.columns.keys() & {*QUESTION} and (turns := self.columns.keys() & {*TURNS}):
            raise DataError(
                f"{self.title}: the column {min(turns)!r} holds conversations of several turns, which are not learned "
                "from; write one instruction and one response in each row, with the columns image,instruction,response"
            )
        self.path, self.question, self.answer = (self.column(names) for names in (PATH, QUESTION, ANSWER))

    def row(self, number: int, record: Mapping[str, Any]) -> None:
        """Take in a question."""
        raw, text = (str(record.get(column) or "").strip() for column in (self.path, self.question))
        cell = record.get(self.answer)
        answers = tuple(answer.strip() for answer in (cell if isinstance(cell, list) else [cell or ""]))
        for value, column in ((raw, self.path), (text, self.question), (answers and all(answers), self.answer)):
            if not value:
                self.refuse(number, f"the {column} is empty")
                return
        place = self.place(number, record, raw)
        if place is None:
            return
        key = f"{place.key}#{self.counts[place.key]}"
        self.counts[place.key] += 1
        self.questions[key] = Question(text, answers, number)
        self.rows.add(key, place.path, LABEL, group=place.group or place.key, split=place.split)
