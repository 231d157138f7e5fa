"""The command line: verbs and no logic. Nothing here imports torch before a verb runs."""

from acclimate.cli.app import main

__all__ = ["main"]
