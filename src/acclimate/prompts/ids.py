"""The ids of the domains, for help that must come at once: without YAML and what it is checked by."""

from __future__ import annotations

import re
from importlib import resources


def domain_ids() -> tuple[str, ...]:
    """Return the id of every domain, in the order of the file: the keys that begin a line there."""
    text = resources.files(__package__).joinpath("templates.yaml").read_text(encoding="utf-8")
    return tuple(re.findall(r"^(\w+):", text, re.MULTILINE))
