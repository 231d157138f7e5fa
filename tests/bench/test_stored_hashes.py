"""Hashes of jobs that were done once stay what they are; else every bench there is would begin anew."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from acclimate.bench import plan_bench, read_spec

RECIPE = Path(__file__).parents[2] / "recipes/baselines-mini.yaml"
CLASSES = {"aid": "Beach Bridge Desert Forest", "lithology": "dolomite limestone", "sar_acd": "A220 A330 ARJ21 Boeing"}
SPLITS = ("train", "val", "test")
DOMAINS = ("photo", "sketch")

STORED = {
    "zero-shot, few-shot aid, 16 shots, seed 2": "1415108673d65985",
    "linear-probe, few-shot lithology, 16 shots, seed 2": "b9fe02b1d402f19e",
    "coop, base-to-novel aid, 16 shots, seed 2": "c2900756d3e8e34e",
    "maple, few-shot sar_acd, 16 shots, seed 2": "bf8a6d4cdd1fd9db",
    "promptsrc, few-shot lithology, 16 shots, seed 2": "cfbe09f72a928b24",
    "clip-lora, leave-one-domain-out pacs photo, 16 shots, seed 2": "65ed184bed97ac8a",
}


@pytest.fixture(scope="module")
def jobs(tmp_path_factory):
    """The jobs of the recipe on a few small pictures, without compression, so that bytes are the same everywhere."""
    root = tmp_path_factory.mktemp("sets")
    folders = [f"{name}/{split}/{label}" for name, of in CLASSES.items() for split in SPLITS for label in of.split()]
    folders += [f"pacs/{domain}/{label}" for domain in DOMAINS for label in ("dog", "horse")]
    for number, folder in enumerate(folders):
        (root / folder).mkdir(parents=True)
        for index in range(4):
            value = (16 * number + 3 * index) % 4096
            pixels = (np.arange(192).reshape(8, 8, 3) * (value + 1) + value) % 251
            Image.fromarray(pixels.astype(np.uint8)).save(root / folder / f"{index}.bmp")
    return {job.describe(): job for job in plan_bench(read_spec(RECIPE, root), "cpu")}


def test_hashes_of_the_baselines(jobs):
    assert {name: jobs[name].hash for name in STORED} == STORED
    assert all(job.domain_encoder is None and "domain_encoder" not in job.content for job in jobs.values())
