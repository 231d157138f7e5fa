"""What methods read of images: `Inputs` declares it; kinds of input that no image encoder gives have a module each.

Pixels and the features of frozen encoders need no module: an encoder says by its `widths` what it gives.
"""

from acclimate.training.inputs.contract import (
    DOMAIN,
    DOMAIN_PIXELS,
    DOMAIN_TOKENS,
    DOMAINS,
    GRIDS,
    IMAGE,
    IMAGE_TOKENS,
    LESSONS,
    NEGATIVES,
    OF_DOMAIN_ENCODER,
    OWN_NEGATIVES,
    OWN_TOKENS,
    PIXELS,
    POOLED,
    REFERENCES,
    VIEWS,
    VISION_NEGATIVES,
    VISION_TOKENS,
    Inputs,
    tiled,
)
from acclimate.training.inputs.kinds import Given, InputKind, find_kind, register_input

__all__ = [
    "DOMAIN",
    "DOMAINS",
    "DOMAIN_PIXELS",
    "DOMAIN_TOKENS",
    "GRIDS",
    "IMAGE",
    "IMAGE_TOKENS",
    "LESSONS",
    "NEGATIVES",
    "OF_DOMAIN_ENCODER",
    "OWN_NEGATIVES",
    "OWN_TOKENS",
    "PIXELS",
    "POOLED",
    "REFERENCES",
    "VIEWS",
    "VISION_NEGATIVES",
    "VISION_TOKENS",
    "Given",
    "InputKind",
    "Inputs",
    "find_kind",
    "register_input",
    "tiled",
]
