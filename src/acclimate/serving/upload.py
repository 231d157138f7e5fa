"""An image that a client has sent, looked at before anything of it is decoded."""

from __future__ import annotations

from dataclasses import dataclass

from acclimate.data.images import UnreadableImage, decoding
from acclimate.data.opening import header

DEFLATED = b"1.2.840.10008.1.2.1.99"  # the transfer syntax of DICOM files that are compressed as a whole
PREAMBLE = 2**12  # bytes at the beginning of a DICOM file that have its transfer syntax


@dataclass(frozen=True, eq=False)
class Upload:
    """The bytes of an image, what its sender calls it, and how many pixels it has by its header."""

    name: str
    content: bytes
    pixels: int = 0


def look_at(upload: Upload, most_pixels: int) -> Upload:
    """Return an image with the number of its pixels, from its header.

    Raises:
        UnreadableImage: it is none, or too large.
    """
    if DEFLATED in upload.content[:PREAMBLE]:
        reason = "it is a DICOM file that is deflated as a whole, for which there is no bound"
        raise UnreadableImage(upload.name, reason, "save it in another transfer syntax")
    with decoding(upload.name, upload.content), header(upload.content, most_pixels=most_pixels) as image:
        return Upload(upload.name, upload.content, image.width * image.height)
