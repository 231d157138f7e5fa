"""DICOM files as 8-bit images, through `pydicom`, which the extra `dicom` brings."""

from __future__ import annotations

import io
import os
from collections.abc import Callable
from typing import Any

import numpy as np
from PIL import Image

from acclimate.data.levels import colour_levels, grey_levels, is_stretched
from acclimate.data.tiffs import SEEN, Seen
from acclimate.extras import require


def read_dicom(source: str | os.PathLike[str] | bytes, check_size: Callable[[int, int], None]) -> Image.Image:
    """Read a DICOM file of one frame as 8-bit grey or RGB; its `info` has `Seen`.

    Stored values become those of the modality (rescale slope and intercept, or its table). The first window of the
    file, or its table of values of interest, makes them grey; without one they are read as wide grey is, the pixel
    padding value being no data. MONOCHROME1 is inverted. Colours become RGB. Source: DICOM PS3.3, C.7.6.3 and C.11.

    Args:
        source: path of a file, or the bytes of one.
        check_size: told width and height before anything is decoded; raises for those that are not read.

    Raises:
        ValueError: the file holds several frames, or no image.
    """
    pydicom = require("pydicom", "dicom")
    file = pydicom.dcmread(io.BytesIO(source) if isinstance(source, bytes) else os.fspath(source))
    frames = int(file.get("NumberOfFrames") or 1)
    if frames > 1:
        raise ValueError(f"it is a DICOM file of {frames} frames, and only files of one are read (save frames as PNG)")
    if "PixelData" not in file:
        raise ValueError("it is a DICOM file without pixels that are read")
    check_size(int(file.get("Columns") or 0), int(file.get("Rows") or 0))
    stored = require("pydicom.pixels", "dicom").pixel_array(file)
    if stored.ndim == 3:
        levels, seen = colour_levels(stored), Seen(stored.shape[1::-1], 3, stored.dtype != np.uint8)
    elif file.PhotometricInterpretation == "PALETTE COLOR":
        colours = require("pydicom.pixels", "dicom").apply_color_lut(stored, file)
        levels = (colours >> 8 if colours.dtype == np.uint16 else colours).astype(np.uint8)[..., :3]
        seen = Seen(stored.shape[::-1], 3)
    else:
        levels, seen = _grey(file, stored)
    image = Image.fromarray(levels)
    image.format, image.info[SEEN] = "DICOM", seen
    return image


def _grey(file: Any, stored: np.ndarray) -> tuple[np.ndarray, Seen]:
    pixels = require("pydicom.pixels", "dicom")
    padding = file.get("PixelPaddingValue")
    lacking = np.zeros(stored.shape, bool) if padding is None else stored == int(padding)
    values, stretched = pixels.apply_modality_lut(stored, file), False
    centre, width = _first(file.get("WindowCenter")), _first(file.get("WindowWidth"))
    if file.get("VOILUTSequence"):
        bits = int(file.VOILUTSequence[0].LUTDescriptor[2])
        levels = np.rint(pixels.apply_voi(np.rint(values).astype(np.int32), file) / (2**bits - 1) * 255).clip(0, 255)
    elif centre is not None and width is not None and width >= 1:
        levels = windowed(values.astype(np.float64), centre, width, str(file.get("VOILUTFunction") or "LINEAR"))
    else:
        wanted = np.where(lacking, np.nan, values) if lacking.any() else values
        levels, stretched = grey_levels(wanted), is_stretched(wanted, ~lacking)
    if file.PhotometricInterpretation == "MONOCHROME1":
        levels = 255 - levels
    seen = Seen(stored.shape[::-1], 1, stretched, float(lacking.mean()))
    return np.where(lacking, 0, levels).astype(np.uint8), seen


def windowed(values: np.ndarray, centre: float, width: float, function: str = "LINEAR") -> np.ndarray:
    """Return grey levels 0..255, float64, of values in a window.

    Args:
        values: of the modality, such as Hounsfield units.
        centre: of the window.
        width: of it, at least 1.
        function: LINEAR, LINEAR_EXACT or SIGMOID, as DICOM PS3.3, C.11.2.1.2 and C.11.2.1.3, defines them.
    """
    grey: np.ndarray
    if function == "SIGMOID":
        grey = 1 / (1 + np.exp(np.clip(-4 * (values - centre) / width, -500, 500)))
    elif function == "LINEAR_EXACT" or width == 1:
        grey = (values - centre) / width + 0.5 if function == "LINEAR_EXACT" else values > centre - 0.5
    else:
        grey = (values - (centre - 0.5)) / (width - 1) + 0.5
    return np.rint(np.clip(grey, 0, 1) * 255)


def _first(value: Any) -> float | None:
    """Return the first of one or several numbers; none where there is none."""
    if value is None or value == "":
        return None
    return float(value[0] if isinstance(value, list | tuple) or type(value).__name__ == "MultiValue" else value)
