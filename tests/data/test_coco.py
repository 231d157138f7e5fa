"""Captions and questions in the JSON in which COCO and VQA v2 are published."""

from __future__ import annotations

import json
import logging
import shutil

import pytest

from acclimate.data import find_captions, find_questions, load_captions, load_questions
from acclimate.errors import DataError
from acclimate.tasks import open_data
from tests.helpers.coco import change_json, make_coco_captions, make_karpathy, make_vqa, write_json


@pytest.fixture
def captions(caption_folder, tmp_path):
    return make_coco_captions(caption_folder, tmp_path / "coco")


@pytest.fixture
def vqa(caption_folder, tmp_path):
    return make_vqa(caption_folder, tmp_path / "vqa")


def sizes(data):
    return [len(data.split(name)) for name in ("train", "val", "test")]


def test_a_folder_as_coco_has_it(captions, caption_folder, caplog):
    with caplog.at_level(logging.INFO, "acclimate.data"):
        data = load_captions(captions)
    table = load_captions(caption_folder)
    assert (data.name, data.split_origin, sizes(data)) == ("coco", "given", [12, 0, 6])
    assert sorted(data.captions) == sorted(table.captions)
    assert data.keys[0] == "train2014/COCO_train2014_000000000001.png"
    assert "captions_val2014.json: read as the test, since no file is called test" in caplog.text
    assert open_data(captions).task == "retrieval"
    assert [path.name for path in find_captions(captions)] == ["captions_train2014.json", "captions_val2014.json"]


def test_one_file_gets_a_split(captions):
    file = captions / "annotations" / "captions_train2014.json"
    data = load_captions(file)
    assert (data.name, data.split_origin, sizes(data)) == ("captions_train2014", "made", [6, 3, 3])
    alone = captions.parent / "captions.json"  # away from its images, under a usual name
    shutil.move(file, alone)
    with pytest.raises(
        DataError, match=r"captions.json: 36 bad rows: annotation 1: no such image 'COCO_train2014_0000"
    ):
        load_captions(alone)
    assert load_captions(alone, images_root=captions).captions == data.captions
    assert load_captions(alone, images_root=captions / "train2014").captions == data.captions


def test_validation_stays_what_it_is_beside_a_test(captions):
    folder = captions / "annotations"
    shutil.copytree(captions / "val2014", captions / "test2014")
    for image in (captions / "test2014").iterdir():
        image.rename(image.with_name(image.name.replace("val", "test")))
    (folder / "captions_test2014.json").write_text(
        (folder / "captions_val2014.json").read_text().replace("val2014", "test2014")
    )
    assert sizes(load_captions(captions)) == [12, 6, 6]


def test_karpathys_form(caption_folder, tmp_path):
    folder = make_karpathy(caption_folder, tmp_path / "coco")
    data = load_captions(folder)
    assert (data.split_origin, sizes(data)) == ("given", [12, 0, 6])
    assert sorted(data.captions) == sorted(load_captions(caption_folder).captions)
    assert load_captions(folder / "dataset_coco.json").name == "dataset_coco"

    def flat(content):
        for image in content["images"]:
            del image["filepath"]

    file = change_json(folder / "dataset_coco.json", flat)
    assert load_captions(file).keys == data.keys  # in a folder of their split, by their own names


def test_a_table_goes_before_json(captions):
    (captions / "captions.csv").write_text("image,caption\ntrain2014/COCO_train2014_000000000001.png,a cat\n")
    assert find_captions(captions) == captions / "captions.csv"


def test_every_bad_caption_is_named(captions):
    def spoil(content):
        content["images"] += [{"id": 99, "file_name": "gone.png"}, {"id": 98, "file_name": "bare.png"}, {"id": 1}]
        content["annotations"][1]["caption"] = " "
        content["annotations"] += [{"image_id": 99, "caption": "x"}, {"image_id": 1234, "caption": "y"}, "z"]

    file = change_json(captions / "annotations" / "captions_train2014.json", spoil)
    with pytest.raises(DataError) as caught:
        load_captions(file)
    assert str(caught.value) == (
        "captions_train2014.json: 6 bad rows: image 15: it has no file_name; annotation 38: no image has the id "
        "'1234'; annotation 39: no image has the id ''; image 14: 'bare.png' has no caption; annotation 2: the caption "
        "is empty; and 1 more; mend or remove them, or give `images_root`"
    )
    with pytest.raises(DataError, match=r"^coco: 6 bad rows: captions_train2014.json image 15: it has no file_name"):
        load_captions(captions)


def test_a_folder_as_vqa_has_it(vqa):
    data = load_questions(vqa)
    assert (data.name, data.split_origin, sizes(data)) == ("vqa", "given", [24, 0, 12])
    first = data.questions[data.keys.index("train2014/COCO_train2014_000000000001.png#0")]
    assert first.text == "what is it?"
    assert len(first.answers) == 10
    assert first.answers.count("it") == 3
    assert first.lesson[1] == first.answers[0] != "it"
    assert data.groups[0] == data.keys[0].split("#")[0]
    assert open_data(vqa).task == "answering"


def test_questions_and_answers_find_each_other(vqa):
    files = [vqa / f"v2_{kind}.json" for kind in ("OpenEnded_mscoco_val2014_questions", "mscoco_val2014_annotations")]
    one, two = (load_questions(file) for file in files)
    assert one.keys == two.keys
    assert one.fingerprint == two.fingerprint
    assert (one.name, one.split_origin) == ("v2_OpenEnded_mscoco_val2014_questions", "made")
    for file, place in zip(files, ("Questions", "Annotations"), strict=True):
        (vqa / place).mkdir()
        shutil.move(file, vqa / place)
    assert load_questions(vqa / "Questions" / files[0].name).keys == one.keys
    assert sizes(load_questions(vqa)) == [24, 0, 12]


def test_the_answer_of_the_file_is_the_first_of_equals(vqa):
    def tie(content):
        content["annotations"][0].update(
            answers=[{"answer": answer} for answer in ("it", "thing")], multiple_choice_answer="thing"
        )

    change_json(vqa / "v2_mscoco_train2014_annotations.json", tie)
    question = load_questions(vqa).by_key["train2014/COCO_train2014_000000000001.png#0"]
    assert (question.lesson[1], sorted(question.answers)) == ("thing", ["it", "thing"])


def test_questions_of_a_test_without_answers_are_passed_over(vqa, caplog):
    test = vqa / "v2_OpenEnded_mscoco_test2015_questions.json"
    shutil.copy(vqa / "v2_OpenEnded_mscoco_val2014_questions.json", test)
    with caplog.at_level(logging.INFO, "acclimate.data"):
        assert sizes(load_questions(vqa)) == [24, 0, 12]
    assert f"{test.name}: not read, for no file of annotations lies beside it" in caplog.text
    with pytest.raises(DataError, match=r"test2015_questions.json: questions without answers; put the file of annot"):
        load_questions(test)
    (vqa / "v2_OpenEnded_mscoco_val2014_questions.json").unlink()
    with pytest.raises(DataError, match=r"val2014_annotations.json: answers without their questions; put the file of"):
        load_questions(vqa / "v2_mscoco_val2014_annotations.json")


@pytest.mark.parametrize("name", ["000000000001.png", "1.jpg"])
def test_other_names_of_images(vqa, name):
    """And the part of COCO is named in the file, where not in its name."""
    shutil.move(vqa / "train2014" / "COCO_train2014_000000000001.png", vqa / "train2014" / name)
    for file in vqa.glob("*_train2014_*.json"):
        file.rename(file.with_name(f"train_{file.stem.rpartition('_')[2]}.json"))
    assert f"train2014/{name}#1" in load_questions(vqa).keys


def test_every_bad_question_is_named(vqa):
    def spoil_questions(content):
        content["questions"][1]["question"] = ""
        content["questions"] += [
            {"question_id": 5001, "image_id": 1, "question": "why?"},
            {"question_id": 10, "image_id": 1, "question": "again?"},
            {"question_id": 5002, "image_id": 777, "question": "where?"},
        ]

    def spoil_answers(content):
        content["annotations"] += [
            {"question_id": 5002, "image_id": 777, "answers": [{"answer": "here"}]},
            {"question_id": 5003, "image_id": 1, "answers": [{"answer": "there"}]},
        ]
        content["annotations"][2]["image_id"] = 1

    file = change_json(vqa / "v2_OpenEnded_mscoco_train2014_questions.json", spoil_questions)
    change_json(vqa / "v2_mscoco_train2014_annotations.json", spoil_answers)
    with pytest.raises(DataError) as caught:
        load_questions(file)
    assert str(caught.value) == (
        f"{file.name}: 6 bad rows: question 3: it is about image 2, and its annotation about 1; question 25: no "
        "annotation has its question_id '5001'; question 26: its question_id '10' is that of question 1; annotation "
        "26: no question has the id '5003'; question 2: the question is empty; and 1 more; mend or remove them, or "
        "give `images_root`"
    )
    with pytest.raises(DataError, match=r"vqa: 6 bad rows: .* and 1 more"):
        load_questions(vqa)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ('{"images": [], "annotations": {"caption": ""}}', "captions.json: no list 'annotations' in it"),
        ('{"images": [], "annotations": [{"caption": 1}', r"captions.json: not valid JSON"),
        ('{"images": [], "annotations": [], "caption": ""}', "captions.json: no rows; add one row per caption"),
        ('{"images": [{"id": [1], "file_name": "a"}], "caption": ""}', "captions.json: no list 'annotations' in it"),
    ],
)
def test_unusable_files(tmp_path, content, said):
    (tmp_path / "captions.json").write_text(content)
    with pytest.raises(DataError, match=said):
        load_captions(tmp_path)


def test_other_json_is_neither(tmp_path, captions):
    boxes = write_json(captions / "annotations" / "instances_val2014.json", {"images": [], "annotations": [{"id": 1}]})
    assert find_captions(boxes) is find_questions(boxes) is None
    assert len(find_captions(captions)) == 2
    lists = tmp_path / "split_zhou_Pets.json"
    lists.write_text(json.dumps({"train": [["captions.png", 0, "questions"]]}))
    assert find_captions(lists) is find_questions(lists) is None
