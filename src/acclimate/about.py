"""What there is to know of an installation, for a bug report: versions, machine, extras; no model is loaded for it.

Nothing in it tells who or where: no user, no host, no path but one below the home folder.
"""

from __future__ import annotations

import os
import platform
import re
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path
from typing import Any

import acclimate

SET = ("ACCLIMATE_CACHE", "HF_HOME", "HF_ENDPOINT", "HF_TOKEN", "XDG_CACHE_HOME")  # told are that they are set
SHOWN = ("CUDA_VISIBLE_DEVICES", "HF_HUB_OFFLINE", "OMP_NUM_THREADS", "PYTORCH_ENABLE_MPS_FALLBACK")
DRIVER = Path("/proc/driver/nvidia/version")
_REQUIREMENT = re.compile(r"([\w.-]+)(?:\[[^]]*\])?[^;]*(?:;(.*))?")
_EXTRA = re.compile(r"""extra\s*==\s*['"]([\w-]+)['"]""")
NOT_INSTALLED = "not installed"


def describe(with_torch: bool = False) -> dict[str, Any]:
    """Return versions, machine, extras and environment, ready for JSON.

    Args:
        with_torch: import torch, and ask it for its devices; takes seconds.

    Returns:
        `acclimate`, `python`, `platform`; `processors`, those of the machine and those that this process may use; the
        `gpu_driver`, where Linux has one; `packages` by name; `extras`, each with what is missing of it; `environment`.
    """
    core, extras = _requirements()
    packages = {name: _version(name) for name in core}
    found = {
        "acclimate": acclimate.__version__,
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "platform": platform.platform(),
        "processors": {"machine": os.cpu_count(), "usable": _usable()},
        "gpu_driver": _driver(),
        "packages": packages,
        "extras": {
            name: [package for package in packages if _version(package) == NOT_INSTALLED]
            for name, packages in extras.items()
        },
        "environment": _environment(),
    }
    return found | ({"torch": _torch()} if with_torch else {})


def _requirements() -> tuple[list[str], dict[str, list[str]]]:
    """Return the packages that are always needed, and those of each extra but that of developers."""
    core: list[str] = []
    extras: dict[str, list[str]] = {}
    for name, extra in _required():
        if extra is None:
            core.append(name)
        elif extra != "dev":
            extras.setdefault(extra, []).append(name)
    return sorted(core, key=str.lower), extras


def _required() -> Iterator[tuple[str, str | None]]:
    try:
        lines = requires("acclimate") or []
    except PackageNotFoundError:  # run from a source tree that was never installed
        lines = ["torch", "transformers", "huggingface_hub", "numpy", "pillow"]
    for line in lines:
        if found := _REQUIREMENT.match(line):
            extra = _EXTRA.search(found[2] or "")
            yield found[1], extra and extra[1]


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return NOT_INSTALLED


def _usable() -> int | None:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()


def _driver() -> str | None:
    try:
        found = re.search(r"Kernel Module\s+(?:for \S+\s+)?([\d.]+)", DRIVER.read_text(encoding="utf-8"))
    except OSError:
        return None
    return f"NVIDIA {found[1]}" if found else "NVIDIA"


def _environment() -> dict[str, str]:
    told = {name: "set" for name in SET if os.environ.get(name)}
    return told | {name: os.environ[name] for name in SHOWN if os.environ.get(name)}


def _torch() -> dict[str, Any]:
    try:
        import torch
    except ImportError as error:
        return {"error": str(error).splitlines()[0]}
    cuda = torch.cuda.is_available()
    devices = [torch.cuda.get_device_name(number) for number in range(torch.cuda.device_count())] if cuda else []
    return {
        "threads": torch.get_num_threads(),
        "cuda": torch.version.cuda,
        "devices": [*devices, *(["mps"] if torch.backends.mps.is_available() else [])] or ["cpu"],
        "bf16": bool(cuda and torch.cuda.is_bf16_supported()),
    }


def brief_path(path: Path) -> str:
    """Return a path as anybody may read it: below the home folder as ~, any other by its last part alone."""
    try:
        return (Path("~") / path.absolute().relative_to(Path.home())).as_posix()
    except ValueError:
        return f".../{path.name}"
