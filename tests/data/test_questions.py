from __future__ import annotations

import json

import pandas as pd
import pytest

from acclimate.data import QuestionData, find_questions, load_data, load_questions, make_splits
from acclimate.errors import DataError
from acclimate.tasks import open_data
from tests.helpers.pictures import make_questions


@pytest.fixture
def folder(caption_folder, tmp_path):
    return make_questions(caption_folder, tmp_path / "asked")


def write(folder, *rows, header="image,question,answer,split"):
    (folder / "questions.csv").write_text("\n".join([header, *rows]) + "\n")
    return folder


def test_a_folder_with_questions(folder):
    data = load_questions(folder)
    assert data.name == "asked"
    assert repr(data) == "QuestionData('asked', 36 questions, 18 images, split given)"
    assert [len(data.split(name)) for name in ("train", "val", "test")] == [24, 0, 12]
    assert data.keys[:2] == ["images/test-000.png#0", "images/test-000.png#1"]
    assert [question.text for question in data.questions[:2]] == ["what is it?", "is it a cat?"]
    assert data.groups[0] == data.groups[1] == "images/test-000.png"
    assert data.task == "answering"
    assert open_data(folder).task == "answering"
    assert isinstance(data.select([3, 0]), QuestionData)
    assert load_questions(data) is data


def test_what_is_learned_and_shown(folder):
    train = load_questions(folder).train
    asked, lesson = train.told()
    assert [train.lessons[number] for number in lesson[:2]] == [train.questions[0].lesson, train.questions[1].lesson]
    assert set(asked[::2]) != set(asked[1::2])
    assert len(set(asked)) == 2
    images, rows = train.once()
    assert len(images) == 12
    assert [images.paths[row] for row in rows] == train.paths


def test_several_answers(folder):
    """What most have said is learned; of equals the first."""
    lines = [
        {"image": "images/train-000.png", "question": "how many?", "answers": ["2", "3", "3"]},
        {"image": "images/train-001.png", "instruction": "Name it.", "response": "a cat, and a dog"},
    ]
    file = folder / "own.jsonl"
    file.write_text(json.dumps(lines[0]))
    (question,) = load_questions(file).questions
    assert (question.answers, question.lesson) == (("2", "3", "3"), ("how many?", "3"))
    file.write_text(json.dumps(lines[1]))
    (question,) = load_questions(file).questions
    assert question.lesson == ("Name it.", "a cat, and a dog")


def test_a_made_split_keeps_the_questions_about_an_image_together(folder):
    rows = [line.rsplit(",", 1)[0] for line in (folder / "questions.csv").read_text().splitlines()[1:]]
    data = load_questions(write(folder, *rows, header="image,question,answer"))
    assert data.split_origin == "made"
    places = {key.split("#")[0]: set() for key in data.keys}
    for key, split in zip(data.keys, data.splits, strict=True):
        places[key.split("#")[0]].add(split)
    assert all(len(splits) == 1 for splits in places.values())
    assert {*data.splits} == {"train", "val", "test"}
    assert make_splits(data, seed=1).splits != data.splits


def test_a_table_in_memory(folder):
    frame = pd.read_csv(folder / "questions.csv")
    frame["image"] = [str(folder / path) for path in frame["image"]]
    data = load_questions(frame)
    assert len(data) == 36
    assert sorted(q.lesson for q in data.questions) == sorted(q.lesson for q in load_questions(folder).questions)


def test_every_bad_row_is_named(folder):
    write(
        folder,
        "images/train-000.png,what is it?,cat,train",
        "images/gone.png,what is it?,cat,train",
        "images/train-001.png,,cat,train",
        "images/train-001.png,what is it?, ,train",
        "images/train-000.png,again?,cat,test",
    )
    with pytest.raises(DataError) as caught:
        load_questions(folder)
    assert str(caught.value) == (
        f"questions.csv: 4 bad rows: row 3: no such image 'images/gone.png' in {folder}; row 4: the question is empty; "
        "row 5: the answer is empty; row 6: 'images/train-000.png' has split 'test', but 'train' in row 2; mend or "
        "remove them, or give `images_root`"
    )


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ({"image": "a.png", "conversations": [{"from": "human", "value": "what?"}]}, "conversations of several turns"),
        ({"image": "a.png", "messages": []}, "conversations of several turns"),
        ({"image": "a.png", "question": "what?"}, "no column 'answer' among image, question"),
        ({"image": "a.png", "question": ["what?", "and?"], "answer": "cat"}, "row 1: column 'question' holds a list"),
    ],
)
def test_what_is_no_question_with_an_answer(folder, line, said):
    file = folder / "own.jsonl"
    file.write_text(json.dumps(line))
    with pytest.raises(DataError, match=said):
        load_questions(file)


def test_a_line_that_is_no_json_is_named(folder):
    file = folder / "own.jsonl"
    file.write_text(json.dumps({"image": "images/train-000.png", "instruction": "x?", "response": "y"}) + "\n{oops")
    with pytest.raises(DataError, match=r"own.jsonl row 2"):
        load_questions(file)


def test_labels_and_captions_are_no_questions(picture_folder, caption_folder):
    assert find_questions(picture_folder) is None
    assert find_questions(caption_folder) is None
    assert load_data(picture_folder).once()[1] is None
    with pytest.raises(DataError, match="no questions here"):
        load_questions(picture_folder)
