from __future__ import annotations

from functools import cache
from types import SimpleNamespace

import pytest
import torch
from transformers import CLIPModel, LlavaForConditionalGeneration, SiglipModel

from acclimate.backbones import load_vlm
from acclimate.backbones.families.vit_bert import VitBertModel
from acclimate.prompts import PromptSet
from acclimate.prompts.references import compose_reference_prompts
from acclimate.training.feeding import evaluation_feed
from acclimate.training.inputs import Given
from tests.helpers.methods import DOMAINS, needs_of
from tests.helpers.pictures import with_domains
from tests.helpers.tiny_vlms import tiny_llava


def pytest_collection_modifyitems(items):
    """Training on further families is slow work that tells little more; equality with the plain way stays quick."""
    for item in items:
        if not hasattr(item, "callspec") or not item.get_closest_marker("one_family"):
            continue
        params = item.callspec.params
        family, method = params.get("pair", (params.get("world"), ""))
        if family in ("siglip", "vit-bert-clip") or (family == "llava" and method.endswith("linear-probe")):
            item.add_marker(pytest.mark.slow)


@pytest.fixture(scope="session", params=["clip", "siglip"])
def world(request, worlds):
    """A tiny dual encoder and a tiny domain encoder with the features of some pictures."""
    return worlds(request.param)


@pytest.fixture(scope="session")
def worlds(tmp_path_factory, tiny_backbones, tiny_folders, domain_encoder, pictures):
    """Makes for a family a tiny backbone, the same in transformers, and the features of some pictures."""
    pictures = with_domains(pictures, DOMAINS)
    references = compose_reference_prompts(pictures.class_names, PromptSet("natural"))
    plain = {"clip": CLIPModel, "siglip": SiglipModel, "vit-bert-clip": VitBertModel}

    @cache
    def make(family):
        generative = family in ("llava", "composed")
        folder = tiny_llava(tmp_path_factory.mktemp("tiny") / "llava") if generative else tiny_folders[family]
        name = f"{tiny_folders['clip']}+{folder}" if family == "composed" else folder
        backbone = load_vlm(name) if generative else tiny_backbones[family]
        needs, more = needs_of(backbone), "negatives" if family == "llava" else "reference_prompts"
        given = Given(backbone, domain_encoder, references)
        kind = plain.get(family, LlavaForConditionalGeneration)
        return SimpleNamespace(
            backbone=backbone,
            domain_encoder=domain_encoder,
            plain=kind.from_pretrained(folder, dtype=torch.float32).eval().requires_grad_(False),
            data=pictures,
            train=evaluation_feed({*needs, more}, pictures.train, given),
            val=evaluation_feed(needs, pictures.val, given),
            test=evaluation_feed(needs, pictures.test, given),
        )

    return make
