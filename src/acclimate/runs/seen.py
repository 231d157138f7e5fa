"""Images that a run or an encoder has seen, known by their bytes: written down, and kept out of what is measured.

A run has those of its `splits.json`; `images.txt` has what else was seen: by an encoder in its pretraining, by the runs
that a warm start goes back to.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from acclimate.data import ImageData, load_splits
from acclimate.data.splits import GREEDY
from acclimate.errors import DataError, RunError
from acclimate.files import fingerprint, read_json, replace_file
from acclimate.runs import folder

if TYPE_CHECKING:
    from acclimate.backbones import DomainEncoder
    from acclimate.runs.experiment import Experiment

DIGEST = re.compile(r"[0-9a-f]{64}")
_OPTIONS = {"rule": "split_rule", "seed": "split_seed"}  # where `split_made` has a shorter word

LABELLED = "classifier"  # the kind of pretraining that learns labels

logger = logging.getLogger("acclimate.runs")


@dataclass(frozen=True)
class Seen:
    """Images that something has seen.

    Attributes:
        what: what messages call it.
        advice: the next step where it may not be used.
        learned: sha256 of every image that it has learned from.
        chosen_by: the same of those that its settings or epochs were chosen by.
        made: how the split was made that it has seen a part of, as `ImageData.split_made`; none where nobody knows.
        kept_by: the option that gives data that split, whatever it was made with, where there is one.
        by_labels: whether it has learned the labels of the images, not the images alone.
    """

    what: str
    advice: str
    learned: frozenset[str]
    chosen_by: frozenset[str] = frozenset()
    made: Mapping[str, Any] | None = None
    kept_by: str = ""
    by_labels: bool = False

    @property
    def all(self) -> frozenset[str]:
        """Both."""
        return self.learned | self.chosen_by

    def refuse(self, tests: Iterable[ImageData]) -> None:
        """Refuse to measure on images that were seen.

        Raises:
            DataError: one of them is to be measured.
        """
        seen = self.all
        for data in tests:
            known = rows_among(data, seen)
            if known:
                options = (self.kept_by if data.split_made else "") or made_otherwise(self.made, data.split_made)
                raise DataError(
                    f"{data.name}: {self.what} has learned from {len(known)} of the {len(data)} test images, such as "
                    f"{data.keys[known[0]]}; {self.advice}{f' ({options})' if options else ''}"
                )

    def check(self, experiment: Experiment) -> None:
        """Refuse test images that were seen, and say where validation images were learned from.

        The latter are no reason to refuse: what is chosen by them may be chosen badly, and is measured on others.

        Raises:
            DataError: a test image was seen.
        """
        self.refuse(experiment.trial.tests.values())
        data = experiment.splits.get("val")
        known = rows_among(data, self.learned) if data is not None else []
        if data is not None and known:
            logger.warning(
                "%s: %s has learned from %d of the %d validation images: what is chosen by them may favour what it "
                "knows by heart; the test images it has not seen",
                data.name,
                self.what,
                len(known),
                len(data),
            )


def rows_among(data: ImageData, digests: frozenset[str]) -> list[int]:
    """Return the rows of the images whose sha256 is one of these."""
    return [row for row in range(len(data)) if data.digest(row) in digests] if digests else []


def seen_by_run(run: Path, what: str = "the run", advice: str = "") -> Seen:
    """Return what a run has seen: nothing, where its folder does not say.

    Raises:
        RunError: a file that says it is damaged.
    """
    return replace(seen_in(read_splits(run), read_images(run), what, advice), kept_by=f"`split_from={str(run)!r}`")


def read_splits(run: Path) -> Mapping[str, Any] | None:
    """Return what the `splits.json` of a run folder holds; none where it has none.

    Raises:
        RunError: the file is damaged.
    """
    return load_splits(run / folder.SPLITS) if (run / folder.SPLITS).exists() else None


def seen_in(
    document: Mapping[str, Any] | None, before: Iterable[str] = (), what: str = "the run", advice: str = ""
) -> Seen:
    """Return what was seen by a run with these splits.

    Args:
        document: what its `splits.json` holds; none where nobody knows.
        before: sha256 of images that were seen before them.
        what, advice: of `Seen`.
    """
    splits = document["splits"] if document else {}
    train, val = (frozenset(row.get("sha256", "") for row in splits.get(name, ())) for name in ("train", "val"))
    return Seen(what, advice, train.union(before), val, split_made(document) if document else None)


def split_made(document: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return how the split in a `splits.json` was made, nothing where it was given or is that of a protocol."""
    # files of earlier releases do not say how, for there was one rule
    return document.get("made", {"rule": GREEDY}) or {}


def made_otherwise(then: Mapping[str, Any] | None, now: Mapping[str, Any] | None) -> str:
    """Return the options with which a split was made and another one is not; nothing where there are no such options.

    Args:
        then, now: how they were made, as `ImageData.split_made`; one that was given has no options.
    """
    if not then or not now or "sets" in {*then, *now}:  # each of several data sets has options of its own
        return ""
    if "kept" in then or "kept" in now:
        return "" if then == now else "only one of them keeps an earlier split, or another one; see `split_from`"
    differing = [name for name in then if then[name] != now.get(name)]
    return ", ".join(f"`{_OPTIONS.get(name, name)}={then[name]!r}`" for name in differing)


def seen_by_encoder(encoder: DomainEncoder | None, option: str = "domain_encoder") -> Seen | None:
    """Return what a domain encoder has seen in its pretraining; none where nobody knows.

    A note says so of encoders that `pretrain_mae` made before it wrote down its images.

    Args:
        encoder: the encoder, or none.
        option: what names it, for messages.

    Raises:
        RunError: the file that says it is damaged.
    """
    place = None if encoder is None else encoder.place
    if encoder is None or place is None:
        return None
    what = f"`{option}={encoder.name!r}`"
    (kind, known, chosen_by), images = _pretraining(place.folder), read_images(place.folder)
    by_labels = kind == LABELLED
    if images:
        if known is not None and known.get("images_hash") != fingerprint(images):
            raise RunError(
                f"{place.folder / folder.IMAGES} does not list the images of record.json; restore the file, or give "
                "the command of the pretraining again, which writes it"
            )
        known = known or {}
        learned, chosen = frozenset(images[: len(images) - chosen_by]), frozenset(images[len(images) - chosen_by :])
        if known.get("part") == "all":
            advice = "name another one, for it has learned from all images of its data"
            return Seen(what, advice, learned, chosen, by_labels=by_labels)
        advice = "name another one, or give the data the split that it was made with"
        return Seen(what, advice, learned, chosen, made=known.get("split_made"), by_labels=by_labels)
    if known is not None:
        logger.info(
            "%s was pretrained before images were written down: whether it has seen test images cannot be checked; "
            "give the command of its pretraining again, which adds the list",
            what,
        )
    return None


def check_encoder(experiment: Experiment) -> None:
    """Refuse test images that the domain encoder of a run has seen, and note which images it has learned from.

    Where it has learned labels of the training images, a method that tells by images left out what an encoder is worth
    would find it perfect: one that can do without it does, with a warning.

    Raises:
        DataError: a test image was seen.
        RunError: the file that says what it has seen is damaged.
    """
    seen = seen_by_encoder(experiment.domain_encoder)
    if seen is None:
        return
    seen.check(experiment)
    train = experiment.trial.train
    known = rows_among(train, seen.learned)
    if known and seen.by_labels and experiment.method.domain_encoder_is_optional:
        logger.warning(
            "%s: %s has learned the labels of %d of the %d training images, so that images left out cannot tell what "
            "it is worth: %s does without it; a method that reads nothing else, such as domain-linear-probe, reads it",
            train.name,
            seen.what,
            len(known),
            len(train),
            experiment.method.name,
        )
        experiment.domain_encoder = None
        return
    experiment.encoder_learned = seen.learned


def write_images(path: Path, digests: Iterable[str]) -> None:
    """Write the sha256 of images into a folder, one a line, atomically.

    Raises:
        RunError: the file cannot be written.
    """
    replace_file(path / folder.IMAGES, "".join(f"{digest}\n" for digest in digests).encode())


def keep_images(path: Path, digests: Collection[str]) -> None:
    """Write the list of a run, or remove that of another run which was here, where there is nothing to list.

    Raises:
        RunError: the file cannot be written.
    """
    if digests:
        write_images(path, sorted(digests))
    else:
        (path / folder.IMAGES).unlink(missing_ok=True)


def restore_images(path: Path, digests: Sequence[str]) -> bool:
    """Write the list unless it is there; return whether it was not.

    Raises:
        RunError: the file cannot be written.
    """
    with suppress(RunError):  # one that is damaged is written anew
        if read_images(path) == [*digests]:
            return False
    write_images(path, digests)
    return True


def read_images(path: Path) -> list[str]:
    """Return the sha256 of images in their order; nothing where a folder has no such list.

    Raises:
        RunError: it cannot be read, or holds other things.
    """
    file = path / folder.IMAGES
    if not file.is_file():
        return []
    try:
        lines = file.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError as error:
        raise RunError(f"cannot read {file}: {error.strerror}; restore the file") from None
    wrong = next((number for number, line in enumerate(lines, 1) if not DIGEST.fullmatch(line)), None)
    if wrong is not None:
        raise RunError(f"{file} line {wrong}: not the sha256 of an image; restore the file")
    return lines


def _pretraining(path: Path) -> tuple[str, dict[str, Any] | None, int]:
    """Return the kind of a pretraining and what it has noted of its images in a folder; none where there was none.

    With it goes how many of them, at the end of the list, its epochs were only chosen by.
    """
    record: Any = None
    with suppress(RunError):  # a file of that name may be anybody's
        record = read_json(path / folder.RECORD, "")
    if not isinstance(record, dict) or "pretraining" not in record:
        return "", None, 0
    kind, data = str(record["pretraining"]), record.get("data")
    if not isinstance(data, dict):
        return kind, {}, 0
    chosen_by = data.get("chosen_by", 0)
    return kind, data, chosen_by if isinstance(chosen_by, int) and chosen_by > 0 else 0
