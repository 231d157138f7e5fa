"""Disks that are full."""

from __future__ import annotations

import resource
from contextlib import contextmanager


@contextmanager
def full_disk(limit):
    """No file may grow beyond `limit` bytes, which fails like a full disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
