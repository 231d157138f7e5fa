"""IVLP: independent prompts in both towers."""

from acclimate.methods.ivlp.method import IVLP, IVLPConfig

__all__ = ["IVLP", "IVLPConfig"]
