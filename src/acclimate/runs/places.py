"""Where the encoders of a saved run are found again: the run may have moved, and they with it or alone."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from acclimate.errors import BackboneError, RunError

if TYPE_CHECKING:
    from acclimate.backbones import DomainEncoder
    from acclimate.backbones.backbone import Backbone
    from acclimate.runs.encoders import SavedEncoder

PLACES = "places"
"""The entry of `record.json`. It is not in `adapter.json`: two runs that are the same are so there, byte for byte."""

Loaded = TypeVar("Loaded", "Backbone", "DomainEncoder", "DomainEncoder | None")


def describe_places(run: Path, encoders: Mapping[str, Backbone | DomainEncoder | None]) -> dict[str, Any]:
    """Return where the folders of some encoders are, seen from a run folder and by themselves.

    Those of the Hub, embedded ones and those in memory have no such folder.
    """
    found = {}
    for option, encoder in encoders.items():
        if encoder is None or encoder.place is None or not encoder.place.local:
            continue
        found[option] = {"absolute": str(encoder.place.folder)}
        try:
            found[option]["relative"] = Path(os.path.relpath(encoder.place.folder, run.resolve())).as_posix()
        except ValueError:  # another drive
            continue
    return {PLACES: found} if found else {}


def find_again(
    run: Path,
    saved: SavedEncoder,
    record: Mapping[str, Any],
    given: str | os.PathLike[str] | Backbone | DomainEncoder | None,
    load: Callable[[Any], Loaded],
) -> Loaded:
    """Return the encoder that an adapter was trained on.

    A folder, or a checkpoint file, is looked for where it is from the run, where it was, and as it was typed, from here
    and from the folders above the run; what lies there is taken if it is the same encoder. The Hub is asked for nothing
    that was a folder.

    Args:
        run: folder of the adapter.
        saved: what the adapter says of the encoder.
        record: its record, with the places.
        given: what the caller names in its stead, which is taken or refused.
        load: returns the encoder of a name or folder, or a loaded one as it is.

    Raises:
        RunError: it is not found, cannot be loaded, or is another one.
    """
    if given is not None:
        return _checked(run, saved, given, load, f"and '{given}' does not load")
    place = _place(record, saved.option)
    if place is None and saved.has_a_name:
        return _checked(run, saved, saved.name, load, "which does not load")
    tried: dict[str, str] = {os.path.normpath(folder): "" for folder in _recorded(run, saved.name, place or {})}
    there = [name for name in dict.fromkeys([*tried, *_above(run, saved.name)]) if os.path.exists(name)]
    for name in there:
        try:
            found = load(name)
            saved.check(found, run)
        except BackboneError as error:
            tried[name] = _fact(error)
        except RunError:
            if len(there) == 1:
                raise
            tried[name] = "another one"
        else:
            return found
    if place is None and not there:  # an earlier version did not say what was a folder
        return _checked(run, saved, saved.name, load, "which does not load")
    reasons = ", ".join(f"{name} ({reason or 'no such folder'})" for name, reason in tried.items())
    raise RunError(
        f"{run}: this adapter was trained on {saved.words} with weights {saved.fingerprint[:12]}, which is not where "
        f"it was looked for: {reasons}; name the original with `{saved.option}`"
    )


def _checked(run: Path, saved: SavedEncoder, name: Any, load: Callable[[Any], Loaded], words: str) -> Loaded:
    """Return the encoder of a name, which is taken or refused."""
    try:
        found = load(name)
    except BackboneError as error:
        raise RunError(
            f"{run}: this adapter was trained on {saved.words}, {words} ({_fact(error)}); "
            f"name the original with `{saved.option}`"
        ) from None
    saved.check(found, run)
    return found


def _fact(error: BackboneError) -> str:
    """Return what is wrong without the advice behind the last semicolon, which is for who may choose any encoder."""
    fact, _, advice = str(error).rpartition("; ")
    return fact or advice


def _place(record: Mapping[str, Any], option: str) -> Mapping[str, str] | None:
    """Return the place of an encoder; none where it was no folder, or an earlier version has not noted it."""
    places = record.get(PLACES) if isinstance(record, Mapping) else None
    place = places.get(option) if isinstance(places, Mapping) else None
    return place if isinstance(place, Mapping) and all(isinstance(path, str) for path in place.values()) else None


def _recorded(run: Path, name: str, place: Mapping[str, str]) -> Iterator[Path]:
    if "relative" in place:
        yield run.resolve() / place["relative"]
    if "absolute" in place:
        yield Path(place["absolute"])
    yield Path(name).expanduser()


def _above(run: Path, name: str) -> Iterator[str]:
    """Yield a folder as it was typed, from every folder above the run: one of them is where the run was made."""
    typed = Path(name).expanduser()
    if not typed.is_absolute():
        for above in run.resolve().parents:
            yield os.path.normpath(above / typed)
