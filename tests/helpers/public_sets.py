"""The public data sets of the published recipes in small: their folders and lists, with a few generated images each."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np
from PIL import Image

SPLITS = {"train": 2, "val": 1, "test": 1}  # images of each class
NAMES = ("zinnia", "Boxer", "maine_coon", "aster", "tulip")  # in the order of their numbers, not of the alphabet

ZHOU = {  # folder, images below it, list
    "caltech-101": ("101_ObjectCategories", "split_zhou_Caltech101.json"),
    "oxford_pets": ("images", "split_zhou_OxfordPets.json"),
    "stanford_cars": ("", "split_zhou_StanfordCars.json"),
    "oxford_flowers": ("jpg", "split_zhou_OxfordFlowers.json"),
    "food-101": ("images", "split_zhou_Food101.json"),
    "sun397": ("SUN397", "split_zhou_SUN397.json"),
    "dtd": ("images", "split_zhou_DescribableTextures.json"),
    "eurosat": ("2750", "split_zhou_EuroSAT.json"),
    "ucf101": ("UCF-101-midframes", "split_zhou_UCF101.json"),
}
SYNSETS = {  # the names that CoOp gives them: two are alike
    "n01440764": "tench",
    "n01443537": "goldfish",
    "n01484850": "great white shark",
    "n01491361": "tiger shark",
    "n04355933": "sunglasses",
    "n04356056": "sunglasses",
}
VARIANTS = {
    "imagenetv2/imagenetv2-matched-frequency-format-val": [str(number) for number in range(len(SYNSETS))],
    "imagenet-sketch/images": list(SYNSETS),
    "imagenet-adversarial/imagenet-a": list(SYNSETS)[2:5],
    "imagenet-rendition/imagenet-r": list(SYNSETS)[1:4],
}
DOMAINS = {  # folder of images, domains, splits below them, classes
    "PACS/images": (["art_painting", "cartoon", "photo", "sketch"], [""], ["dog", "horse"]),
    "VLCS/images": (["CALTECH", "LABELME", "PASCAL", "SUN"], ["full", "test"], ["0", "1", "2", "3", "4"]),
    "office_home_dg/images": (["art", "clipart", "product", "real_world"], ["train", "val"], ["Bike", "Desk_Lamp"]),
    "terra/images": ([f"location_{place}" for place in (38, 43, 46, 100)], [""], ["cat", "empty"]),
    "domainnet/images": (
        ["clipart", "infograph", "painting", "quickdraw", "real", "sketch"],
        [""],
        ["aircraft_carrier", "The_Eiffel_Tower"],
    ),
}
MEDMNIST = {  # classes, or labels of an image; channels
    "pathmnist": (9, 3),
    "chestmnist": (14, 1),
    "dermamnist": (7, 3),
    "octmnist": (4, 1),
    "pneumoniamnist": (2, 1),
    "retinamnist": (5, 3),
    "breastmnist": (2, 1),
    "bloodmnist": (8, 3),
    "tissuemnist": (8, 1),
    "organamnist": (11, 1),
    "organcmnist": (11, 1),
    "organsmnist": (11, 1),
}


def image(path: Path) -> str:
    """Write an image like no other and return its name."""
    path.parent.mkdir(parents=True, exist_ok=True)
    colours = hashlib.sha256(str(path).encode()).digest()
    Image.frombytes("RGB", (3, 3), colours[:27]).resize((24, 24)).save(path, quality=95)
    return path.name


def write_public_sets(root: Path) -> Path:
    """Write all of them below a folder, without the lists that make_lists.py makes, and return the folder."""
    for folder, (below, title) in ZHOU.items():
        splits: dict[str, list] = {}
        for split, count in SPLITS.items():
            splits[split] = [
                [f"{name}/{image(root / folder / below / name / f'{split}{turn}.jpg')}", number, name]
                for number, name in enumerate(NAMES)
                for turn in range(count)
            ]
        (root / folder / title).write_text(json.dumps(splits), encoding="utf-8")
    _imagenet(root)
    _aircraft(root / "fgvc_aircraft")
    for folder, (domains, below, classes) in DOMAINS.items():
        for domain in domains:
            for split in below:
                for name in classes:
                    for turn in range(4):
                        image(root / folder / domain / split / name / f"{turn}.jpg")
    return root


def _imagenet(root: Path) -> None:
    names = "".join(f"{folder} {name}\n" for folder, name in SYNSETS.items())
    for folder in SYNSETS:
        for turn in range(3):
            image(root / "imagenet/images/train" / folder / f"{folder}_{turn}.JPEG")
        image(root / "imagenet/images/val" / folder / "ILSVRC2012_val.JPEG")
    for place, folders in VARIANTS.items():
        for folder in folders:
            image(root / place / folder / "0.jpg")
        (root / place / "README.txt").write_text("of the authors")
    for folder in {"imagenet", *(place.split("/")[0] for place in VARIANTS)}:
        (root / folder / "classnames.txt").write_text(names, encoding="utf-8")


def _aircraft(folder: Path) -> None:
    variants = ["707-320", "A300B4", "ATR-42", "Cessna 172", "DC-10"]
    number = 1000000
    for split, count in SPLITS.items():
        lines = []
        for name in variants:
            for _ in range(count):
                number += 1
                image(folder / "images" / f"{number}.jpg")
                lines.append(f"{number} {name}")
        (folder / f"images_variant_{split}.txt").write_text("\n".join(lines) + "\n")
    (folder / "variants.txt").write_text("\n".join(variants) + "\n")


def write_medmnist(root: Path) -> Path:
    """Write the files of MedMNIST+, two images of each class to learn from, and return their folder.

    In ChestMNIST, image k of a split has labels k and k + 1 where there are such, and the last image has none.
    """
    for name, (classes, channels) in MEDMNIST.items():
        arrays = {}
        for split, count in SPLITS.items():
            numbers = np.arange(classes * count) % classes
            tone = np.random.default_rng([len(arrays), *name.encode()]).integers(0, 256, (len(numbers), 2, 2, channels))
            pixels = tone.astype(np.uint8).repeat(112, 1).repeat(112, 2)
            several = np.eye(classes + 1, dtype=np.uint8)[numbers] + np.eye(classes + 1, dtype=np.uint8)[numbers + 1]
            several[-1] = 0
            arrays[f"{split}_images"] = pixels if channels == 3 else pixels[..., 0]
            arrays[f"{split}_labels"] = several[:, :-1] if name == "chestmnist" else numbers[:, None].astype(np.uint8)
        np.savez_compressed(root / f"{name}_224.npz", **arrays)
    return root
