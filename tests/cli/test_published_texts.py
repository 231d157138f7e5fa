"""Captions and questions as COCO and VQA v2 publish them, from a folder to a run."""

from __future__ import annotations

import json

import pytest

from tests.helpers.coco import change_json, make_coco_captions, make_vqa
from tests.helpers.command import acclimate
from tests.helpers.tiny_vlms import tiny_llava

SETTINGS = ("--set", "rank=2", "--set", "epochs=2", "--set", "batch-size=12")


@pytest.fixture(scope="module")
def learn(tmp_path_factory):
    backbone = tiny_llava(tmp_path_factory.mktemp("vlm") / "llava")

    def command(data, out):
        how = ("--method", "instruct", "--backbone", backbone, "--device", "cpu", "--shots", "all", "--out", out)
        return acclimate("adapt", data, *how, *SETTINGS)

    return command


@pytest.mark.slow
def test_captions_of_coco(learn, caption_folder, tmp_path):
    folder = make_coco_captions(caption_folder, tmp_path / "coco")
    done = learn(folder, tmp_path / "run")
    assert done.code == 0
    assert "CIDEr-D" in done.out
    record = json.loads((tmp_path / "run" / "record.json").read_text())
    assert (record["task"], record["data"]["captions"]) == ("captioning", {"train": 36, "test": 18})
    again = acclimate("evaluate", tmp_path / "run", folder / "annotations" / "captions_val2014.json", "--split", "all")
    assert again.code == 0, again.err


@pytest.mark.slow
def test_questions_of_vqa(learn, caption_folder, tmp_path):
    done = learn(make_vqa(caption_folder, tmp_path / "vqa"), tmp_path / "run")
    assert done.code == 0
    record = json.loads((tmp_path / "run" / "record.json").read_text())
    assert (record["task"], record["metrics"]["samples"]) == ("answering", 12)


def test_what_is_wrong_is_one_line(learn, caption_folder, tmp_path):
    folder = make_vqa(caption_folder, tmp_path / "vqa")
    change_json(folder / "v2_mscoco_val2014_annotations.json", lambda content: content["annotations"].pop())
    done = learn(folder, tmp_path / "run")
    assert done.code == 2
    assert done.error == (
        "error: vqa: 1 bad row: v2_OpenEnded_mscoco_val2014_questions.json question 12: no annotation has its "
        "question_id '181'; mend or remove them"
    )
