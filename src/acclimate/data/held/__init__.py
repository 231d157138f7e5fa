"""Images that files hold many of: Parquet as the Hugging Face Hub has it, shards of WebDataset, cells of a table.

What such a file says of its images is read at once, the images themselves when they are used, one at a time.
"""

from acclimate.data.held.names import find_shards
from acclimate.data.held.reading import (
    HeldImage,
    PlacedImages,
    has_labels,
    held_images,
    image_at,
    is_place,
    open_place,
    read_held,
)

__all__ = [
    "HeldImage",
    "PlacedImages",
    "find_shards",
    "has_labels",
    "held_images",
    "image_at",
    "is_place",
    "open_place",
    "read_held",
]
