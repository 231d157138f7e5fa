from __future__ import annotations

from types import SimpleNamespace

import pytest
from transformers import CLIPModel, SiglipModel

from acclimate.prompts import PromptSet
from acclimate.prompts.references import compose_reference_prompts
from acclimate.training.feeds import join_feeds
from acclimate.training.serving import evaluation_feed, reference_feed
from tests.helpers.methods import DOMAINS, NEEDS
from tests.helpers.pictures import with_domains


@pytest.fixture(scope="session", params=["clip", "siglip"])
def world(request, tiny_backbones, tiny_folders, domain_encoder, pictures):
    """A tiny backbone and a tiny domain encoder with the features of some pictures; the backbone in transformers."""
    backbone = tiny_backbones[request.param]
    pictures = with_domains(pictures, DOMAINS)
    references = compose_reference_prompts(pictures.class_names, PromptSet("natural"))
    train = evaluation_feed(NEEDS, backbone, pictures.train, domain_encoder=domain_encoder)
    kind = CLIPModel if request.param == "clip" else SiglipModel
    return SimpleNamespace(
        backbone=backbone,
        domain_encoder=domain_encoder,
        plain=kind.from_pretrained(tiny_folders[request.param]).eval().requires_grad_(False),
        data=pictures,
        train=join_feeds([train, reference_feed(backbone, references, pictures.train)]),
        val=evaluation_feed(NEEDS, backbone, pictures.val, domain_encoder=domain_encoder),
        test=evaluation_feed(NEEDS, backbone, pictures.test, domain_encoder=domain_encoder),
    )
