"""Small labelled pictures: each class has a colour and a stripe width of its own, under noise."""

from __future__ import annotations

import csv
import dataclasses
import shutil
import struct
import zlib
from collections.abc import Sequence
from itertools import cycle, islice
from pathlib import Path

import numpy as np
import pyarrow as pa
from PIL import Image

from acclimate.data import ImageData

CLASSES = ("cat", "dog", "river")
SPLITS = {"train": 6, "val": 3, "test": 5}


def picture(number: int, index: int, *, size: tuple[int, int] = (36, 32), seed: int = 0, noise: float = 25.0):
    """Draw picture `index` of class `number`: (width, height) pixels of RGB."""
    random = np.random.default_rng([seed, number, index])
    width, height = size
    colour = np.random.default_rng(number).uniform(40, 215, 3)
    phase = (np.arange(width) + random.integers(16)) // (2 + 2 * number) % 2
    pixels = np.where(phase[None, :, None] == 1, colour, 0.6 * colour) * np.ones((height, 1, 1))
    pixels = pixels + random.normal(0, noise, pixels.shape)
    return Image.fromarray(pixels.clip(0, 255).astype(np.uint8))


def make_pictures(
    folder: Path,
    classes: Sequence[str] = CLASSES,
    per_class: int | Sequence[int] = 8,
    *,
    seed: int = 0,
    noise: float = 25.0,
    size: tuple[int, int] = (36, 32),
) -> Path:
    """Write `class/000.png` ...; `per_class` is one number for all classes, or one for each."""
    counts = [per_class] * len(classes) if isinstance(per_class, int) else per_class
    for number, (name, count) in enumerate(zip(classes, counts, strict=True)):
        (folder / name).mkdir(parents=True, exist_ok=True)
        for index in range(count):
            picture(number, index, size=size, seed=seed, noise=noise).save(folder / name / f"{index:03}.png")
    return folder


def make_split_pictures(
    folder: Path, classes: Sequence[str] = CLASSES, splits: dict[str, int] | None = None, **options
) -> Path:
    """Write `split/class/000.png` ...; `splits` gives the number of pictures of every class in each.

    Names that are no splits are read as domains.
    """
    for number, (split, count) in enumerate((splits or SPLITS).items()):
        make_pictures(folder / split, classes, count, seed=100 * number, **options)
    return folder


def make_captioned_pictures(folder: Path, splits: dict[str, int] | None = None, captions: int = 3) -> Path:
    """Write pictures and `captions.csv` with `image,caption,split`, a few captions of each picture."""
    lines = ["image,caption,split"]
    for number, (split, count) in enumerate((splits or {"train": 12, "test": 6}).items()):
        for index in range(count):
            name = f"{split}-{index:03}.png"
            (folder / "images").mkdir(parents=True, exist_ok=True)
            kind = index % len(CLASSES)
            picture(kind, index, seed=100 * number).save(folder / "images" / name)
            words = ["small", "large", "old", "new", "red", "wet"]
            for which in range(captions):
                lines.append(f"images/{name},a {words[(index + which) % 6]} {CLASSES[kind]} number {which},{split}")
    (folder / "captions.csv").write_text("\n".join(lines) + "\n")
    return folder


def with_domains(data: ImageData, names: Sequence[str]) -> ImageData:
    """The same pictures, their domains named in turn."""
    domains = pa.array(islice(cycle(names), len(data)))
    return dataclasses.replace(data, table=data.table.drop_columns("domain").append_column("domain", domains))


def chunk(name: bytes, content: bytes) -> bytes:
    """Return a chunk of a PNG."""
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))


def wide_png(values: np.ndarray) -> bytes:
    """Write 16-bit RGB (H, W, 3), which Pillow cannot, as PNG."""
    height, width, _ = values.shape
    rows = b"".join(b"\x00" + row.tobytes() for row in values.astype(">u2"))
    head = struct.pack(">IIBBBBB", width, height, 16, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def make_questions(scenes: Path, folder: Path) -> Path:
    """A copy of a folder with captions that has two questions about each image in their place."""
    shutil.copytree(scenes, folder)
    with (folder / "captions.csv").open(newline="") as file:
        rows = {row["image"]: row for row in csv.DictReader(file)}
    (folder / "captions.csv").unlink()
    lines = ["image,question,answer,split"]
    for image, row in rows.items():
        kind = next(word for word in row["caption"].split() if word in CLASSES)
        answer = "yes" if kind == "cat" else "no"
        lines += [f"{image},what is it?,{kind},{row['split']}", f"{image},is it a cat?,{answer},{row['split']}"]
    (folder / "questions.csv").write_text("\n".join(lines) + "\n")
    return folder


def make_labelled_pictures(folder: Path, count: int = 48) -> Path:
    """Write pictures that are red, striped, dark, several of these or none, and `labels.csv` with path,label,split."""
    (folder / "images").mkdir(parents=True)
    lines = ["path,label,split"]
    for index in range(count):
        has = {name: bool(index >> bit & 1) for bit, name in enumerate(("striped", "red", "dark"))}
        random = np.random.default_rng(index)
        pixels = np.full((32, 36, 3), 130.0) + random.normal(0, 8, (32, 36, 3))
        pixels[..., 0] += 90.0 * has["red"]
        pixels[:, np.arange(36) // 4 % 2 == 0] *= 0.4 if has["striped"] else 1.0
        pixels *= 0.45 if has["dark"] else 1.0
        Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(folder / f"images/{index:03}.png")
        label = "|".join(name for name, had in has.items() if had) or "|"
        lines.append(f"images/{index:03}.png,{label},{('train', 'test')[index % 24 >= 16]}")
    (folder / "labels.csv").write_text("\n".join(lines) + "\n")
    return folder
