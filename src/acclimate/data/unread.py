"""Files that stand for images but are not read: of which kind they are, and what to do about it."""

from __future__ import annotations

import os
import stat
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

from acclimate.counting import counted
from acclimate.data.formats import is_image_name, is_there

HEAD = 512
"""Bytes at the beginning of a file from which its kind is told."""


@dataclass(frozen=True)
class Kind:
    """A kind of file: what one of it is called, and several, and the next step."""

    one: str
    many: str
    step: str
    extra: str = ""  # that reads it, see `acclimate.data.formats.EXTRAS`


_CONVERT = "convert to PNG or JPEG"
HEIC = Kind("HEIC photograph", "HEIC photographs", f"`pip install 'acclimate[heif]'`, or {_CONVERT}", "heif")
DICOM = Kind("DICOM image", "DICOM images", f"`pip install 'acclimate[dicom]'`, or {_CONVERT}", "dicom")
VOLUME = Kind("volume", "volumes", "save the slices as PNG")
ARRAY = Kind("array", "arrays", "save the images in them as PNG")
RAW = Kind("raw photograph", "raw photographs", _CONVERT)
DRAWING = Kind("drawing or document", "drawings or documents", _CONVERT)
FOREIGN = Kind("image of another format", "images of other formats", _CONVERT)
SLIDE = Kind("microscope image", "microscope images", "save tiles as PNG")
VIDEO = Kind("video", "videos", "save the frames as PNG")
ARCHIVE = Kind("archive", "archives", "unpack")
LFS = Kind("pointer of Git LFS", "pointers of Git LFS", "run `git lfs pull`")
ANNEX = Kind("file of git-annex that is not here", "files of git-annex that are not here", "run `git annex get`")
DVC = Kind("file of DVC that is not here", "files of DVC that are not here", "run `dvc pull`")
GONE = Kind("link to nowhere", "links to nowhere", "bring back what is pointed to")
PIPE = Kind("pipe, socket or device", "pipes, sockets or devices", "put a file in its place")
PAGE = Kind("web page", "web pages", "download the images again")
NAMELESS = Kind(
    "image without the ending of one", "images without the ending of one", "rename, such as to .jpg or .dcm"
)

_ENDINGS: dict[str, Kind] = {
    **dict.fromkeys((".heic", ".heif", ".hif"), HEIC),
    **dict.fromkeys((".dcm", ".dicom", ".ima"), DICOM),
    **dict.fromkeys((".nii", ".nii.gz", ".mha", ".mhd", ".nrrd", ".mgz"), VOLUME),
    **dict.fromkeys((".npy", ".npz", ".mat", ".h5", ".hdf5", ".pt", ".pth", ".pkl", ".nc", ".tfrecord"), ARRAY),
    **dict.fromkeys((".cr2", ".cr3", ".nef", ".arw", ".dng", ".raf", ".orf", ".rw2"), RAW),
    **dict.fromkeys((".svg", ".eps", ".ps", ".pdf", ".psd", ".ai", ".djvu"), DRAWING),
    **dict.fromkeys((".jxl", ".exr", ".hdr", ".ico", ".jpx", ".jpf", ".jxr", ".pcx", ".dds", ".fits", ".qoi"), FOREIGN),
    **dict.fromkeys((".svs", ".ndpi", ".mrxs", ".scn", ".czi", ".lif", ".nd2", ".vsi"), SLIDE),
    **dict.fromkeys((".mp4", ".avi", ".mov", ".mkv", ".webm"), VIDEO),
    **dict.fromkeys((".zip", ".tar", ".tgz", ".tar.gz", ".7z", ".rar"), ARCHIVE),
    ".dvc": DVC,
}

_BEGINNINGS: tuple[tuple[int, bytes, Kind], ...] = (
    (0, b"version https://git-lfs.github.com/spec", LFS),
    (0, b"/annex/objects/", ANNEX),
    *((4, b"ftyp" + brand, HEIC) for brand in (b"heic", b"heix", b"hevc", b"mif1", b"msf1")),
    (128, b"DICM", DICOM),
    (344, b"n+1\x00", VOLUME),
    (344, b"ni1\x00", VOLUME),
    (0, b"\x93NUMPY", ARRAY),
    (0, b"\x89HDF", ARRAY),
    (0, b"PK\x03\x04", ARCHIVE),
    (0, b"%!PS", DRAWING),
    (0, b"%PDF", DRAWING),
    (0, b"8BPS", DRAWING),
    (0, b"<svg", DRAWING),
    (0, b"\xff\x0a", FOREIGN),
    (0, b"\x00\x00\x00\x0cJXL ", FOREIGN),
    (0, b"<!doctype html", PAGE),
    (0, b"<html", PAGE),
)

_IMAGES = (b"\xff\xd8\xff", b"\x89PNG\r\n", b"GIF8", b"II*\x00", b"MM\x00*", b"RIFF")


def kind_of_content(head: bytes) -> Kind | None:
    """Tell the kind of a file that is no image from its first `HEAD` bytes; none where they say nothing."""
    low = head[:16].lower()
    for place, mark, kind in _BEGINNINGS:
        if head[place : place + len(mark)] == mark or (kind is PAGE and low.startswith(mark)):
            return kind
    return None


def kind_of_file(path: str, look_inside: bool = False) -> Kind | None:
    """Tell the kind of a file that is not read from what it is and how it ends; none where nothing points to an image.

    Args:
        path: a file, or a link to nowhere.
        look_inside: also open a file whose ending says nothing.
    """
    found = kind_of_name(path)
    if found is not None or not (look_inside or is_image_name(path)):
        return found
    try:
        if not stat.S_ISREG(os.stat(path).st_mode):
            return PIPE
        with open(path, "rb") as stream:
            head = stream.read(HEAD)
    except OSError:
        return _kind_of_link(path)
    found = kind_of_content(head)
    nameless = head.startswith(_IMAGES) or (found is not None and found.extra and is_there(found.extra))
    return NAMELESS if nameless and not is_image_name(path) else found


def kind_of_name(path: str) -> Kind | None:
    """Tell the kind of a file from its ending."""
    if is_image_name(path):
        return None
    name = os.path.basename(path).lower()
    two = "." + ".".join(name.rsplit(".", 2)[1:])
    return _ENDINGS.get(two) or _ENDINGS.get(os.path.splitext(name)[1])


def _kind_of_link(path: str) -> Kind | None:
    """Tell who keeps the content of a link to nowhere; none where `path` is no link."""
    try:
        target = os.readlink(path).replace(os.sep, "/")
    except OSError:
        return None
    if "annex/objects" in target:
        return ANNEX
    return DVC if "dvc/" in target else GONE


def in_words(kinds: Iterable[Kind | None]) -> str:
    """Return how many files there are of each kind, and what to do, such as "2 videos (save the frames as PNG)"."""
    parts = []
    for kind, count in Counter(kinds).most_common():
        if kind is None:
            parts.append(counted(count, "other file"))
        else:
            parts.append(f"{counted(count, kind.one, kind.many)} ({kind.step})")
    return ", ".join(parts)
