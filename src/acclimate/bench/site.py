"""Where the jobs of a bench find what they need, as every process is told that does some of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from acclimate.bench.spec import Source


@dataclass(frozen=True)
class Site:
    """Where the jobs of a bench find what they need.

    Attributes:
        sources: where the data sets lie, by name.
        out: folder of the bench.
        device: `auto`, `cpu`, `cuda` or `mps`.
        cache_dir: folder of the feature cache, or none.
        plugins: modules with methods, which each process imports.
    """

    sources: Mapping[str, Source]
    out: Path
    device: str
    cache_dir: Path | None = None
    plugins: Sequence[str] = ()

    def plain(self) -> dict[str, Any]:
        """Return it as plain values."""
        return {
            "sources": {name: _plain(source) for name, source in self.sources.items()},
            "out": str(self.out),
            "device": self.device,
            "cache_dir": None if self.cache_dir is None else str(self.cache_dir),
            "plugins": list(self.plugins),
        }

    @classmethod
    def of_plain(cls, values: Mapping[str, Any]) -> Site:
        """Return what `plain` has made plain."""
        sources = {name: _source(entry) for name, entry in values["sources"].items()}
        cache = values["cache_dir"]
        return cls(sources, Path(values["out"]), values["device"], cache and Path(cache), values["plugins"])


def _plain(source: Source) -> dict[str, Any]:
    values = asdict(source)
    return {name: str(value) if isinstance(value, Path) else value for name, value in values.items()}


def _source(entry: Mapping[str, Any]) -> Source:
    images_root = entry["images_root"]
    return Source(**{**entry, "path": Path(entry["path"]), "images_root": images_root and Path(images_root)})
