"""Captions judged by a dual encoder, beside transformers' own CLIP."""

from __future__ import annotations

import json
import logging

import pytest
import torch
from PIL import Image
from transformers import AutoTokenizer, CLIPModel
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

import acclimate
from acclimate.backbones import load_backbone, load_vlm
from acclimate.data import load_captions
from acclimate.errors import BackboneError, ConfigError
from acclimate.runs.encoders import open_scorer
from acclimate.tasks import get_task
from tests.helpers.command import acclimate as acclimate_command
from tests.helpers.pictures import make_questions
from tests.helpers.tiny_backbones import MINI_CLIP


@pytest.fixture(scope="module")
def written(tmp_path_factory, caption_folder, vlm):
    """A run that a scorer has judged, its folder, and the feature cache."""
    place = tmp_path_factory.mktemp("judged")
    how = {"device": "cpu", "cache_dir": place / "cache", "out": place / "run"}
    return acclimate.adapt(caption_folder, "vlm-zero-shot", vlm, scorer="mini-clip", **how), place


@torch.no_grad()
def plain(paths, captions, references):
    """The means of both scores by transformers' model, tokenizer and image processor, one image after another.

    In float64: in float32 the features of transformers' own tower are 1e-4 away from those of the same weights in
    float64, which is more than a score may be.
    """
    model = CLIPModel.from_pretrained(MINI_CLIP).double().eval()
    tokenizer, images = AutoTokenizer.from_pretrained(MINI_CLIP), CLIPImageProcessorPil.from_pretrained(MINI_CLIP)

    def texts(sentences):
        ids = tokenizer(
            [f"A photo depicts {text}" for text in sentences], truncation=True, return_tensors="pt", padding=True
        )
        return direction(model.get_text_features(**ids))

    def direction(found):
        found = found if isinstance(found, torch.Tensor) else found.pooler_output
        return found.double() / found.double().norm(dim=-1, keepdim=True)

    own, both = [], []
    for path, caption, several in zip(paths, captions, references, strict=True):
        with Image.open(path) as image:
            pixels = {"pixel_values": images(image.convert("RGB"), return_tensors="pt")["pixel_values"].double()}
        (seen,), (said,), told = direction(model.get_image_features(**pixels)), texts([caption]), texts(several)
        own.append(2.5 * max(float(seen @ said), 0.0))
        best = max(float((told @ said).max()), 0.0)
        both.append(2 * own[-1] * best / (own[-1] + best) if own[-1] + best else 0.0)
    return sum(own) / len(own), sum(both) / len(both)


def test_as_transformers_own_clip(written, caption_folder):
    model, _ = written
    data = load_captions(caption_folder).test
    captions = [row.caption for row in model.predict(data.paths)]
    own, both = plain(data.paths, captions, data.captions)
    exact = model.evaluate(data, scorer=load_backbone("mini-clip", dtype=torch.float64))
    assert exact["clip_score"]["value"] == pytest.approx(own, abs=1e-6)
    assert exact["ref_clip_score"]["value"] == pytest.approx(both, abs=1e-6)
    metrics = model.record["metrics"]
    assert metrics["clip_score"]["value"] == pytest.approx(own, abs=1e-4)
    assert own > 0
    assert both > 0
    assert metrics["clip_score"]["low"] <= own <= metrics["clip_score"]["high"]


def test_the_record_names_it_and_it_makes_another_run(written, caption_folder, vlm):
    model, place = written
    record = json.loads((place / "run" / "record.json").read_text())
    assert record["scorer"]["id"] == "mini-clip"
    plainly = acclimate.adapt(caption_folder, "vlm-zero-shot", vlm, device="cpu")
    assert "scorer" not in plainly.record
    assert "clip_score" not in plainly.record["metrics"]
    assert plainly.record["metrics"]["cider_d"] == model.record["metrics"]["cider_d"]
    assert plainly.record["identity"] != model.record["identity"]


def test_its_features_come_from_the_cache(written, caption_folder, vlm, monkeypatch):
    model, place = written
    loaded = acclimate.load(place / "run", vlm, device="cpu", cache_dir=place / "cache")
    scorer = acclimate.backbones.load_backbone("mini-clip")
    encoded = []
    original = scorer.encode
    monkeypatch.setattr(scorer, "encode", lambda *given: encoded.append(given) or original(*given))
    again = loaded.evaluate(caption_folder, scorer=scorer)
    assert encoded == []
    assert again["clip_score"] == model.record["metrics"]["clip_score"]


@pytest.mark.slow
def test_the_command_line(written, caption_folder, tmp_path, vlm):
    _, place = written
    done = acclimate_command("evaluate", place / "run", caption_folder, "--scorer", "mini-clip", "--no-cache")
    assert done.code == 0, done.err
    assert "RefCLIPScore" in done.out
    plainly = acclimate_command("evaluate", place / "run", caption_folder)
    assert "CIDEr-D" in plainly.out
    assert "CLIPScore" not in plainly.out
    how = ("--method", "vlm-zero-shot", "--backbone", vlm.name, "--device", "cpu", "--out", tmp_path / "run")
    judged = acclimate_command("adapt", caption_folder, *how, "--scorer", "mini-clip")
    assert "CLIPScore" in judged.out
    asked = make_questions(caption_folder, tmp_path / "asked")
    assert acclimate_command("evaluate", place / "run", asked, "--scorer", "mini-clip").error == (
        "error: --scorer judges captions that are written, and this is answering; leave it out"
    )


def test_who_can_judge_what(tiny, vlm, caplog):
    captioning, cpu = get_task("captioning"), torch.device("cpu")
    with pytest.raises(ConfigError, match="judges captions that are written, and this is retrieval; leave it out"):
        open_scorer("mini-clip", get_task("retrieval"), vlm, cpu)
    with pytest.raises(BackboneError, match=r"`scorer` needs a dual encoder, and '.*' is a generative VLM"):
        open_scorer(vlm, captioning, vlm, cpu)
    with pytest.raises(ConfigError, match="`scorer` is 3; give a folder"):
        open_scorer(3, captioning, vlm, cpu)
    assert open_scorer(tiny, captioning, vlm, cpu) is tiny
    assert caplog.text == ""


@pytest.mark.slow
def test_a_model_that_is_judged_by_its_own_tower_is_told_of(caplog):
    own = load_vlm("mini-clip+mini-vlm")
    with caplog.at_level(logging.WARNING):
        open_scorer("mini-clip", get_task("captioning"), own, torch.device("cpu"))
    assert "judged by mini-clip, which they are written with; another `scorer` is a fairer judge" in caplog.text
