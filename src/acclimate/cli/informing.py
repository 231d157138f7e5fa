"""The verbs `info` and `cache`: what is installed here, and what the package keeps on this machine."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from acclimate.cli import options as opt
from acclimate.cli import tables
from acclimate.cli.console import out as shown
from acclimate.cli.console import show_line, tell
from acclimate.counting import counted


def info(
    with_torch: Annotated[
        bool, typer.Option("--torch", help="Import torch, too, and ask it for its devices; takes seconds.")
    ] = False,
    as_json: opt.Json = False,
) -> None:
    """Show versions, machine, extras and cache: what to paste into a bug report. Nothing in it is private."""
    from acclimate.about import brief_path, describe
    from acclimate.data.cache import default_cache_dir
    from acclimate.data.caches import list_caches

    told = describe(with_torch)
    parts = list_caches()
    told["cache"] = {
        "place": brief_path(default_cache_dir()),
        "bytes": {part.name: part.size for part in parts},
    }
    if as_json:
        tables.print_json(told)
        return
    lines = _lines(told)
    width = max(len(name) for name, _ in lines)
    for name, value in lines:
        show_line(shown, f"{name:<{width}}  {value}")


def _lines(told: dict[str, Any]) -> list[tuple[str, str]]:
    cpus, cache, packages = told["processors"], told["cache"], told["packages"]
    lines = [(name, str(told[name])) for name in ("acclimate", "python", "platform")]
    lines += [("processors", f"{cpus['machine']}, of which {cpus['usable']} may be used")]
    lines += [("GPU driver", told["gpu_driver"] or "none found")]
    lines += [(f"torch {name}", _text(value)) for name, value in told.get("torch", {}).items()]
    lines += [("cache", f"{cache['place']}, {sum(cache['bytes'].values()) / 1e6:.1f} MB")]
    lines += [("extras", ", ".join(name for name, missing in told["extras"].items() if not missing) or "none")]
    without = {name: missing for name, missing in told["extras"].items() if missing}
    lines += [("not installed", ", ".join(f"{name} ({', '.join(of)})" for name, of in without.items()) or "nothing")]
    lines += [
        ("environment", ", ".join(f"{name}={value}" for name, value in told["environment"].items()) or "as usual")
    ]
    return [*lines, *((f"  {name}", value) for name, value in packages.items())]


def _text(value: object) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)


def cache(
    clean: Annotated[
        str | None,
        typer.Option(metavar="all|features|backbones", help="Empty a cache, or all; what is in it is made again."),
    ] = None,
    as_json: opt.Json = False,
) -> None:
    """Show what the package keeps on this machine, or remove it; never anything else, such as the Hub's own cache."""
    from acclimate.data.cache import default_cache_dir
    from acclimate.data.caches import KINDS, empty_cache, list_caches
    from acclimate.errors import ConfigError

    if clean not in (None, "all", *KINDS):
        raise ConfigError(f"--clean {clean}: choose all, {' or '.join(KINDS)}")
    root, parts = default_cache_dir(), list_caches()
    freed = {part.name: empty_cache(part) for part in parts if clean in ("all", part.name)}
    if as_json:
        told = {part.name: {"entries": len(part.entries), "bytes": part.size} for part in parts}
        tables.print_json({"place": str(root), "caches": told, "freed": freed})
        return
    tell(shown, f"{root} (ACCLIMATE_CACHE moves it):")
    for part in parts:
        entries = counted(len(part.entries), "entry", "entries")
        show_line(shown, f"  {part.name:<10} {part.size / 1e6:>10,.1f} MB  {entries}: {part.holds}")
    for part in parts:
        if part.name in freed:
            tell(shown, f"Removed {freed[part.name] / 1e6:,.1f} MB of {part.name}; {part.lost}.")
    if clean is None and any(part.entries for part in parts):
        tell(
            shown,
            "`acclimate cache --clean all` removes it. What huggingface_hub keeps is elsewhere: `hf cache ls`.",
            "note",
        )
