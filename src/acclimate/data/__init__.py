"""Data: labelled images from a folder, a manifest or a `datasets` data set; splits, shots, checks, transforms, cache.

Names are imported on first use, so that loading data does not import torch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from acclimate.modules import on_first_use

if TYPE_CHECKING:
    from acclimate.data.augment import Augmentation
    from acclimate.data.cache import FeatureCache
    from acclimate.data.captions import CaptionData, find_captions, load_captions
    from acclimate.data.check import CheckReport, Finding, check_data
    from acclimate.data.dataset import ImageData
    from acclimate.data.frozen import apply_splits, freeze_splits, load_splits
    from acclimate.data.given import each_image
    from acclimate.data.images import open_image
    from acclimate.data.joining import join_data
    from acclimate.data.load import load_data
    from acclimate.data.questions import Question, QuestionData, find_questions, load_questions
    from acclimate.data.several import MultiLabelData
    from acclimate.data.shots import parse_budget, parse_shots, sample_shots
    from acclimate.data.splits import make_splits
    from acclimate.data.transforms import ImageTransform

_HOMES = {
    "Augmentation": "augment",
    "CaptionData": "captions",
    "CheckReport": "check",
    "FeatureCache": "cache",
    "Finding": "check",
    "ImageData": "dataset",
    "ImageTransform": "transforms",
    "MultiLabelData": "several",
    "Question": "questions",
    "QuestionData": "questions",
    "apply_splits": "frozen",
    "check_data": "check",
    "each_image": "given",
    "find_captions": "captions",
    "find_questions": "questions",
    "freeze_splits": "frozen",
    "join_data": "joining",
    "load_captions": "captions",
    "load_data": "load",
    "load_questions": "questions",
    "load_splits": "frozen",
    "make_splits": "splits",
    "open_image": "images",
    "parse_budget": "shots",
    "parse_shots": "shots",
    "sample_shots": "shots",
}

__all__ = [
    "Augmentation",
    "CaptionData",
    "CheckReport",
    "FeatureCache",
    "Finding",
    "ImageData",
    "ImageTransform",
    "MultiLabelData",
    "Question",
    "QuestionData",
    "apply_splits",
    "check_data",
    "each_image",
    "find_captions",
    "find_questions",
    "freeze_splits",
    "join_data",
    "load_captions",
    "load_data",
    "load_questions",
    "load_splits",
    "make_splits",
    "open_image",
    "parse_budget",
    "parse_shots",
    "sample_shots",
]

__getattr__ = on_first_use(__name__, _HOMES)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
