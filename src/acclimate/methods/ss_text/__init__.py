"""SS-Text: a training-free blend of text and image prototypes."""

from acclimate.methods.ss_text.method import SSText, SSTextConfig

__all__ = ["SSText", "SSTextConfig"]
