"""Runs in forms that other programs read: an ONNX graph with its preprocessing and a script."""

from acclimate.exporting.folder import Exported, export_onnx
from acclimate.exporting.graph import ClassifierGraph
from acclimate.exporting.onnx import Parity

__all__ = ["ClassifierGraph", "Exported", "Parity", "export_onnx"]
