"""KgCoOp: context optimisation that stays close to hand-written prompts."""

from acclimate.methods.kgcoop.method import KgCoOp, KgCoOpConfig

__all__ = ["KgCoOp", "KgCoOpConfig"]
