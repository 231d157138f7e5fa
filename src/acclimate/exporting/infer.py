"""Label images with the model.onnx beside this file: `python infer.py IMAGE...`; numpy, onnxruntime and Pillow do."""

import json
import sys
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from PIL import Image, ImageOps

AT_ONCE = 16  # images in a batch


def opened(path: str) -> Image.Image:
    """Return an image of 8 bits a channel as RGB, upright, what is transparent on white."""
    image = ImageOps.exif_transpose(Image.open(path))
    if image.mode.startswith(("I", "F")):
        raise OSError(f"{path} has more than 8 bits a channel ({image.mode}); save it as RGB of 8 bits first")
    if image.has_transparency_data:
        layer = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", layer.size, "white"), layer)
    return image.convert("RGB")


def spans(length: int, parts: int) -> list[tuple[int, int]]:
    """Return where each of so many parts of an edge begins and ends."""
    edges = [length * part // parts for part in range(parts + 1)]
    return [(min(first, length - 1), max(last, first + 1)) for first, last in pairwise(edges)]


def crops(image: Image.Image, grids: list[int]) -> list[Image.Image]:
    """Return an image and, for each grid, its tiles, row by row."""
    (width, height), parts = image.size, [image]
    for grid in grids:
        for top, bottom in spans(height, grid):
            parts += [image.crop((left, top, right, bottom)) for left, right in spans(width, grid)]
    return parts


def resized(image: Image.Image, size: int | list[int], filtering: Image.Resampling, longest: bool) -> Image.Image:
    """Return an image scaled to (height, width), or so that its shortest edge, or its longest, has a length."""
    width, height = image.size
    if isinstance(size, list):
        return image.resize((size[1], size[0]), filtering)
    if longest:
        scale = size / max(width, height)
        return image.resize((max(1, int(width * scale + 0.5)), max(1, int(height * scale + 0.5))), filtering)
    shape = (size, int(size * height / width)) if width <= height else (int(size * width / height), size)
    return image.resize(shape, filtering)


def pixels(image: Image.Image, how: dict[str, Any]) -> np.ndarray:
    """Return an image as the network takes it, (3, H, W) float32."""
    if how["resize"]:
        image = resized(image, how["resize"], Image.Resampling[how["resample"].upper()], "pad" in how)
    if how["crop"]:
        height, width = how["crop"]
        top, left = (image.height - height) // 2, (image.width - width) // 2
        image = image.crop((left, top, left + width, top + height))
    mean, std = (np.array(how[name], np.float32)[:, None, None] for name in ("mean", "std"))
    values = (np.asarray(image, np.float32).transpose(2, 0, 1) * np.float32(how["rescale"]) - mean) / std
    height, width = how.get("pad", values.shape[1:])
    return np.pad(values, [(0, 0), (0, height - values.shape[1]), (0, width - values.shape[2])])


def probabilities(paths: list[str], folder: Path, session: Any = None) -> np.ndarray:
    """Return the probabilities (N, C) of image files, in the order of labels.json."""
    session = session or onnxruntime.InferenceSession(folder / "model.onnx", providers=["CPUExecutionProvider"])
    takes = json.loads((folder / "preprocess.json").read_text(encoding="utf-8"))["inputs"]
    rows: list[np.ndarray] = []
    for first in range(0, len(paths), AT_ONCE):
        images, feed = [opened(path) for path in paths[first : first + AT_ONCE]], {}
        for name, how in takes.items():
            views = [[pixels(part, how) for part in crops(image, how["grids"])] for image in images]
            feed[name] = np.array(views if how["grids"] else [view[0] for view in views])
        rows += list(session.run(["probabilities"], feed)[0])
    return np.array(rows)


def main(paths: list[str], folder: Path) -> None:
    """Write path, label and probability of each image, with tabs between."""
    names = json.loads((folder / "labels.json").read_text(encoding="utf-8"))
    try:
        found = probabilities(paths, folder)
    except (OSError, Image.DecompressionBombError) as error:
        raise SystemExit(f"error: {error}") from None
    for path, row in zip(paths, found, strict=True):
        sys.stdout.write(f"{path}\t{names[row.argmax()]}\t{row.max():.6f}\n")


if __name__ == "__main__":
    main(sys.argv[1:], Path(__file__).parent)
