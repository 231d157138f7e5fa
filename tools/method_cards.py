"""Write src/acclimate/methods/cards.json, which the tables of methods show; with `--check`, compare the two."""

from __future__ import annotations

import difflib
import json
import sys
from dataclasses import asdict

from acclimate.methods import cards, list_methods


def text() -> str:
    """Return the text of the file as the code has it now; methods of other packages are not in it."""
    own = [method for method in list_methods() if method.__module__.startswith("acclimate.methods.")]
    return json.dumps([asdict(cards.card_of(method)) for method in own], indent=1, ensure_ascii=False) + "\n"


def main(arguments: list[str]) -> int:
    """Write the file, or compare it; return the exit code."""
    if arguments not in ([], ["--check"]):
        print("usage: python tools/method_cards.py [--check]", file=sys.stderr)
        return 2
    new, old = text(), cards.FILE.read_text(encoding="utf-8") if cards.FILE.exists() else ""
    if not arguments:
        cards.FILE.write_text(new, encoding="utf-8")
    elif new != old:
        lines = difflib.unified_diff(old.splitlines(True), new.splitlines(True), cards.FILE.name, "from the code", n=1)
        print("".join(lines), "\nThis file is made from the code: `make cards` writes it.", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
