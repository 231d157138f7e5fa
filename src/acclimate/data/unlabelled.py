"""`load_unlabelled`: images to learn from without labels, in what `load_data` reads, a bare folder or a pattern."""

from __future__ import annotations

import glob
import logging
import os
from pathlib import Path
from typing import Literal

from acclimate.data import layouts, manifests, split_lists
from acclimate.data.dataset import ImageData
from acclimate.data.finding import find_images
from acclimate.data.held import find_shards, has_labels, read_held
from acclimate.data.load import build_data, load_data, without_corrupt
from acclimate.data.rows import Rows, split_of
from acclimate.data.splits import STABLE, Rule
from acclimate.errors import ConfigError

PLAIN = "plain"
"""The layout of folders that mean nothing."""

log = logging.getLogger("acclimate.data")


def load_unlabelled(
    source: str | os.PathLike[str] | ImageData,
    *,
    layout: str = "auto",
    images_root: str | os.PathLike[str] | None = None,
    split_seed: int = 0,
    split_rule: Rule = STABLE,
    split_from: str | os.PathLike[str] | None = None,
    on_corrupt: Literal["error", "skip"] = "error",
) -> ImageData:
    """Load images, labelled or not; they are read when they are used.

    Args:
        source: as in `load_data`; or a folder without classes, or a pattern such as `scans/*.png`, whose images all
            have the empty label and, unless the first folders are called train, val or test, no split.
        layout: as in `load_data`, or "plain": images at any depth, in folders that mean nothing.
        images_root, split_seed, split_rule, split_from, on_corrupt: as in `load_data`; images of a bare folder get no
            split.

    Raises:
        DataError: a source that is missing or holds no images, or as in `load_data`.
        ConfigError: `split_from` for images without classes.
    """
    rows, store = None, None
    if isinstance(source, str | os.PathLike) and str(source).strip():
        path = Path(source).expanduser()
        shards = find_shards(path) if layout in ("auto", PLAIN) else []
        if shards and (layout == PLAIN or not has_labels(shards)):
            rows, store = read_held(path, shards, labelled=False)
        elif not shards and glob.has_magic(str(path)) and not path.exists():
            rows = _read_pattern(path)
        elif not shards and path.is_dir() and (layout == PLAIN or (layout == "auto" and _is_plain(path))):
            rows = _read_plain(path.resolve())
    if rows is None:
        return load_data(
            source,
            layout=layout,
            images_root=images_root,
            split_seed=split_seed,
            split_rule=split_rule,
            split_from=split_from,
            on_corrupt=on_corrupt,
            allow_one_class=True,
        )
    if split_from is not None:
        raise ConfigError(f"{rows.name} has no classes, so it gets no split; leave `split_from` out")
    data = build_data(rows, store)
    return without_corrupt(data) if on_corrupt == "skip" else data


def _is_plain(folder: Path) -> bool:
    """Whether no folder above an image can be a class."""
    if manifests.find_manifest(folder) or split_lists.find_lists(folder):
        return False
    chains = {image[:-1] for image in layouts.scan(folder).images}
    return all(len(chain) < 2 and (not chain or split_of(chain[0])) for chain in chains)


def _read_plain(folder: Path) -> Rows:
    tree = layouts.scan(folder)
    if not tree.images:
        layouts.refuse_empty(folder, tree)
    rows = Rows(folder.name or str(folder), other_files=tree.others)
    rows.remarks += layouts.remarks_on_rest(folder, tree)
    splits = {image[0]: split_of(image[0]) if len(image) > 1 else None for image in tree.images}
    given = all(splits.values())
    for image in tree.images:
        split = (splits[image[0]] or "") if given else ""
        rows.add("/".join(image), folder.joinpath(*image), "", split=split)
    return rows


def _read_pattern(pattern: Path) -> Rows:
    rows = Rows(pattern.name)
    for path in dict.fromkeys(Path(str(found)) for found in find_images([pattern])):
        if path.is_file():
            rows.add(path.as_posix(), path.resolve(), "")
    return rows
