"""Turn the files of MedMNIST+ into folders of images for the published recipe of VITask.

    python recipes/published/make_medmnist.py DATA

DATA holds files `NAME_224.npz` of MedMNIST, in two dimensions (docs/recipes.md says where they are). Each becomes
DATA/NAME with the folder `images` and `labels.csv`, in the split that it comes with. Files that are not in DATA, and
sets that are there already, are left alone; a set that was begun and not finished is written anew.

ChestMNIST has several labels an image. They stand with `|` between them, as `pretrain classifier --multi-label` reads
them.
"""

from __future__ import annotations

import argparse
import csv
import os
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO

import numpy as np
from PIL import Image

SIDE = 224
SPLITS = ("train", "val", "test")
UNREADABLE = (EOFError, KeyError, ValueError, zipfile.BadZipFile, zlib.error)
_ORGANS = (
    "bladder",
    "femur-left",
    "femur-right",
    "heart",
    "kidney-left",
    "kidney-right",
    "liver",
    "lung-left",
    "lung-right",
    "pancreas",
    "spleen",
)
# Names as MedMNIST has them (medmnist/info.py, version 3.0.2), in the order of its numbers. Those of RetinaMNIST, which
# are numbers there, are the grades that the numbers stand for.
CLASSES: dict[str, tuple[str, ...]] = {
    "pathmnist": (
        "adipose",
        "background",
        "debris",
        "lymphocytes",
        "mucus",
        "smooth muscle",
        "normal colon mucosa",
        "cancer-associated stroma",
        "colorectal adenocarcinoma epithelium",
    ),
    "dermamnist": (
        "actinic keratoses and intraepithelial carcinoma",
        "basal cell carcinoma",
        "benign keratosis-like lesions",
        "dermatofibroma",
        "melanoma",
        "melanocytic nevi",
        "vascular lesions",
    ),
    "octmnist": ("choroidal neovascularization", "diabetic macular edema", "drusen", "normal"),
    "pneumoniamnist": ("normal", "pneumonia"),
    "retinamnist": (
        "no diabetic retinopathy",
        "mild diabetic retinopathy",
        "moderate diabetic retinopathy",
        "severe diabetic retinopathy",
        "proliferative diabetic retinopathy",
    ),
    "breastmnist": ("malignant", "normal, benign"),
    "bloodmnist": (
        "basophil",
        "eosinophil",
        "erythroblast",
        "immature granulocytes(myelocytes, metamyelocytes and promyelocytes)",
        "lymphocyte",
        "monocyte",
        "neutrophil",
        "platelet",
    ),
    "tissuemnist": (
        "Collecting Duct, Connecting Tubule",
        "Distal Convoluted Tubule",
        "Glomerular endothelial cells",
        "Interstitial endothelial cells",
        "Leukocytes",
        "Podocytes",
        "Proximal Tubule Segments",
        "Thick Ascending Limb",
    ),
    "organamnist": _ORGANS,
    "organcmnist": _ORGANS,
    "organsmnist": _ORGANS,
}
SEVERAL_LABELS: dict[str, tuple[str, ...]] = {
    "chestmnist": (
        "atelectasis",
        "cardiomegaly",
        "effusion",
        "infiltration",
        "mass",
        "nodule",
        "pneumonia",
        "pneumothorax",
        "consolidation",
        "edema",
        "emphysema",
        "fibrosis",
        "pleural",
        "hernia",
    )
}


def label_of(name: str, given: np.ndarray) -> str:
    """Return what labels.csv says of an image: its class, or its labels with `|` between, where `|` alone is none.

    Args:
        name: of the data set.
        given: the number of its class (1), or 1 at each of its labels (K).
    """
    if name in SEVERAL_LABELS:
        labels = [label for label, is_there in zip(SEVERAL_LABELS[name], given, strict=True) if is_there]
        return "|".join(labels) or "|"
    (number,) = given.tolist()
    if not 0 <= number < len(CLASSES[name]):
        raise ValueError(f"there is a class {number}, and {name} has classes 0 to {len(CLASSES[name]) - 1}")
    return CLASSES[name][number]


def images(stream: IO[bytes]) -> Iterator[np.ndarray]:
    """Yield the images of an array one by one: all of PathMNIST at once would take 13 GB."""
    version = np.lib.format.read_magic(stream)
    read_header = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
    (count, *shape), by_columns, kind = read_header[version](stream)
    if by_columns or kind != np.uint8:
        raise ValueError(f"images of {kind} are not those of MedMNIST, which are of uint8")
    if tuple(shape) not in ((SIDE, SIDE), (SIDE, SIDE, 3)):
        raise ValueError(f"images have the shape {tuple(shape)}, and {SIDE} x {SIDE} pixels are wanted")
    size = int(np.prod(shape))
    for _ in range(count):
        row = stream.read(size)
        if len(row) < size:
            raise EOFError("it ends too early")
        yield np.frombuffer(row, np.uint8).reshape(shape)
    stream.read()  # the sum of a file is checked at its end


def write_split(pack: zipfile.ZipFile, folder: Path, split: str) -> list[tuple[str, str, str]]:
    """Write the images of a split, and return their lines of labels.csv."""
    with pack.open(f"{split}_labels.npy") as stream:
        labels = [label_of(folder.name, row) for row in np.lib.format.read_array(stream)]
    names = [f"images/{split}_{number:06}.png" for number in range(len(labels))]
    with pack.open(f"{split}_images.npy") as stream:
        for name, pixels in zip(names, images(stream), strict=True):
            Image.fromarray(pixels).save(folder / name)
    return [(name, label, split) for name, label in zip(names, labels, strict=True)]


def write_set(file: Path, folder: Path) -> str:
    """Write a data set, its labels.csv at the end, and return how many images each split has."""
    (folder / "images").mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(file) as pack:
        splits = {split: write_split(pack, folder, split) for split in SPLITS}
    begun = folder / "labels.csv.part"
    with begun.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(("path", "label", "split"))
        for rows in splits.values():
            writer.writerows(rows)
    os.replace(begun, folder / "labels.csv")
    return ", ".join(f"{split} {len(rows)}" for split, rows in splits.items())


def main(words: Sequence[str] | None = None) -> None:
    """Write the data sets that are missing."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("data", type=Path, help="folder of all data sets")
    data: Path = parser.parse_args(words).data
    for name in (*CLASSES, *SEVERAL_LABELS):
        file, table = data / f"{name}_{SIDE}.npz", data / name / "labels.csv"
        if table.exists():
            print(f"{table}: is there already")
        elif file.exists():
            try:
                print(f"{table}: {write_set(file, data / name)}")
            except UNREADABLE as error:
                parser.exit(2, f"error: {file}: {error.args[0]}; fetch the file again\n")
            except OSError as error:
                parser.exit(2, f"error: {error}\n")


if __name__ == "__main__":
    main()
