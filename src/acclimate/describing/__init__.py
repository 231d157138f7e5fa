"""Reference prompts written by a language model, before training; nothing here is needed to label images."""

from acclimate.describing.description import Description
from acclimate.describing.writers import HTTPWriter, LocalWriter, Request, Sampling, Writer, open_writer

__all__ = ["Description", "HTTPWriter", "LocalWriter", "Request", "Sampling", "Writer", "open_writer"]
