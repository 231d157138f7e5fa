"""MaPLe: multi-modal prompt learning."""

from acclimate.methods.maple.method import MaPLe, MaPLeConfig

__all__ = ["MaPLe", "MaPLeConfig"]
