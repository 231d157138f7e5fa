"""SPG: Soft Prompt Generation for Domain Generalization, and the controls that its generator must beat."""

from acclimate.methods.spg.config import SPGConfig
from acclimate.methods.spg.method import SPG

__all__ = ["SPG", "SPGConfig"]
