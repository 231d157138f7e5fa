"""CuPL: zero-shot classification with sentences about each class."""

from acclimate.methods.cupl.method import CuPL, CuPLConfig

__all__ = ["CuPL", "CuPLConfig"]
