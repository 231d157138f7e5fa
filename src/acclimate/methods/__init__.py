"""Adaptation methods: one file or folder each, one registration line; `parts` has what several of them share."""

from acclimate.methods.capabilities import Classifier, Generator, PromptAttribution, PromptAttributor, Retriever
from acclimate.methods.contract import GivenFile, Method, Prerequisite, TrainingFacts
from acclimate.methods.registry import get_method, list_methods, load_plugin, register

__all__ = [
    "Classifier",
    "Generator",
    "GivenFile",
    "Method",
    "Prerequisite",
    "PromptAttribution",
    "PromptAttributor",
    "Retriever",
    "TrainingFacts",
    "get_method",
    "list_methods",
    "load_plugin",
    "register",
]
