"""CoCoOp: conditional context optimisation."""

from acclimate.methods.cocoop.method import CoCoOp, CoCoOpConfig

__all__ = ["CoCoOp", "CoCoOpConfig"]
