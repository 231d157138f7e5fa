"""Tasks: what is done with images, and all that depends on it. A new task is a file here.

A task is registered when its module is imported, so this package imports each of its own here.
"""

from acclimate.tasks.answering import Answering
from acclimate.tasks.captioning import Caption, Captioning
from acclimate.tasks.classification import Classification, choose_prompts
from acclimate.tasks.classified import Prediction
from acclimate.tasks.contract import Task
from acclimate.tasks.multi_label import LabelledImage, MultiLabel
from acclimate.tasks.registry import get_task, list_tasks, method_for, open_data, task_of
from acclimate.tasks.retrieval import Retrieval

__all__ = [
    "Answering",
    "Caption",
    "Captioning",
    "Classification",
    "LabelledImage",
    "MultiLabel",
    "Prediction",
    "Retrieval",
    "Task",
    "choose_prompts",
    "get_task",
    "list_tasks",
    "method_for",
    "open_data",
    "task_of",
]
