"""VPT: visual prompt tuning."""

from acclimate.methods.vpt.method import VPT, VPTConfig

__all__ = ["VPT", "VPTConfig"]
