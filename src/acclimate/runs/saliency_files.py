"""Maps as images: each beside what it is a map of."""

from __future__ import annotations

import hashlib
import io
import re
from pathlib import Path

import numpy as np
from PIL import Image

from acclimate.errors import RunError
from acclimate.files import replace_file
from acclimate.pretraining.sheet import GAP
from acclimate.runs.saliency import SaliencyMap

SIDE = 768  # pixels of the longer side of an image that is drawn
SHARE = 0.6  # of the colours of the map, the rest is the image in grey
LONGEST = 60  # letters of a file name that come from the image or the class


def draw_map(found: SaliencyMap, side: int = SIDE) -> Image.Image:
    """Return an image, in grey below the colours of its map: dark blue counts for nothing, yellow most.

    The colours are matplotlib's cividis, which the colour-blind see as others do.

    Args:
        found: of an image that could be read.
        side: pixels of the longer side, at most.
    """
    import matplotlib

    image = _small(found, side)
    colours = matplotlib.colormaps["cividis"](found.at(image.height, image.width))[..., :3] * 255
    grey = np.asarray(image.convert("L"), dtype=float)[..., None]
    return Image.fromarray((SHARE * colours + (1 - SHARE) * grey).round().astype(np.uint8))


def draw_beside(found: SaliencyMap) -> bytes:
    """Return a PNG with the image on the left and its map on the right."""
    image, drawn = _small(found, SIDE), draw_map(found)
    sheet = Image.new("RGB", (2 * image.width + GAP, image.height), "white")
    sheet.paste(image, (0, 0))
    sheet.paste(drawn, (image.width + GAP, 0))
    return as_png(sheet)


def as_png(image: Image.Image) -> bytes:
    """Return an image as the bytes of a PNG file."""
    stream = io.BytesIO()
    image.save(stream, "PNG")
    return stream.getvalue()


class MapFiles:
    """PNG files of maps in a folder, which is made for the first of them.

    A name has that of the image and the class, and a digest of the place of the image, of the class and of the run: two
    images of one name have two files, and the same command writes the same files again.

    Args:
        folder: where to.
        run: what the maps are of.
    """

    def __init__(self, folder: Path, run: Path) -> None:
        self.folder, self.run = folder, run

    def write(self, found: SaliencyMap) -> Path:
        """Write one, and return its file.

        Raises:
            RunError: the folder cannot be made, or the file cannot be written.
        """
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise RunError(f"cannot make the folder {self.folder}: {error.strerror}; choose another `out`") from None
        path = self.folder / self.name(found)
        replace_file(path, draw_beside(found))
        return path

    def name(self, found: SaliencyMap) -> str:
        """Return the name of the file of a map."""
        whole = "\0".join([str(Path(found.path).resolve()), found.class_name, str(self.run.resolve())])
        digest = hashlib.sha256(whole.encode("utf-8", "surrogateescape")).hexdigest()[:12]
        return "-".join([*filter(None, map(_plain, (Path(found.path).stem, found.class_name))), digest]) + ".png"


def _small(found: SaliencyMap, side: int) -> Image.Image:
    if found.image is None:
        raise ValueError(f"an image that could not be read has no map: {found.error}")
    image = found.image.copy()
    image.thumbnail((side, side))
    return image


def _plain(text: str) -> str:
    """Return a text as a part of a file name that any system can hold."""
    return re.sub(r"[^A-Za-z0-9_]+", "-", text).strip("-")[:LONGEST]
