"""Runs in forms that other programs read: an ONNX graph with its preprocessing and a script."""

from acclimate.exporting.folder import Exported, export_onnx
from acclimate.exporting.graph import ClassifierGraph
from acclimate.exporting.onnx import Parity
from acclimate.exporting.plain import Saved, export_transformers

__all__ = ["ClassifierGraph", "Exported", "Parity", "Saved", "export_onnx", "export_transformers"]
