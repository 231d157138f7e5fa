"""What a job asks of the machine that does it: cores, GPUs or a share of one, memory."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import AfterValidator

from acclimate.bench.entries import Entry, Open, read_entry
from acclimate.counting import counted
from acclimate.errors import ConfigError, brief

UNITS = {"MB": 10**6, "GB": 10**9, "TB": 10**12, "MiB": 2**20, "GiB": 2**30, "TiB": 2**40}

_SIZE = re.compile(r"\s*(\d+(?:\.\d+)?)\s*([A-Za-z]+)\s*")


@dataclass(frozen=True)
class Resources:
    """What a job asks for. It decides where a job runs and on how many threads, and is no part of its identity.

    Attributes:
        cpus: cores, which is how many threads it computes on; none: what the launcher gives.
        gpus: GPUs, or a share of one, such as 0.25; none: no GPU is set aside.
        memory: bytes; none: no memory is set aside.
    """

    cpus: int | None = None
    gpus: float | None = None
    memory: int | None = None

    def over(self, usual: Resources) -> Resources:
        """Return these, and where they say nothing the usual ones."""
        known = {name: value for name, value in vars(self).items() if value is not None}
        return Resources(**{**vars(usual), **known})

    def __str__(self) -> str:
        """Return them in words."""
        words = [] if self.cpus is None else [counted(self.cpus, "core")]
        words += [] if self.gpus is None else [f"{self.gpus:g} of a GPU" if self.gpus < 1 else _gpus(int(self.gpus))]
        words += [] if self.memory is None else [f"{self.memory / UNITS['GB']:.1f} GB of memory"]
        return ", ".join(words) or "nothing in particular"


ANY = Resources()
"""Of a job that asks for nothing in particular."""


def _gpus(count: int) -> str:
    return counted(count, "GPU")


def parse_gpus(given: Any) -> float:
    """Return a number of GPUs: whole, or a share of one.

    Raises:
        ConfigError: it is neither.
    """
    if isinstance(given, bool) or not isinstance(given, int | float) or given < 0 or (given > 1 and given % 1):
        raise ConfigError(f"give whole GPUs or a share of one, such as 0.25, not {brief(repr(given))}")
    return float(given)


def parse_memory(given: Any) -> int:
    """Return a size such as `8 GB` or `500 MiB` in bytes.

    Raises:
        ConfigError: it is none.
    """
    found = _SIZE.fullmatch(given) if isinstance(given, str) else None
    if found is None or found[2] not in UNITS or float(found[1]) == 0:
        raise ConfigError(f"give a size with its unit ({', '.join(UNITS)}), such as 8 GB, not {brief(repr(given))}")
    return int(float(found[1]) * UNITS[found[2]])


def _cores(given: Any) -> int:
    if isinstance(given, bool) or not isinstance(given, int) or given < 1:
        raise ConfigError(f"give a whole number of cores, 1 or more, not {brief(repr(given))}")
    return given


class ResourcesEntry(Entry):
    """The entry `resources` of a spec, of a method in it, or of a suite."""

    cpus: Open[Annotated[Any, AfterValidator(_cores)]]
    gpus: Open[Annotated[Any, AfterValidator(parse_gpus)]]
    memory: Open[Annotated[Any, AfterValidator(parse_memory)]]


def read_resources(given: Any, place: str) -> Resources:
    """Return what an entry `resources` asks for; nothing where there is none.

    Raises:
        ConfigError: it is wrong; the message begins with the place.
    """
    entry = read_entry(ResourcesEntry, {} if given is None else given, place)
    return Resources(**entry.model_dump(exclude_unset=True))
