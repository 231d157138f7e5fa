"""Folders of images: which level of the folders is the class, which the split, which the domain."""

from __future__ import annotations

import logging
import os
import unicodedata
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import NoReturn

from acclimate.data.images import IMAGE_SUFFIXES
from acclimate.data.ordering import some
from acclimate.data.rows import Rows, split_of, tidy
from acclimate.errors import DataError

log = logging.getLogger("acclimate.data")

LAYOUTS = ("class", "split/class", "class/split", "domain/class", "split/domain/class", "domain/split/class")
"""What the levels of folders above the images can mean. Deeper folders belong to the last level."""

_SYSTEM_FILES = {"thumbs.db", "desktop.ini", "__macosx"}


@dataclass
class Tree:
    """The files below a folder: images by the names of the folders above them, and the rest."""

    images: list[tuple[str, ...]] = field(default_factory=list)
    others: list[str] = field(default_factory=list)


def read_folder(root: Path, layout: str) -> Rows:
    """Read a folder of images by `layout`, one of `LAYOUTS` or "auto".

    Raises:
        DataError: no images, or folders that do not fit the layout.
    """
    tree = scan(root)
    if not tree.images:
        refuse_empty(root, tree)
    if tree.others:
        log.info("%s: %d files are not images and are left out (%s)", root, len(tree.others), _endings(tree.others))
    chosen = guess_layout(root, tree.images) if layout == "auto" else layout
    return _rows(root, tree, chosen)


def refuse_empty(root: Path, tree: Tree) -> NoReturn:
    """Say what lies in a folder that holds no images."""
    kinds = f" (only other files: {_endings(tree.others)})" if tree.others else " (it is empty)"
    raise DataError(
        f"{root}: no images in this folder{kinds}; put images into one folder per class, or name a manifest with "
        "path,label"
    )


def scan(root: Path) -> Tree:
    """List the files below `root`, sorted, without hidden and system files; links are followed, never in a circle."""
    tree = Tree()
    _walk(root, (), (), tree)
    tree.images.sort()
    tree.others.sort()
    return tree


def _walk(folder: Path, parts: tuple[str, ...], above: tuple[tuple[int, int], ...], tree: Tree) -> None:
    try:
        status = os.stat(folder)
        entries = list(os.scandir(folder))
    except OSError as error:
        raise DataError(
            f"{folder}: cannot read this folder ({(error.strerror or str(error)).lower()}); mend its permissions or "
            "remove it"
        ) from error
    here = (status.st_dev, status.st_ino)
    if here in above:
        return
    for entry in entries:
        if entry.name.startswith(".") or entry.name.lower() in _SYSTEM_FILES:
            continue
        if not entry.name.isprintable() and any("\ud800" <= letter <= "\udfff" for letter in entry.name):
            raise DataError(f"{folder}: the name {entry.name!r} is not UTF-8; rename it")
        inner = (*parts, entry.name)
        try:
            is_folder, is_file = entry.is_dir(), entry.is_file()
        except OSError:  # a link that leads to itself
            is_folder = is_file = False
        if is_folder:
            _walk(Path(entry.path), inner, (*above, here), tree)
        elif os.path.splitext(entry.name)[1].lower() in IMAGE_SUFFIXES and is_file:
            tree.images.append(inner)
        else:
            tree.others.append("/".join(inner))


def guess_layout(root: Path, images: list[tuple[str, ...]]) -> str:
    """Tell the layouts apart by the names of the folders, and log the decision.

    Folders are splits when all names on their level mean one ("train", "valid", "test", ...). First-level folders are
    domains when the same names recur below them: every first-level folder has at least half of all such names, of which
    there are two or more, and at least half of them occur below several first-level folders.

    Raises:
        DataError: no image lies in a folder of its class.
    """
    chains = {image[:-1] for image in images}
    first = {chain[0] for chain in chains if chain}
    if not first:
        raise DataError(
            f"{root}: the images lie directly in this folder; put them into one folder per class, or add labels.csv "
            "with path,label"
        )
    inner = {chain for chain in chains if chain}
    if all(split_of(name) for name in first):
        below = {chain[1:] for chain in inner if len(chain) > 1}
        if not below:
            names = some(sorted(first))
            raise DataError(
                f"{root}: {names} hold images without class folders; make folders split/class, or say "
                "`layout='class'` if these are the classes"
            )
        layout = "split/domain/class" if _are_domains(below) else "split/class"
    else:
        deep = {chain for chain in inner if len(chain) > 1}
        _refuse_mixture(root, first, deep)
        second_is_split = bool(deep) and len(deep) == len(inner) and all(split_of(chain[1]) for chain in deep)
        if second_is_split:
            layout = "domain/split/class" if all(len(chain) > 2 for chain in deep) else "class/split"
        else:
            layout = "domain/class" if _are_domains(inner) else "class"
    log.info("%s: read as %s; choose another with `layout` if this is wrong", root, f"{layout}/image")
    nested = sorted("/".join(chain) for chain in inner if len(chain) > 1) if layout == "class" else []
    if nested:
        log.info("%s: folders within a class belong to it: %s", root, some(nested))
    return layout


def _refuse_mixture(root: Path, first: set[str], deep: set[tuple[str, ...]]) -> None:
    """Refuse folders such as train, test and extra: taken for domains or classes, they would hide a given split."""
    splits = sorted(name for name in first if split_of(name) and any(chain[0] == name for chain in deep))
    if len({split_of(name) for name in splits}) > 1:
        others = some(sorted(name for name in first if not split_of(name)))
        raise DataError(
            f"{root}: {some(splits)} are splits, but beside them lies {others}; move it away, or say what the folders "
            "mean with `layout='class'` or `layout='domain/class'`"
        )


def _are_domains(chains: set[tuple[str, ...]]) -> bool:
    if any(len(chain) < 2 for chain in chains):
        return False
    below: dict[str, set[str]] = {}
    for chain in chains:
        below.setdefault(chain[0], set()).add(chain[1])
    recurring = Counter(name for names in below.values() for name in names)
    shared = sum(count > 1 for count in recurring.values())
    enough = all(len(names) >= len(recurring) / 2 for names in below.values())
    return len(below) > 1 and len(recurring) > 1 and enough and shared >= len(recurring) / 2


def _rows(root: Path, tree: Tree, layout: str) -> Rows:
    levels = layout.split("/")
    rows = Rows(root.name or str(root), other_files=tree.others)
    shallow: list[str] = []
    seen: set[str] = set()
    for image in tree.images:
        if len(image) <= len(levels):
            shallow.append("/".join(image))
            continue
        values = dict(zip(levels, image, strict=False))
        split = ""
        if "split" in values:
            split = split_of(values["split"]) or ""
            if not split:
                raise DataError(
                    f"{root}: the folder {values['split']!r} is no split (train, val or test), but "
                    f"`layout={layout!r}`; rename it or say another `layout`"
                )
        key = unicodedata.normalize("NFC", "/".join(image))
        if key in seen:  # two files whose names differ only in their Unicode form
            key = "/".join(image)
        seen.add(key)
        rows.add(key, root.joinpath(*image), tidy(values["class"]), domain=tidy(values.get("domain", "")), split=split)
    if not len(rows):
        raise DataError(
            f"{root}: no image lies below folders {layout} (the first is {shallow[0]!r}); say another `layout`, one of "
            f"{', '.join(LAYOUTS)}"
        )
    if shallow:
        log.warning(
            "%s: %d images lie above the folders %s and are left out: %s", root, len(shallow), layout, some(shallow)
        )
    return rows


def _endings(files: list[str]) -> str:
    counts = Counter(os.path.splitext(file)[1].lower() or "no ending" for file in files)
    return ", ".join(f"{count} {ending}" for ending, count in counts.most_common(5))
