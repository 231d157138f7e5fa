"""Pages under results/ come out again, byte for byte, from the figures beside them."""

from __future__ import annotations

from pathlib import Path

import pytest

from acclimate.bench import Outcome, read_spec, write_results
from acclimate.bench.scores import read_scores

ROOT = Path(__file__).parents[2]
RECORDED = {
    "aape": "aape-mini",
    "aape_settings": "aape-settings",
    "aape_text": "aape-text-mini",
    "auto": "auto-mini",
    "auto_rs": "auto-rs",
    "rs": "rs-mini",
    "baselines": "baselines-mini",
    "gdpl": "gdpl-mini",
    "gdpl_ablation": "gdpl-ablation",
    "gdpl_settings": "gdpl-settings",
    "spg": "spg-pacs-mini",
    "spg_settings": "spg-settings",
    "vitask": "vitask-mini",
}


def test_every_record_has_its_recipe():
    assert {path.parent.name for path in (ROOT / "results").glob("*/results.csv")} == set(RECORDED)


@pytest.mark.parametrize(("folder", "recipe"), RECORDED.items())
def test_recorded_pages_come_out_again(folder, recipe, tmp_path):
    place = ROOT / "results" / folder
    spec = read_spec(ROOT / f"recipes/{recipe}.yaml")
    write_results(spec, Outcome([], read_scores(place / "results.csv")), tmp_path)
    for name in ("results.md", "results.csv"):
        assert (tmp_path / name).read_bytes() == (place / name).read_bytes(), name
