"""Synthetic images as an ordinary folder with a manifest, as any other data set comes."""

from __future__ import annotations

import csv
import logging
import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from acclimate.errors import ConfigError, DataError
from acclimate.files import part_of, remove_parts
from acclimate.synthetic.catalogue import get_domain, pick
from acclimate.synthetic.rendering import group_of, render

logger = logging.getLogger("acclimate.synthetic")


def write_dataset(
    domain: str,
    out_dir: str | os.PathLike[str],
    per_class: int = 40,
    size: int = 128,
    seed: int = 0,
    acquisitions: Sequence[str] | None = None,
) -> Path:
    """Write `images/<acquisition>/<class>/<number>.png` and `labels.csv` (path, label, domain, group).

    The folder appears complete or not at all: it is written beside its place and renamed.

    Returns the folder.

    Args:
        domain: one of `list_domains()`.
        out_dir: folder to make; must not exist, or be empty.
        per_class: images of each class in each acquisition domain, >= 1.
        size: edge of the images in pixels.
        seed: number of the collection.
        acquisitions: which acquisition domains; all of them by default.

    Raises:
        ConfigError: an unknown name or a number out of range.
        DataError: the folder holds something already.
    """
    described = get_domain(domain)
    if per_class < 1:
        raise ConfigError(f"per_class {per_class} asks for no images: use 1 or more")
    wanted = [pick(described, "acquisition", name) for name in acquisitions or described.acquisitions]
    target = Path(out_dir)
    with new_folder(target) as work:
        rows = []
        for acquisition in wanted:
            for class_name in described.classes:
                folder = work / "images" / acquisition / class_name
                folder.mkdir(parents=True)
                for index in range(per_class):
                    path = folder / f"{index:04d}.png"
                    render(domain, class_name, acquisition, index, seed=seed, size=size).save(path, compress_level=3)
                    group = group_of(domain, class_name, acquisition, index, seed, size)
                    rows.append((path.relative_to(work).as_posix(), class_name, acquisition, group))
        write_rows(work / "labels.csv", ("path", "label", "domain", "group"), rows)
    logger.info("wrote %d images of %s to %s", len(rows), described.title, target)
    return target


def write_rows(path: Path, columns: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """Write a table as CSV."""
    with open(path, "w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(columns)
        writer.writerows(rows)


@contextmanager
def new_folder(target: Path) -> Iterator[Path]:
    """Give a folder to write into that takes its place when all is written, or goes when something fails.

    Args:
        target: its place; must not exist, or be empty.

    Raises:
        DataError: the folder holds something already, or cannot be made.
    """
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise DataError(f"{target} exists and is not an empty folder: name a new folder, or remove this one first")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        remove_parts(target)
        work = part_of(target)
        shutil.rmtree(work, ignore_errors=True)  # of an earlier process of this number
        work.mkdir()
    except OSError as error:
        raise DataError(f"cannot make the folder {target}: {error.strerror}; name another place") from None
    try:
        yield work
        if target.exists():
            target.rmdir()
        work.rename(target)
    except BaseException:
        shutil.rmtree(work, ignore_errors=True)
        raise
