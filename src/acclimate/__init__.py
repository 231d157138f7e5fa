"""Adapt vision-language models to specialised domains from a few labelled images."""

__version__ = "0.1.0.dev0"
