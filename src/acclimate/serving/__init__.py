"""Runs behind HTTP: labels, maps and answers for images that others send, within limits."""

from __future__ import annotations

from acclimate.modules import on_first_use

__all__ = ["Limits", "make_app", "serve"]

__getattr__ = on_first_use(__name__, {"Limits": "limits", "make_app": "app", "serve": "server"})
