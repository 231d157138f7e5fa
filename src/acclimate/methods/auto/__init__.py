"""Auto: an ensemble whose parts are weighed by what they say of images left out."""

from acclimate.methods.auto.config import AutoConfig
from acclimate.methods.auto.method import Auto

__all__ = ["Auto", "AutoConfig"]
