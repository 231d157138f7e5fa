"""Folders of images: which level of the folders is the class, which the split, which the domain."""

from __future__ import annotations

import logging
import os
import unicodedata
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NoReturn

from acclimate.counting import counted
from acclimate.data.formats import is_image_name
from acclimate.data.ordering import some
from acclimate.data.rows import IN_CHECK, Remark, Rows, split_of, tidy
from acclimate.data.unread import Kind, in_words, kind_of_file
from acclimate.data.walking import is_passed_over, walk
from acclimate.errors import DataError

log = logging.getLogger("acclimate.data")

LAYOUTS = ("class", "split/class", "class/split", "domain/class", "split/domain/class", "domain/split/class")
"""What the levels of folders above the images can mean. Deeper folders belong to the last level."""

TABLES = ("labels.", "metadata.", "captions.", "questions.", "vqa.", "instructions.")
"""Beginnings of the names of tables that say what the images beside them are, in lower case."""

WRAPPERS = frozenset(("data", "dataset", "images", "image", "imgs", "img", "pictures", "photos"))
"""Names of folders, in lower case, that hold the data and mean nothing."""

MOST_OPENED = 200
"""How many files of a folder are opened at most to say of which kind they are."""


@dataclass
class Tree:
    """What is below a folder: images and folders, by the names of the folders above them, and other files."""

    images: list[tuple[str, ...]] = field(default_factory=list)
    others: list[str] = field(default_factory=list)
    folders: list[tuple[str, ...]] = field(default_factory=list)


def read_folder(root: Path, layout: str) -> Rows:
    """Read a folder of images by `layout`, one of `LAYOUTS` or "auto".

    Raises:
        DataError: no images, or folders that do not fit the layout.
    """
    tree = scan(root)
    if not tree.images:
        refuse_empty(root, tree)
    chosen = guess_layout(root, tree.images) if layout == "auto" else layout
    rows = _rows(root, tree, chosen)
    rows.remarks += remarks_on_rest(root, tree, chosen.split("/"))
    return rows


def unwrap(folder: Path) -> Path:
    """Step down into the only folder of a folder, as archives leave them (`my_data/my_data/cat`), and say so.

    That is where no image lies beside it, and its name is much like the one above, or a word such as "images".
    """
    try:
        entries = [entry for entry in os.scandir(folder) if not is_passed_over(entry.name)]
    except OSError:  # whoever reads it will say what is wrong
        return folder
    inner = [entry for entry in entries if entry.is_dir()]
    used = any(is_image_name(entry.name) or entry.name.lower().startswith(TABLES) for entry in entries)
    if len(inner) != 1 or used or not _is_wrapping(folder.resolve().name, inner[0].name):
        return folder
    log.info(
        "%s: the only folder in it is read, %s; choose another with `layout` if this is wrong", folder, inner[0].name
    )
    return unwrap(Path(inner[0].path))


def _is_wrapping(outer: str, inner: str) -> bool:
    above, below = ("".join(letter for letter in name.casefold() if letter.isalnum()) for name in (outer, inner))
    return bool(below) and (below in WRAPPERS or above.startswith(below) or below.startswith(above or " "))


def refuse_empty(root: Path, tree: Tree) -> NoReturn:
    """Say what lies in a folder that holds no images."""
    found = kinds_of(root, tree.others, look_inside=True)
    what = f"only other files: {_endings(tree.others)}" if not any(found) else in_words(found)
    kinds = f" ({what})" if tree.others else " (it is empty)"
    raise DataError(
        f"{root}: no images in this folder{kinds}; put images into one folder per class, or name a manifest with "
        "path,label"
    )


def scan(root: Path) -> Tree:
    """List what is below `root`, sorted, by the rules of `acclimate.data.walking`.

    Raises:
        DataError: a folder that cannot be read, or a name that is not UTF-8.
    """
    tree = Tree()
    for entry in walk(root):
        name = entry.parts[-1]
        if not name.isprintable() and any("\ud800" <= letter <= "\udfff" for letter in name):
            raise DataError(f"{os.path.dirname(entry.path)}: the name {name!r} is not UTF-8; rename it")
        if entry.kind == "image":
            tree.images.append(entry.parts)
        elif entry.kind == "folder":
            tree.folders.append(entry.parts)
        else:
            tree.others.append("/".join(entry.parts))
    tree.images.sort()
    tree.others.sort()
    return tree


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
        count, are = counted(len(shallow), "image lies", "images lie"), "is" if len(shallow) == 1 else "are"
        log.warning("%s: %s above the folders %s and %s left out: %s", root, count, layout, are, some(shallow))
    return rows


def remarks_on_rest(root: Path, tree: Tree, levels: Sequence[str] = ()) -> list[Remark]:
    """Return what to say of files that are not read, and of folders of classes, splits or domains without any image.

    Args:
        root: the folder.
        tree: what is below it.
        levels: what its levels mean, from the top.
    """
    lost = _lost_folders(tree, len(levels))
    below: dict[tuple[str, ...], list[str]] = {folder: [] for folder in lost}
    rest: list[str] = []
    for file in tree.others:
        parts = tuple(file.split("/"))
        folder = next((parts[:depth] for depth in range(1, len(levels) + 1) if parts[:depth] in below), None)
        (rest if folder is None else below[folder]).append(file)
    remarks = [_on_lost(root, folder, levels[len(folder) - 1], files) for folder, files in below.items()]
    kinds = kinds_of(root, rest)
    meant = [file for file, kind in zip(rest, kinds, strict=True) if kind is not None]
    usual = [file for file, kind in zip(rest, kinds, strict=True) if kind is None]
    if usual:
        count = counted(len(usual), "file is no image and is", "files are not images and are")
        log.info("%s: %s left out (%s)", root, count, _endings(usual), extra=IN_CHECK)
    if meant:
        known = in_words(kind for kind in kinds if kind is not None)
        text = f"{counted(len(meant), 'file is', 'files are')} not read: {known}: {some(meant)}"
        remarks.append(Remark("warning", "unread_files", text, tuple(meant)))
    return remarks


def _lost_folders(tree: Tree, deepest: int) -> list[tuple[str, ...]]:
    """Return the folders of the first levels with no image in them or below, without those inside one of them."""
    full = {image[:depth] for image in tree.images for depth in range(1, len(image))}
    empty = [folder for folder in tree.folders if len(folder) <= deepest and folder not in full]
    return [folder for folder in empty if len(folder) == 1 or folder[:-1] in full]


def _on_lost(root: Path, folder: tuple[str, ...], level: str, files: list[str]) -> Remark:
    kinds = kinds_of(root, files, look_inside=True)
    what = f"its {counted(len(files), 'file is', 'files are')} not read: {in_words(kinds)}" if files else "it is empty"
    level = "folder" if level == "split" and not split_of(folder[-1]) else level
    above = f" in {'/'.join(folder[:-1])}" if len(folder) > 1 else ""
    text = f"no {level} {folder[-1]!r} is read{above}, for there is no image in the folder; {what}"
    return Remark("error" if any(kinds) else "warning", f"lost_{level}", text, ("/".join(folder),))


def kinds_of(root: Path, files: Sequence[str], look_inside: bool = False) -> list[Kind | None]:
    """Return the kinds of files below a folder; `look_inside` also opens some of those whose ending says nothing."""
    return [kind_of_file(os.path.join(root, file), look_inside and n < MOST_OPENED) for n, file in enumerate(files)]


def _endings(files: list[str]) -> str:
    counts = Counter(os.path.splitext(file)[1].lower() or "no ending" for file in files)
    return ", ".join(f"{count} {ending}" for ending, count in counts.most_common(5))
