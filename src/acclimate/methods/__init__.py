"""Adaptation methods: one room each, one registration line."""

from acclimate.methods.contract import Method, Prerequisite, Reading, TextClassifier, TrainingFacts
from acclimate.methods.registry import get_method, list_methods, register

__all__ = [
    "Method",
    "Prerequisite",
    "Reading",
    "TextClassifier",
    "TrainingFacts",
    "get_method",
    "list_methods",
    "register",
]
