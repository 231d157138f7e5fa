"""From the names of a dual encoder and a language model to one generative model."""

from __future__ import annotations

from typing import Any

import torch

from acclimate.backbones.generative.families import LlavaFamily
from acclimate.backbones.generative.families.composed import PLACEHOLDER, ComposedFamily
from acclimate.backbones.generative.vlm import GenerativeVLM
from acclimate.backbones.hub import Place, find_folder
from acclimate.backbones.kinds import GENERATIVE, JOIN, kind_of
from acclimate.backbones.language import load_language_model
from acclimate.backbones.loading import load_backbone
from acclimate.errors import BackboneError


def compose_vlm(name: str, device: torch.device | str = "cpu", dtype: torch.dtype = torch.float32) -> GenerativeVLM:
    """Compose a frozen generative model of "DUAL+LANGUAGE", such as "mini-clip+mini-vlm".

    Args:
        name: a dual encoder, and a causal language model, or a LLaVA whose language model is taken; each an embedded
            one, a folder or a Hub id.
        device: where to put the weights.
        dtype: type of the loaded weights.

    Raises:
        BackboneError: one of the two cannot be loaded or is of another kind, or the language model counts positions in
            its own way.
    """
    first, _, second = name.partition(JOIN)
    dual = load_backbone(first, device, dtype)
    language, head, tokenizer, template, image_id = _language(second, device, dtype)
    family = ComposedFamily(dual, language, head, image_id, template is not None)
    backbone = GenerativeVLM(name, family, tokenizer, template, dual._processor)
    backbone.place = None if dual.place is None else Place(dual.place.folder, local=False)
    backbone.conversation("x", "x")  # what cannot be followed should fail here, not at the first image
    return backbone


def _language(name: str, device: torch.device | str, dtype: torch.dtype) -> tuple[Any, Any, Any, str | None, int]:
    """Return a language model, its head, tokenizer, chat template with a place for an image, and the image's id."""
    from acclimate.backbones.generative.loading import load_vlm

    find_folder(name, "language model", "mini-vlm")  # says what is missing
    if kind_of(name) == GENERATIVE:
        vlm = load_vlm(name, device, dtype)
        family = vlm._family
        if not isinstance(family, LlavaFamily):
            raise BackboneError(
                f"the language model of {name} ({vlm.family}) cannot be taken out of it; name a causal language model, "
                "or a LLaVA"
            )
        return family.language, family.head, vlm.tokenizer.tokenizer, vlm.tokenizer.template, family.image_id
    found = load_language_model(name)
    model, tokenizer = found.model.to(device, dtype), found.tokenizer
    if getattr(model.config, "max_position_embeddings", None) is None:
        raise BackboneError(f"{name}: its config.json says no max_position_embeddings; use another language model")
    tokenizer.add_tokens([PLACEHOLDER], special_tokens=True)
    image_id = int(tokenizer.convert_tokens_to_ids(PLACEHOLDER))
    return model.base_model, model.get_output_embeddings(), tokenizer, None, image_id
