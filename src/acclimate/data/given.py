"""Images as they are given in Python: of any common kind, one or several, each made ready when its turn comes."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy as np
from PIL import Image

from acclimate import arguments
from acclimate.data.dataset import ImageData
from acclimate.data.finding import ImageSource
from acclimate.data.frames import is_frame, of_datasets, read_frame
from acclimate.data.held.frames import FrameImages
from acclimate.data.held.reading import image_at
from acclimate.data.listed import PATHS
from acclimate.errors import DataError

KINDS = (
    "paths, Pillow images, NumPy arrays, the bytes of files, open files, or several of these, ImageData, a data set of "
    "the package datasets, or a table with a column path"
)
LONGEST_PATH = 1024  # bytes; an image has more, unless it is tiny

Several = Any  # what `each_image` takes


def each_image(images: Several) -> Iterator[ImageSource]:
    """Return an iterator over the images that someone gives: paths, Pillow images and the bytes of files.

    Args:
        images: a path (of a file, a folder, or a pattern), a Pillow image, an array, the bytes of a file, or a file
            opened in binary mode; several of these in a list, a generator or the like; `ImageData`; a data set of the
            package `datasets` with a column of images or of paths; a table in memory with a column of paths. An array
            has shape (H, W), (H, W, 1), (H, W, 3) or (H, W, 4), and holds uint8, floats from 0 to 1 or, without
            colour, uint16, which is scaled as in a file. An array (N, H, W, C) is N images.

    Raises:
        DataError: something of another kind, at once or when its turn comes; it names the type and the place.
    """
    if isinstance(images, ImageData):
        return _rows(images)
    if is_frame(images):
        held = FrameImages.of(images)
        return _paths(images) if held is None else (_cell(cell["image"], row) for row, cell in enumerate(held))
    if of_datasets(images) and hasattr(images, "column_names"):
        return _encoded(images)
    if not _is_one(images):
        images = _as_array(images)
    if _is_one(images):
        return iter([_one(images, "the image")])
    if isinstance(images, Mapping) or not isinstance(images, Iterable) or _is_scalar(images):
        raise DataError(f"cannot predict on {arguments.kind_of(images)}; give {KINDS}")
    return (_one(image, f"image {number}") for number, image in enumerate(images, start=1))


def _is_one(image: object) -> bool:
    kinds = str | os.PathLike | Image.Image | bytes | bytearray | memoryview
    return isinstance(image, kinds) or _is_file(image) or (isinstance(image, np.ndarray) and image.ndim in (2, 3))


def _is_file(image: object) -> bool:
    return callable(getattr(image, "read", None))


def _is_scalar(image: object) -> bool:
    return isinstance(image, np.ndarray) and image.ndim == 0


def _as_array(image: object) -> object:
    """Return what can be seen as an array, such as a tensor or a column of a table, as one."""
    if isinstance(image, np.ndarray) or not hasattr(type(image), "__array__"):
        return image
    try:
        return np.asarray(image)
    except Exception as error:  # a tensor on a GPU or with a gradient says why, each in its own way
        reason = " ".join(str(error).split())
        raise DataError(f"cannot read {arguments.kind_of(image)} as an array ({reason}); give a NumPy array") from error


def _one(image: object, place: str) -> ImageSource:
    """Return one image as a path, a Pillow image or the bytes of a file; `place` is what messages call it."""
    if isinstance(image, Image.Image):
        return image
    if isinstance(image, str | os.PathLike):
        path = os.fspath(image)
        if not isinstance(path, str) or not path.strip():
            raise DataError(f"{place}: {arguments.shown(path)} is no path; name a file, a folder or a pattern")
        return image
    if isinstance(image, bytes | bytearray | memoryview):
        content = bytes(image)
        if 0 < len(content) < LONGEST_PATH and os.path.exists(content):
            raise DataError(f"{place}: {arguments.shown(content)} is a path in bytes; give it as text")
        return content
    if _is_file(image):
        return _content(image, place)
    array = _as_array(image)
    if isinstance(array, np.ndarray):
        return _picture(array, place)
    raise DataError(f"{place}: cannot predict on {arguments.kind_of(image)}; give {KINDS}")


def _content(file: Any, place: str) -> bytes:
    """Return the bytes of an open file, from its beginning where it can be rewound, as Pillow reads it."""
    try:
        if callable(getattr(file, "seekable", None)) and file.seekable():
            file.seek(0)
        content = file.read()
    except (OSError, ValueError) as error:
        raise DataError(f"{place}: cannot read the open file ({error}); open it anew, or give its path") from error
    if not isinstance(content, bytes):
        raise DataError(f"{place}: the file gives {arguments.kind_of(content)}, not bytes; open it in mode 'rb'")
    return content


def _picture(array: np.ndarray, place: str) -> Image.Image:
    """Return an array as a Pillow image.

    Raises:
        DataError: its shape or its values can be read in more than one way, or in none.
    """
    shape, kind = array.shape, array.dtype
    if array.ndim == 3 and shape[-1] not in (1, 3, 4) and shape[0] in (1, 3, 4):
        raise DataError(f"{place}: an array of shape {shape} has its channels first; give array.transpose(1, 2, 0)")
    if array.ndim not in (2, 3) or 0 in shape or (array.ndim == 3 and shape[-1] not in (1, 3, 4)):
        raise DataError(f"{place}: an array of shape {shape} is no image; give (H, W), (H, W, 3) or (H, W, 4) for each")
    flat = array[..., 0] if array.ndim == 3 and shape[-1] == 1 else array
    if kind.kind == "f":
        if not (np.isfinite(flat).all() and flat.min() >= 0 and flat.max() <= 1):
            low, high = float(flat.min()), float(flat.max())
            raise DataError(
                f"{place}: floats from {low:.4g} to {high:.4g}, of which the white is not known; give floats from 0 to "
                "1, or uint8"
            )
        flat = np.rint(flat.astype(np.float64) * 255).astype(np.uint8)
    elif kind != np.uint8 and not (kind.newbyteorder("=") == np.uint16 and flat.ndim == 2):
        what = "uint16 in colour" if kind.newbyteorder("=") == np.uint16 else str(kind)
        raise DataError(
            f"{place}: an array of {what}, of which the white is not known; give uint8 from 0 to 255, or floats from 0 "
            "to 1"
        )
    return Image.fromarray(np.ascontiguousarray(flat))


def _rows(data: ImageData) -> Iterator[ImageSource]:
    for row, path in enumerate(data.paths):
        yield path or _stored(data, row)


def _stored(data: ImageData, row: int) -> ImageSource:
    """Return an image that has no file of its own: by its place in a file of many, or as its bytes."""
    return image_at(data.store, data.table["row"][row].as_py()) or data.image_bytes(row)


def _paths(frame: Any) -> Iterator[str]:
    title, columns, records = read_frame(frame, PATHS)
    found = {column.strip().lower(): column for column in reversed(columns)}
    column = next((found[name] for name in PATHS if name in found), None)
    if column is None:
        raise DataError(
            f"{title}: no column 'path' among {', '.join(columns) or 'no columns'}; give one with the files"
        )
    for number, record in records:
        if not record[column].strip():
            raise DataError(f"{title} row {number}: the {column} is empty; fill it in or remove the row")
    return (record[column] for _, record in records)


def _encoded(data: Any) -> Iterator[ImageSource]:
    """Yield the images of a data set of the package `datasets`, streamed or not, as they are stored."""
    import datasets

    from acclimate.data.memory import image_column

    if isinstance(data, Mapping):
        raise DataError(f"cannot predict on {arguments.kind_of(data)}, which has several splits; give one of them")
    if data.features is None:
        raise DataError("a streamed data set without features; give its images: (row['image'] for row in data)")
    column = image_column(data)
    paths = next((name for name in data.column_names if name.strip().lower() in PATHS), None)
    if column is None and paths is None:
        raise DataError(f"no column of images or paths among {', '.join(data.column_names)}; cast it to datasets.Image")
    part = data.select_columns([column or paths])
    if column is not None:
        part = part.cast_column(column, datasets.Image(decode=False))
    return (_cell(row[column or paths], number) for number, row in enumerate(part))


def _cell(cell: Any, number: int) -> ImageSource:
    found = cell if isinstance(cell, str) else (cell or {}).get("bytes") or (cell or {}).get("path")
    if not found:
        raise DataError(f"row {number} of the data set holds no image; filter such rows out")
    return found
