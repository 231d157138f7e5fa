"""Write split lists for the data sets of the published recipes that come without one.

    python recipes/published/make_lists.py DATA

These are ImageNet and its four variants, FGVC-Aircraft, and VLCS. DATA is laid out as docs/recipes.md says. Data sets
that are not in DATA, and lists that are there already, are left alone.
"""

from __future__ import annotations

import argparse
import hashlib
import json
from collections.abc import Callable
from pathlib import Path

Entry = list[str | int]
Splits = dict[str, list[Entry]]

VLCS_CLASSES = ("bird", "car", "chair", "dog", "person")
# The published class names call two pairs of classes the same. A class is known by its name here, so one of each pair
# gets the name that ImageNet itself has for it.
OWN_NAMES = {"n04008634": "projectile", "n04355933": "sunglass"}


def class_names(file: Path) -> dict[str, str]:
    """Read `classnames.txt`, a folder and its class name in each line, in the order of the labels."""
    lines = [line.split(" ", 1) for line in file.read_text(encoding="utf-8").splitlines() if line.strip()]
    return {folder: OWN_NAMES.get(folder, name.strip()) for folder, name in lines}


def images(folder: Path, most: int = 0) -> list[str]:
    """Return the names of the images in a folder; at most so many, if `most` is not 0, in a random but fixed choice."""
    names = sorted(file.name for file in folder.iterdir() if not file.name.startswith("."))
    by_chance = sorted(names, key=lambda name: hashlib.sha256(name.encode()).hexdigest())
    return by_chance[:most] if most else names


def folders(root: Path) -> list[Path]:
    """Return the folders in a folder, sorted."""
    return sorted(folder for folder in root.iterdir() if folder.is_dir() and not folder.name.startswith("."))


def imagenet(root: Path, per_class: int) -> Splits:
    """ImageNet: its training images, and its validation images as test images, as all papers have it."""
    names = class_names(root / "classnames.txt")
    splits: Splits = {}
    for split, place, most in (("train", "train", per_class), ("test", "val", 0)):
        splits[split] = [
            [f"{place}/{folder.name}/{image}", label, names[folder.name]]
            for label, folder in enumerate(folders(root / "images" / place))
            for image in images(folder, most)
        ]
    return splits


def variant(place: str) -> Callable[[Path, int], Splits]:
    """Return what lists a variant of ImageNet, which has test images only, of its own classes."""

    def entries(root: Path, per_class: int) -> Splits:
        names = class_names(root / "classnames.txt")
        found = {folder.name: folder for folder in folders(root / place)}
        if not set(found) <= set(names):  # ImageNetV2: folders 0 to 999 in the order of the class names
            found = {name: found[str(number)] for number, name in enumerate(names)}
        return {
            "test": [
                [f"{folder.name}/{image}", label, names[name]]
                for label, (name, folder) in enumerate(found.items())
                for image in images(folder)
            ]
        }

    return entries


def aircraft(root: Path, per_class: int) -> Splits:
    """FGVC-Aircraft: variants, in the split that it comes with."""
    labels = {name: label for label, name in enumerate((root / "variants.txt").read_text().splitlines())}
    splits: Splits = {}
    for split in ("train", "val", "test"):
        lines = (root / f"images_variant_{split}.txt").read_text().splitlines()
        rows = [line.strip().split(" ", 1) for line in lines]
        splits[split] = [[f"{image}.jpg", labels[name], name] for image, name in rows]
    return splits


def vlcs(root: Path) -> dict[str, Splits]:
    """VLCS: one list a domain, by its first letter; the folder `full` trains and `test` validates."""
    lists: dict[str, Splits] = {}
    for number, domain in enumerate(folders(root / "images")):
        splits: Splits = {}
        for split, place in (("train", "full"), ("val", "test")):
            splits[split] = [
                [f"VLCS/images/{domain.name}/{place}/{folder.name}/{image}", label, number, name]
                for label, (folder, name) in enumerate(zip(folders(domain / place), VLCS_CLASSES, strict=True))
                for image in images(folder)
            ]
        lists[domain.name[0].lower()] = splits
    return lists


LISTS: dict[str, tuple[str, Callable[[Path, int], Splits]]] = {
    "imagenet": ("split_imagenet.json", imagenet),
    "imagenetv2": ("split_imagenetv2.json", variant("imagenetv2-matched-frequency-format-val")),
    "imagenet-sketch": ("split_imagenet_sketch.json", variant("images")),
    "imagenet-adversarial": ("split_imagenet_a.json", variant("imagenet-a")),
    "imagenet-rendition": ("split_imagenet_r.json", variant("imagenet-r")),
    "fgvc_aircraft": ("split_fgvc_aircraft.json", aircraft),
}


def missing(file: Path) -> bool:
    """Return whether a list is to be written, and say so where it is not."""
    if file.exists():
        print(f"{file}: is there already")
    return not file.exists()


def write(file: Path, splits: Splits) -> None:
    """Write a list."""
    file.parent.mkdir(exist_ok=True)
    file.write_text(json.dumps(splits), encoding="utf-8")
    print(f"{file}: {', '.join(f'{split} {len(entries)}' for split, entries in splits.items())}")


def main() -> None:
    """Write the lists that are missing."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("data", type=Path, help="folder of all data sets")
    parser.add_argument(
        "--per-class",
        type=int,
        default=0,
        metavar="N",
        help="list only N training images of each class of ImageNet: a bench reads all that are listed, and 16 shots "
        "need no more than 100 (default: all)",
    )
    arguments = parser.parse_args()
    data: Path = arguments.data
    for name, (title, make) in LISTS.items():
        if (data / name).is_dir() and missing(data / name / title):
            write(data / name / title, make(data / name, arguments.per_class))
    lists = vlcs(data / "VLCS") if (data / "VLCS").is_dir() else {}
    for letter, splits in lists.items():
        file = data / f"VLCS/spg_coop_splits/{letter}_train_val_split.json"
        if missing(file):
            write(file, splits)


if __name__ == "__main__":
    main()
