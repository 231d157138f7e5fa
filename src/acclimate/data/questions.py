"""`QuestionData`: images with questions and their answers, or instructions and responses."""

from __future__ import annotations

import logging
import os
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, Literal, NamedTuple

import numpy as np

from acclimate import arguments
from acclimate.counting import counted
from acclimate.data.captions import LABEL, PATH
from acclimate.data.dataset import ImageData
from acclimate.data.frames import frame_columns, is_frame, read_frame
from acclimate.data.load import build_data, is_path, settle_split, without_corrupt
from acclimate.data.manifests import key_of, resolve, split_meant, table_name
from acclimate.data.ordering import some
from acclimate.data.rows import Rows, tidy
from acclimate.data.splits import STABLE, Rule, SplitPlan
from acclimate.data.tables import SUFFIXES, Record, read_table
from acclimate.errors import DataError, brief
from acclimate.files import fingerprint

log = logging.getLogger("acclimate.data")

QUESTION, ANSWER, OPTIONAL = ("question", "instruction"), ("answer", "answers", "response"), ("split", "group")
TURNS = ("conversations", "messages", "conversation")  # columns of tables that hold whole conversations
TABLES = ("questions", "vqa", "instructions")
"""Names of such tables in a folder, without their endings."""

SHOWN = 5  # rows that a message names


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
    it is one in memory.
    """
    if is_frame(source):
        return source if _asks(frame_columns(source)) else None
    if not isinstance(source, (str, os.PathLike)) or not os.fspath(source):
        return None
    path = Path(source).expanduser()
    if os.path.isdir(path):
        places = (path / f"{name}{end}" for name in TABLES for end in SUFFIXES)
        return next((place for place in places if place.is_file()), None)
    if not os.path.isfile(path) or path.suffix.lower() not in SUFFIXES:
        return None
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
            memory, or `QuestionData`, which is returned as it is unless `split_from` is given. In JSON lines and
            Parquet, `answers` may be a list, one of each person who was asked.
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
    root = None if images_root is None else Path(os.path.expanduser(arguments.path("images_root", images_root)))
    wanted = (*PATH, *QUESTION, *ANSWER, *OPTIONAL)
    records: Iterable[Record]
    if is_frame(table):
        title, columns, records = read_frame(table, wanted, several=ANSWER)
        reader = _Reader(title, "table", columns, root or Path.cwd())
    else:
        columns, records = read_table(table, wanted, several=ANSWER)
        reader = _Reader(table.name, table_name(table), columns, root or table.parent)
    images = build_data(reader.read(records), None)
    if on_corrupt == "skip":
        images = without_corrupt(images)
    images = settle_split(images, plan, split_from)
    known = {name.name: getattr(images, name.name) for name in fields(images)}
    return QuestionData(**known, by_key=reader.questions)


class _Reader:
    """Rows of a table of questions, checked; all bad ones are named together.

    Args:
        title: of the table, for messages.
        name: of the data.
        columns: of the table.
        root: folder that paths start from.

    Raises:
        DataError: a column is missing, or conversations stand in the table.
    """

    def __init__(self, title: str, name: str, columns: list[str], root: Path) -> None:
        self.title, self.root, self.rows, self.columns = title, root, Rows(name), columns
        self.questions: dict[str, Question] = {}
        self.bad: list[tuple[int, str]] = []
        self.splits: dict[str, tuple[int, str]] = {}
        self.counts: Counter[str] = Counter()
        found = {column.strip().lower(): column for column in reversed(columns)}
        self.found = found
        if not found.keys() & {*QUESTION} and (turns := found.keys() & {*TURNS}):
            raise DataError(
                f"{title}: the column {min(turns)!r} holds conversations of several turns, which are not learned from; "
                "write one instruction and one response in each row, with the columns image,instruction,response"
            )
        self.path, self.question, self.answer = (self._column(names) for names in (PATH, QUESTION, ANSWER))

    def _column(self, names: tuple[str, ...]) -> str:
        column = next((self.found[name] for name in names if name in self.found), None)
        if column is None:
            have = some(self.columns, 20) or "no columns"
            raise DataError(
                f"{self.title}: no column {names[0]!r} among {have}; write 'image,question,answer' in its first line"
            )
        return column

    def read(self, records: Iterable[Record]) -> Rows:
        """Return the rows.

        Raises:
            DataError: there is none, or some are bad.
        """
        for number, record in records:
            self._row(number, record)
        if self.bad:
            told = "; ".join(f"row {number}: {what}" for number, what in self.bad[:SHOWN])
            more = f"; and {len(self.bad) - SHOWN} more" if len(self.bad) > SHOWN else ""
            raise DataError(f"{self.title}: {counted(len(self.bad), 'bad row')}: {told}{more}; mend or remove them")
        if not len(self.rows):
            raise DataError(f"{self.title}: no rows; add one row per question with image,question,answer")
        return self.rows

    def _row(self, number: int, record: Mapping[str, Any]) -> None:
        raw, text = (str(record.get(column) or "").strip() for column in (self.path, self.question))
        cell = record.get(self.answer)
        answers = tuple(answer.strip() for answer in (cell if isinstance(cell, list) else [cell or ""]))
        for value, column in ((raw, self.path), (text, self.question), (answers and all(answers), self.answer)):
            if not value:
                self.bad.append((number, f"the {column} is empty"))
                return
        split, group = (tidy(record.get(self.found[name]) or "") if name in self.found else "" for name in OPTIONAL)
        path = resolve(self.root, raw)
        if path is None:
            self.bad.append((number, f"no such image {brief(raw, 120)!r} in {self.root}"))
            return
        image, meant = key_of(self.root, path), split_meant(self.title, number, split)
        first, before = self.splits.setdefault(image, (number, meant))
        if before != meant:
            self.bad.append((number, f"{image!r} has split {meant!r}, but {before!r} in row {first}"))
            return
        key = f"{image}#{self.counts[image]}"
        self.counts[image] += 1
        self.questions[key] = Question(text, answers, number)
        self.rows.add(key, path, LABEL, group=group or image, split=meant)
