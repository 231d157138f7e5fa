"""CLAP: class-adaptive linear probe."""

from acclimate.methods.clap.method import Clap, ClapConfig

__all__ = ["Clap", "ClapConfig"]
