"""The table of backbones that were ranked on labelled images."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from acclimate.cli import tables
from acclimate.cli.console import out, tell
from acclimate.cli.layout import Sheet
from acclimate.counting import counted
from acclimate.telling.words import OUTCOMES, figure_text

if TYPE_CHECKING:
    from acclimate.runs.ranking import Ranked


def show_ranking(found: Sequence[Ranked], as_json: bool = False) -> None:
    """Show what each backbone is worth, the best first, and whether the first is ahead of the second."""
    if as_json:
        tables.print_json([one.to_dict() for one in found])
        return
    sheet = Sheet(["backbone", "balanced", "log loss", "to the first", "M params", "ms / image", "kind"])
    for one in found:
        gap = one.against_first
        cells = [figure_text("balanced_accuracy", one.metrics), figure_text("nll", one.metrics, interval=False)]
        cells += ["" if gap is None else f"{100 * gap['difference']['value']:+.1f}, {gap['outcome']}"]
        sheet.add(one.name, *cells, f"{one.parameters / 1e6:.1f}", f"{one.milliseconds:.0f}", one.kind)
    tables.show_figures(sheet)
    images, groups = (found[0].metrics[name] for name in ("samples", "groups"))
    tell(
        out,
        f"{counted(images, 'training image')}, each predicted by kernel ridge regression without it; brackets: 95 % "
        f"bootstrap interval over {counted(groups, 'group')}. Test images are not read.",
        "note",
    )
    out.print()
    if len(found) > 1 and (gap := found[1].against_first) is not None:
        outcome = {"worse": "better", "better": "worse"}.get(gap["outcome"], gap["outcome"])
        tell(out, OUTCOMES[outcome].format(method=found[0].name, other=found[1].name) + ". Next:")
    else:
        tell(out, "Next:")


def words_for(first: Ranked) -> tuple[str, ...]:
    """Return the options with which `adapt` reads a backbone in the way that was measured, or the nearest there is."""
    method = ("--method", "linear-probe") if first.is_generative else ()
    return *method, "--domain-encoder" if first.is_domain_encoder else "--backbone", first.name
