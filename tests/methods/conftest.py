from __future__ import annotations

from types import SimpleNamespace

import pytest
from transformers import CLIPModel, SiglipModel

from acclimate.prompts import PromptSet
from acclimate.prompts.references import compose_reference_prompts
from acclimate.training.feeding import evaluation_feed
from acclimate.training.inputs import Given
from tests.helpers.methods import DOMAINS, NEEDS
from tests.helpers.pictures import with_domains


def pytest_collection_modifyitems(items):
    """Training on the second family is slow work that tells little more; equality with the plain way stays quick."""
    for item in items:
        callspec = getattr(item, "callspec", None)
        if item.get_closest_marker("one_family") and callspec and callspec.params.get("world", "clip") != "clip":
            item.add_marker(pytest.mark.slow)


@pytest.fixture(scope="session", params=["clip", "siglip"])
def world(request, tiny_backbones, tiny_folders, domain_encoder, pictures):
    """A tiny backbone and a tiny domain encoder with the features of some pictures; the backbone in transformers."""
    backbone = tiny_backbones[request.param]
    pictures = with_domains(pictures, DOMAINS)
    references = compose_reference_prompts(pictures.class_names, PromptSet("natural"))
    given = Given(backbone, domain_encoder, references)
    kind = CLIPModel if request.param == "clip" else SiglipModel
    return SimpleNamespace(
        backbone=backbone,
        domain_encoder=domain_encoder,
        plain=kind.from_pretrained(tiny_folders[request.param]).eval().requires_grad_(False),
        data=pictures,
        train=evaluation_feed({*NEEDS, "reference_prompts"}, pictures.train, given),
        val=evaluation_feed(NEEDS, pictures.val, given),
        test=evaluation_feed(NEEDS, pictures.test, given),
    )
