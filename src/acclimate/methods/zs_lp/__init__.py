"""ZS-LP: a linear probe that starts from zero-shot classification."""

from acclimate.methods.zs_lp.method import ZeroShotProbe, ZeroShotProbeConfig
from acclimate.methods.zs_lp.rows import ClassRows

__all__ = ["ClassRows", "ZeroShotProbe", "ZeroShotProbeConfig"]
