"""Embedded specialised domains: deterministic images made from the physics of how such images arise.

Five domains (satellite scenes, SAR targets, petrographic thin sections, flow fields, histology), each with eight
classes and several acquisition domains, for demos, tests and teaching without any download. They stand in for real
data where none is at hand; they do not replace it.
"""

from __future__ import annotations

from acclimate.synthetic.catalogue import SyntheticDomain, get_domain, list_domains
from acclimate.synthetic.dataset import write_dataset
from acclimate.synthetic.questions import write_questions
from acclimate.synthetic.rendering import render
from acclimate.synthetic.scenes import Scene, Thing, list_scene_domains, render_scene
from acclimate.synthetic.sheet import contact_sheet

__all__ = [
    "Scene",
    "SyntheticDomain",
    "Thing",
    "contact_sheet",
    "get_domain",
    "list_domains",
    "list_scene_domains",
    "render",
    "render_scene",
    "write_dataset",
    "write_questions",
]
