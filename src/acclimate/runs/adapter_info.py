"""What `adapter.json` says of a model, so that it can be made again."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import acclimate
from acclimate.runs.encoders import describe_backbone, describe_domain_encoder
from acclimate.runs.several import describe_sets

if TYPE_CHECKING:
    from acclimate.runs.model import AdaptedModel

FORMAT = 1


def describe_adapter(model: AdaptedModel) -> dict[str, Any]:
    """Return what `adapter.json` holds."""
    method, backbone = model.method, model.backbone
    return {
        "format": FORMAT,
        "acclimate": acclimate.__version__,
        "method": method.name,
        "config": dict(vars(method.config)),
        "backbone": describe_backbone(backbone),
        "domain_encoder": describe_domain_encoder(method.domain_encoder),
        **({"left_out": model.left_out} if model.left_out else {}),
        "class_names": list(model.class_names if model.serves is None else model.trained_classes),
        "trained_classes": list(model.trained_classes),
        "prompts": method.prompts_read(method.prompts if model.serves is None else model.prompts),
        **({"sets": describe_sets(method, model.sets)} if model.sets else {}),
        "transform": backbone.transform.to_dict(),
        "learned_parameters": method.learned_parameters(),
    }
