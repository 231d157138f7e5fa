"""Zero-shot classification with the domain's template, or an ensemble of templates."""

from acclimate.methods.zero_shot.method import ZeroShot, ZeroShotConfig

__all__ = ["ZeroShot", "ZeroShotConfig"]
