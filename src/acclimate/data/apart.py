"""What is apart from images that were seen: by name, by group and by content."""

from __future__ import annotations

from collections.abc import Collection

from acclimate.data.dataset import ImageData


def apart(data: ImageData, seen: ImageData) -> ImageData:
    """Return the images of `data` that share neither name, group nor bytes with those that were seen."""
    keys, groups = set(seen.keys), set(seen.groups) - {""}
    copies = digests([seen])
    rows = enumerate(zip(data.keys, data.groups, strict=True))
    return data.select(
        [row for row, (key, group) in rows if not (key in keys or group in groups or data.digest(row) in copies)]
    )


def digests(parts: Collection[ImageData]) -> set[str]:
    """Return the sha256 of every image, in hex."""
    return {part.digest(row) for part in parts for row in range(len(part))}
