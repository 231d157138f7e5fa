"""Adaptation methods: one file or folder each, one registration line; `parts` has what several of them share."""

from __future__ import annotations

from typing import TYPE_CHECKING

from acclimate.modules import on_first_use

if TYPE_CHECKING:
    from acclimate.methods.capabilities import (
        Answerer,
        AnsweringClassifier,
        Classifier,
        DomainAttributor,
        Generator,
        PromptAttribution,
        PromptAttributor,
        Retriever,
        WordLearner,
    )
    from acclimate.methods.contract import Method
    from acclimate.methods.facts import ClassSet, TrainingFacts
    from acclimate.methods.labeller import Labeller
    from acclimate.methods.prerequisites import GivenFile, Prerequisite, TaskModel
    from acclimate.methods.registry import get_method, list_methods, load_plugin, register

__all__ = [
    "Answerer",
    "AnsweringClassifier",
    "ClassSet",
    "Classifier",
    "DomainAttributor",
    "Generator",
    "GivenFile",
    "Labeller",
    "Method",
    "Prerequisite",
    "PromptAttribution",
    "PromptAttributor",
    "Retriever",
    "TaskModel",
    "TrainingFacts",
    "WordLearner",
    "get_method",
    "list_methods",
    "load_plugin",
    "register",
]

_HOMES = {
    "Answerer": "capabilities",
    "AnsweringClassifier": "capabilities",
    "ClassSet": "facts",
    "Classifier": "capabilities",
    "DomainAttributor": "capabilities",
    "Generator": "capabilities",
    "GivenFile": "prerequisites",
    "Labeller": "labeller",
    "Method": "contract",
    "Prerequisite": "prerequisites",
    "TaskModel": "prerequisites",
    "PromptAttribution": "capabilities",
    "PromptAttributor": "capabilities",
    "Retriever": "capabilities",
    "TrainingFacts": "facts",
    "WordLearner": "capabilities",
    "get_method": "registry",
    "list_methods": "registry",
    "load_plugin": "registry",
    "register": "registry",
}

__getattr__ = on_first_use(__name__, _HOMES)
