"""Protocols: which classes and domains train, and which test. They hold no training code.

A protocol is registered when its module is imported, so this package imports each of its own here.
"""

from acclimate.protocols.classes import BaseToNovel, BaseToNovelValidation
from acclimate.protocols.contract import Protocol, Trial, get_layout, get_protocol, list_protocols
from acclimate.protocols.domains import LeaveOneDomainOut, SingleSource
from acclimate.protocols.few_shot import FewShot, FewShotValidation
from acclimate.protocols.layout import Layout
from acclimate.protocols.selection import SELECTION_RULES, SelectionRule, get_selection_rule
from acclimate.protocols.sets import CrossDataset
from acclimate.protocols.together import draw_together

__all__ = [
    "SELECTION_RULES",
    "BaseToNovel",
    "BaseToNovelValidation",
    "CrossDataset",
    "FewShot",
    "FewShotValidation",
    "Layout",
    "LeaveOneDomainOut",
    "Protocol",
    "SelectionRule",
    "SingleSource",
    "Trial",
    "draw_together",
    "get_layout",
    "get_protocol",
    "get_selection_rule",
    "list_protocols",
]
