"""What people look at: one HTML file about runs, with images, that needs nothing else."""

from __future__ import annotations

from acclimate.modules import on_first_use

__all__ = ["Report", "make_report", "write_report"]

__getattr__ = on_first_use(__name__, dict.fromkeys(__all__, "report"))
