"""What a record says about the machine: versions, device, memory."""

from __future__ import annotations

import platform
import sys
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import torch

PACKAGES = ("acclimate", "torch", "transformers", "accelerate", "datasets", "numpy", "pillow", "scikit-learn")


def environment(device: torch.device) -> dict[str, Any]:
    """Return versions, platform and device of this process."""
    versions = {}
    for package in PACKAGES:
        try:
            versions[package] = version(package)
        except PackageNotFoundError:  # run from a source tree that was never installed
            versions[package] = "not installed"
    return {
        "python": platform.python_version(),
        "platform": platform.platform(),
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else device.type,
        "threads": torch.get_num_threads(),
        "versions": versions,
    }


def peak_memory(device: torch.device) -> dict[str, float | None]:
    """Return the largest memory used so far by this process, and on its GPU, in MiB; none where it is not known."""
    try:
        import resource
    except ImportError:  # Windows
        process = None
    else:
        unit = 1 if sys.platform == "darwin" else 1024
        process = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 2**20
    gpu = torch.cuda.max_memory_allocated(device) / 2**20 if device.type == "cuda" else None
    return {"process_mib": process, "gpu_mib": gpu}
