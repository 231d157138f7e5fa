"""DICOM files."""

from __future__ import annotations

from io import BytesIO

import numpy as np
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, generate_uid


def dicom(stored: np.ndarray, photometric: str = "MONOCHROME2", **elements: object) -> bytes:
    """Write a DICOM file of whole numbers (H, W), or of colours (H, W, 3)."""
    file = Dataset()
    file.file_meta = FileMetaDataset()
    file.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    file.file_meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.7"
    file.file_meta.MediaStorageSOPInstanceUID = generate_uid()
    file.Rows, file.Columns = stored.shape[-2:] if photometric != "RGB" else stored.shape[:2]
    file.SamplesPerPixel = 3 if photometric == "RGB" else 1
    file.PlanarConfiguration = 0
    file.BitsAllocated = file.BitsStored = 8 * stored.itemsize
    file.HighBit, file.PixelRepresentation = file.BitsStored - 1, int(stored.dtype.kind == "i")
    file.PhotometricInterpretation = photometric
    for name, value in elements.items():
        setattr(file, name, value)
    file.PixelData = stored.tobytes()
    stream = BytesIO()
    file.save_as(stream, enforce_file_format=True)
    return stream.getvalue()
