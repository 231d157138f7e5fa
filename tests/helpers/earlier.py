"""The images of the runs under `tests/earlier/runs`, and the calls that made them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import acclimate
from acclimate.data import ImageData, load_captions, load_data
from tests.helpers.pictures import CLASSES, picture

RUNS = Path(__file__).parents[1] / "earlier" / "runs"
COMMON = {"device": "cpu", "domain": "natural", "shots": 3, "seed": 1}
UNLABELLED = {"domain": None, "shots": "all"}
REFERENCES = {
    "cat": ["a furry animal with whiskers", "a small cat"],
    "dog": ["a dog with a wet nose"],
    "river": ["water between banks", "a wide river"],
}
COOP = {"epochs": 4, "context_tokens": 4, "batch_size": 4, "lr": 0.02}
AAPE = {"epochs": 4, "batch_size": 4}
GDPL = {"epochs": 1, "depth": 2, "layers": 1, "rank": 1, "meta_width": 2, "mixer": "bottleneck", "augment": "none"}
SPG = {"generator": "mixture", "label_epochs": 2, "context_tokens": 2, "context_init": None}

CALLS: dict[str, tuple[str, str, dict[str, Any], dict[str, Any]]] = {  # data, method, settings, other options
    "coop": ("animals", "coop", COOP, {}),
    "linear-probe": ("animals", "linear-probe", {}, {}),
    "tip-adapter-f": ("animals", "tip-adapter-f", {"epochs": 2}, {}),
    "zs-lp": ("animals", "zs-lp", {"epochs": 3}, {}),
    "gdpl": ("animals", "gdpl", GDPL, {"domain_encoder": "self"}),
    "aape": ("animals", "aape", AAPE, {"reference_prompts": REFERENCES, "look_at": ["train/cat/0.bmp"]}),
    "aape-started": ("animals", "aape", AAPE, {"reference_prompts": REFERENCES, "start": RUNS / "aape"}),
    "spg": ("places", "spg", SPG, {"shots": "all"}),
    "retrieval": ("scenes", "aape", {**AAPE, "generator": "residual"}, UNLABELLED),
    "retrieval-zero-shot": ("scenes", "zero-shot", {}, UNLABELLED),
}
KILLED: dict[str, tuple[str, str, dict[str, Any], dict[str, Any]]] = {
    "coop-killed": CALLS["coop"],
    "tip-adapter-f-killed": ("animals", "tip-adapter-f", {"epochs": 2, "batch_size": 4}, {}),
    "aape-killed": (
        "animals",
        "aape",
        {**AAPE, "two_stage": True, "aggregator": "mlp"},
        {"reference_prompts": REFERENCES},
    ),
}


def write_images(folder: Path) -> dict[str, ImageData]:
    """Draw all images, as bitmaps, whose bytes are the same everywhere; return the data sets by their names."""
    return {
        "animals": load_data(_animals(folder / "animals")),
        "places": load_data(_places(folder / "places") / "labels.csv"),
        "scenes": load_captions(_scenes(folder / "scenes")),
    }


def adapt(name: str, sets: dict[str, ImageData], out: Path, **more: Any) -> acclimate.AdaptedModel:
    """Give the call again that made a run, with another run folder."""
    data, method, settings, options = (CALLS | KILLED)[name]
    return acclimate.adapt(sets[data], method, settings=settings, out=out, **{**COMMON, **options, **more})


def _animals(folder: Path) -> Path:
    for number, (split, count) in enumerate({"train": 4, "val": 2, "test": 4}.items()):
        for kind, name in enumerate(CLASSES):
            (folder / split / name).mkdir(parents=True)
            for index in range(count):
                picture(kind, index, seed=100 * number).save(folder / split / name / f"{index}.bmp")
    return folder


def _places(folder: Path) -> Path:
    folder.mkdir(parents=True)
    rows = ["path,label,domain,split"]
    for thousand, domain in enumerate(("day", "night"), start=1):
        for number, (split, count) in enumerate({"train": 3, "val": 1, "test": 2}.items()):
            for kind, name in enumerate(CLASSES):
                for index in range(count):
                    path = f"{domain}-{split}-{name}-{index}.bmp"
                    picture(kind, index, seed=1000 * thousand + 100 * number).save(folder / path)
                    rows.append(f"{path},{name},{domain},{split}")
    (folder / "labels.csv").write_text("\n".join(rows) + "\n")
    return folder


def _scenes(folder: Path) -> Path:
    folder.mkdir(parents=True)
    rows, sizes = ["image,caption,split"], ("small", "large", "old")
    for number, (split, count) in enumerate({"train": 9, "test": 6}.items()):
        for index in range(count):
            path, kind = f"{split}-{index}.bmp", index % len(CLASSES)
            picture(kind, index, seed=100 * number).save(folder / path)
            rows += [f"{path},a {sizes[(index + which) % 3]} {CLASSES[kind]},{split}" for which in range(2)]
    (folder / "captions.csv").write_text("\n".join(rows) + "\n")
    return folder
