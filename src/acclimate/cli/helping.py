"""What stands below the options of `--help`: an example, and the names that options choose from."""

from __future__ import annotations

import sys
from types import ModuleType
from typing import Any

from typer.core import TyperCommand, TyperGroup

EXAMPLES = {
    "adapt": "acclimate adapt my_images --method coop --shots 16 --out runs/mine",
    "evaluate": "acclimate evaluate runs/mine other_images",
    "predict": "acclimate predict runs/mine new_images --out labels.csv",
    "suggest": "acclimate suggest runs/mine new_images -n 20 --out to_label",
    "backbones": "acclimate backbones --on my_images",
    "backbones convert": "acclimate backbones convert RemoteCLIP-ViT-B-32.pt --out models/remoteclip",
    "bench": "acclimate bench spec.yaml --jobs 2 --compare linear-probe",
    "describe": "acclimate describe my_images --llm http://localhost:8000/v1 --out prompts.json",
    "check": "acclimate data check my_images",
    "make": "acclimate data make sar my_radar",
    "mae": "acclimate pretrain mae my_images --out runs/mae",
}


UNUSED = {"rich.markdown": "Markdown", "rich.traceback": "Traceback"}
"""What typer imports to draw any help, but uses only for help in Markdown and for tracebacks; here are none."""


def import_drawing() -> None:
    """Import what draws help without `UNUSED`, which take long; whoever needs them later finds the real modules."""
    absent = [] if "typer.rich_utils" in sys.modules else [name for name in UNUSED if name not in sys.modules]
    for name in absent:
        sys.modules[name] = ModuleType(name)
        setattr(sys.modules[name], UNUSED[name], type(UNUSED[name], (), {}))
    try:
        import typer.rich_utils  # noqa: F401
    finally:
        for name in absent:
            del sys.modules[name]


class Verbs(TyperGroup):
    """A group of verbs. Its own options stand before the verb; where there are none, none is looked at.

    Typer imports pydantic to convert the value of any option, even of `--help` where it is not given.
    """

    def parse_args(self, ctx: Any, args: list[str]) -> Any:
        """Read the words before the verb."""
        if args and args[0] in self.commands:
            self.params, self.add_help_option = [], False
        return super().parse_args(ctx, args)

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """Write the help."""
        import_drawing()
        super().format_help(ctx, formatter)


class Verb(TyperCommand):
    """A verb whose help ends with an example and with the choices of `--method` and `--domain`, made without torch."""

    def parse_args(self, ctx: Any, args: list[str]) -> Any:
        """Read the words of a command; `--help` is answered before any value is converted."""
        given, _, _ = self.make_parser(ctx).parse_args(list(args))
        if given.get("help") and not ctx.resilient_parsing:
            print(ctx.get_help())  # as the option itself does
            ctx.exit()
        return super().parse_args(ctx, args)

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """Write the help."""
        import_drawing()
        options = {str(parameter.name) for parameter in self.params}
        parts = [f"Example: {EXAMPLES[self.name]}"] if self.name in EXAMPLES else []
        if "method" in options:
            from acclimate.methods.cards import list_cards

            parts.append(f"Methods: {', '.join(card.name for card in list_cards())}.")
        if "domain" in options and self.name != "demo":
            from acclimate.prompts.ids import domain_ids

            parts.append(f"Domains: {', '.join(domain_ids())}.")
        self.epilog = "\n\n".join(parts)
        super().format_help(ctx, formatter)
