"""AAPE: a prompt embedding generated from the image, distilled from sentences in natural language."""

from acclimate.methods.aape.config import AAPEConfig
from acclimate.methods.aape.method import AAPE
from acclimate.methods.aape.text import AAPELimber, AAPELimberConfig

__all__ = ["AAPE", "AAPEConfig", "AAPELimber", "AAPELimberConfig"]
