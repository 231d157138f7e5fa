"""ProLIP: fine-tuning of the vision projection."""

from acclimate.methods.prolip.method import ProLIP, ProLIPConfig

__all__ = ["ProLIP", "ProLIPConfig"]
