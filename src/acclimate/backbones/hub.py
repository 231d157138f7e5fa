"""Where a backbone's files are: beside the package, in a folder, or on the Hugging Face Hub."""

from __future__ import annotations

import logging
import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from acclimate.backbones.catalogue import find_info, list_backbones
from acclimate.backbones.open_clip.names import CHECKPOINTS, CONFIG, PICKLED, SAFE, SUFFIXES, TOKENIZERS
from acclimate.errors import BackboneError
from acclimate.options import closest

if TYPE_CHECKING:
    from huggingface_hub import HfApi

HUB_ID = re.compile(r"[\w][\w.-]*/[\w][\w.-]*")
HUB_FILE = re.compile(rf"({HUB_ID.pattern})/([\w./-]+\.(?:safetensors|pt|pth|bin|ckpt))")
PATTERNS = ("*.json", "*.jinja", "*.txt", "*.model", "model.safetensors", "model-*.safetensors")
TIMEOUT = 5.0  # seconds to wait for the Hub's first answer
CONVERTER = "SFconvertbot"  # the Hub's own account that offers safetensors copies of old repositories

log = logging.getLogger("acclimate.backbones")


@dataclass(frozen=True)
class Place:
    """Where the files of an encoder are.

    Attributes:
        folder: absolute.
        local: whether it is a folder of the user's own, and neither embedded nor from the Hub.
    """

    folder: Path
    local: bool

    @classmethod
    def of(cls, name: str, folder: Path) -> Place:
        """Return the place of a name for which `find_folder` has returned a folder."""
        from acclimate.backbones.open_clip.converting import conversions

        path = Path(name).expanduser()
        local = folder == path or (folder.parent == conversions() and path.exists())
        return cls((path if local else folder).resolve(), local)


def find_folder(name: str, what: str = "backbone", own: str = "mini-clip") -> Path:
    """Folder of a backbone in Hugging Face format, downloaded and written there where needed.

    Args:
        name: embedded name, folder, checkpoint file of open_clip, Hub id, or a file of a Hub repository.
        what: what it is called in errors.
        own: what else the user could give.

    Raises:
        BackboneError: no such thing, the Hub does not give it, or it is a checkpoint that cannot be read.
        RunError: a checkpoint cannot be written in Hugging Face format.
    """
    from acclimate.backbones.open_clip.converting import checkpoint_in, opened

    place = find_checkpoint(name, what, own)
    file = checkpoint_in(place) if place.is_dir() else place
    return place if file is None else opened(file)


def find_checkpoint(name: str, what: str = "backbone", own: str = "mini-clip", pickled: bool = False) -> Path:
    """Folder of a backbone, or its checkpoint file, as it is, downloaded where needed.

    Args:
        name, what, own: as in `find_folder`.
        pickled: from the Hub, take weights that transformers has pickled where there are no others.

    Raises:
        BackboneError: no such thing, or the Hub does not give it.
    """
    info = find_info(name)
    if info is not None and info.path is not None:
        return info.path
    path = Path(name).expanduser()
    if path.is_dir():
        return path
    if path.is_file() and path.suffix in SUFFIXES:
        return path
    if path.exists():
        raise BackboneError(f"{path} is a file; give the folder that holds config.json and model.safetensors")
    if info is not None and not info.served:
        raise BackboneError(f"{name} {info.note}; `acclimate backbones` lists what else there is for {info.group}")
    if info is not None and info.url:
        raise BackboneError(f"{name} is not on the Hub; download {info.url}, unpack it, and give the file {info.file}")
    if inside := HUB_FILE.fullmatch(name):
        return _download(inside[1], own, inside[2])
    if HUB_ID.fullmatch(name):
        return _download(name, own, pickled=pickled)
    close = closest(name, [info.id for info in list_backbones()], cutoff=0.5)
    hint = f"did you mean {close!r}?" if close else f"give an existing folder, a Hub id org/name, or {own!r}"
    raise BackboneError(f"no {what} folder {name!r}; {hint}")


def _download(name: str, own: str, file: str = "", pickled: bool = False) -> Path:
    """Return the folder of a repository with what is needed of it, or one of its files."""
    from huggingface_hub import HfApi, snapshot_download
    from huggingface_hub.errors import GatedRepoError, RepositoryNotFoundError

    from acclimate.backbones.open_clip.configuration import read_config

    api = HfApi()
    try:
        files = {sibling.rfilename for sibling in api.model_info(name, timeout=TIMEOUT).siblings or ()}
        revision, wanted, file = _needed(api, name, files, file, pickled)
        if wanted[0] == CONFIG:  # other towers are refused before their weights are downloaded
            read_config(Path(snapshot_download(name, allow_patterns=[CONFIG], etag_timeout=TIMEOUT)) / CONFIG)
        return Path(snapshot_download(name, revision=revision, allow_patterns=wanted, etag_timeout=TIMEOUT)) / file
    except GatedRepoError as error:
        raise BackboneError(
            f"{name} asks for consent on the Hub: accept its terms on its page, then run `hf auth login`"
        ) from error
    except RepositoryNotFoundError as error:
        raise BackboneError(
            f"no folder and no public Hub model {name!r}; check the spelling, or run `hf auth login` for a private one"
        ) from error
    except BackboneError:
        raise
    except Exception as error:  # the Hub client's network errors differ between its releases
        cached = _cached(name, file)
        if cached is None:
            reason = (str(error).strip().splitlines() or [type(error).__name__])[0][:120]
            raise BackboneError(
                f"no folder {name!r}, and the Hub cannot be reached for it ({reason}); check the network and "
                f"HF_HUB_OFFLINE, or give a local folder or {own!r}"
            ) from error
        log.info("the Hub cannot be reached; using the cached copy of %s in %s", name, cached)
        return cached


def _needed(
    api: HfApi, name: str, files: Collection[str], file: str, pickled: bool
) -> tuple[str | None, list[str], str]:
    """Return the revision to take, the patterns of what is needed of it, and which of its files alone is meant, if one.

    Weights in the format of transformers go before those of open_clip, safetensors before pickles.
    """
    if file and file not in files:
        known = ", ".join(sorted(other for other in files if other.endswith(SUFFIXES))[:6]) or "no weights"
        raise BackboneError(f"{name} has no file {file!r}; it has {known}")
    if not file and "config.json" in files and any(one.startswith("model") and one.endswith(SAFE) for one in files):
        return None, list(PATTERNS), ""
    own = next((one for one in CHECKPOINTS if one in files), "") if CONFIG in files else ""
    if own and not file:
        return None, [CONFIG, own, *TOKENIZERS], ""
    bare = sorted(one for one in files if one.endswith(PICKLED) and not Path(one).name.startswith("pytorch_model"))
    if not file and bare and "config.json" not in files:
        if len(bare) > 1:
            choices = ", ".join(f"{name}/{one}" for one in bare[:6])
            raise BackboneError(f"{name} holds several checkpoints; give one of them: {choices}")
        file = bare[0]
    if file:
        beside = Path(file).parent
        return None, [file, *((beside / one).as_posix() for one in (CONFIG, *TOKENIZERS))], file
    if pickled and "pytorch_model.bin" in files:
        return None, [*PATTERNS[:4], "pytorch_model.bin"], ""
    return _converted(api, name), list(PATTERNS), ""


def _converted(api: HfApi, name: str) -> str:
    """Revision that holds a safetensors copy of a repository whose main branch has pickles only."""
    offers = api.get_repo_discussions(name, author=CONVERTER, discussion_type="pull_request", discussion_status="open")
    for discussion in offers:
        if "safetensors" in discussion.title and discussion.git_reference:
            log.info("%s: weights from the Hub's safetensors conversion, %s", name, discussion.git_reference)
            return discussion.git_reference
    raise BackboneError(
        f"{name} offers no model.safetensors; if it has pickled weights (pytorch_model.bin), "
        "give it to `acclimate backbones convert`, which writes them as safetensors"
    )


def _cached(name: str, file: str = "") -> Path | None:
    """The newest complete copy of a repository, or of one of its files, in the Hub cache, of whatever revision."""
    from huggingface_hub.constants import HF_HUB_CACHE

    def is_complete(path: Path) -> bool:
        if file:
            return (path / file).exists()
        plain = (path / "config.json").exists() and any(path.glob("model*.safetensors"))
        return plain or ((path / CONFIG).exists() and any((path / one).exists() for one in CHECKPOINTS))

    snapshots = Path(HF_HUB_CACHE, f"models--{name.replace('/', '--')}", "snapshots").glob("*")
    found = max(filter(is_complete, snapshots), key=lambda path: path.stat().st_mtime, default=None)
    return None if found is None else found / file


def cached_models() -> Iterator[tuple[str, Path]]:
    """Yield the id and the folder of every model that the Hub's cache holds a complete copy of, in the order of ids.

    One in open_clip's layout is yielded where it has been used before, so that it need not be written now.
    """
    from huggingface_hub.constants import HF_HUB_CACHE

    from acclimate.backbones.open_clip.converting import checkpoint_in, conversion_of

    for place in sorted(Path(HF_HUB_CACHE).glob("models--*--*")):
        name = place.name.removeprefix("models--").replace("--", "/", 1)
        folder = _cached(name)
        file = None if folder is None else checkpoint_in(folder)
        folder = folder if file is None else conversion_of(file)
        if folder is not None and folder.is_dir():
            yield name, folder
