"""Which of the named domain encoders or files a method reads."""

from __future__ import annotations

from collections.abc import Mapping

from acclimate.bench.schema import PLACEHOLDER
from acclimate.bench.spec import Contender, Source
from acclimate.errors import ConfigError


def choose(contender: Contender, training: Mapping[str, Source], entry: str) -> str | None:
    """Return what a method reads: what its own entry names, or else that of the data sets that train; or none.

    Args:
        contender: the method.
        training: the data sets that train, by name.
        entry: one of `acclimate.bench.spec.NAMED`.

    Raises:
        ConfigError: the data sets name different ones.
    """
    entries = {data: getattr(contender, entry) or getattr(source, entry) for data, source in training.items()}
    names = {data: named.replace(PLACEHOLDER, data) for data, named in entries.items() if named is not None}
    if len(set(names.values())) > 1:
        listed, what = ", ".join(f"{data}: {name}" for data, name in names.items()), entry.replace("_", " ")
        raise ConfigError(
            f"'{contender.label}' learns from {' and '.join(training)}, which have different {what.removesuffix('s')}s "
            f"({listed}); write one for all in the entry of the method ({entry})"
        )
    return next(iter(names.values()), None)
