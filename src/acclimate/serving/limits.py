"""What a server takes, and no more."""

from __future__ import annotations

from dataclasses import dataclass

from acclimate.errors import ConfigError
from acclimate.options import Checked, option

MB = 10**6


@dataclass(frozen=True, kw_only=True)
class Limits(Checked):
    """Bounds of what clients may ask of a server, so that its memory is bounded, too.

    Raises:
        ConfigError: a value out of its range, or a request that would not fit into the queue.
    """

    max_body_mb: float = option(64.0, "largest request, in MB", low=0.001)
    max_pixels: int = option(
        50_000_000, "largest width x height of an image, as its file says before it is decoded", low=1
    )
    max_files: int = option(64, "most images in a request", low=1)
    max_queue: int = option(256, "most images that wait in front of a run", low=1)
    max_requests: int = option(64, "most requests at the same time", low=1)
    max_seconds: float = option(60.0, "longest wait for an answer, in seconds", low=0.001)
    upload_seconds: float = option(30.0, "longest time in which a request must have arrived, in seconds", low=0.001)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.max_files > self.max_queue:
            raise ConfigError(
                f"`max_files={self.max_files}` with `max_queue={self.max_queue}`: the images of a request must fit "
                "into the queue; give a longer queue, or fewer files"
            )

    @property
    def body(self) -> int:
        """Largest request in bytes."""
        return int(self.max_body_mb * MB)

    @property
    def held(self) -> int:
        """Most bytes of all requests at the same time."""
        return 4 * self.body
