"""Where a backbone's files are: beside the package, in a folder, or on the Hugging Face Hub."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from acclimate.backbones.catalogue import list_backbones
from acclimate.errors import BackboneError
from acclimate.options import closest

if TYPE_CHECKING:
    from huggingface_hub import HfApi

HUB_ID = re.compile(r"[\w][\w.-]*/[\w][\w.-]*")
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
        return cls(folder.resolve(), folder == Path(name).expanduser())


def find_folder(name: str, what: str = "backbone", own: str = "mini-clip") -> Path:
    """Folder of a backbone, downloaded where needed.

    Args:
        name: embedded name, folder, or Hub id.
        what: what it is called in errors.
        own: what else the user could give.

    Raises:
        BackboneError: no such thing, or the Hub does not give it.
    """
    for info in list_backbones():
        if info.id == name and info.path is not None:
            return info.path
    path = Path(name).expanduser()
    if path.is_dir():
        return path
    if path.exists():
        raise BackboneError(f"{path} is a file; give the folder that holds config.json and model.safetensors")
    if HUB_ID.fullmatch(name):
        return _download(name, own)
    close = closest(name, [info.id for info in list_backbones()], cutoff=0.5)
    hint = f"did you mean {close!r}?" if close else f"give an existing folder, a Hub id org/name, or {own!r}"
    raise BackboneError(f"no {what} folder {name!r}; {hint}")


def _download(name: str, own: str) -> Path:
    from huggingface_hub import HfApi, snapshot_download
    from huggingface_hub.errors import GatedRepoError, RepositoryNotFoundError

    api = HfApi()
    try:
        files = {sibling.rfilename for sibling in api.model_info(name, timeout=TIMEOUT).siblings or ()}
        revision = None
        if not any(file.startswith("model") and file.endswith(".safetensors") for file in files):
            revision = _converted(api, name)
        return Path(snapshot_download(name, revision=revision, allow_patterns=list(PATTERNS), etag_timeout=TIMEOUT))
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
        cached = _cached(name)
        if cached is None:
            reason = (str(error).strip().splitlines() or [type(error).__name__])[0][:120]
            raise BackboneError(
                f"no folder {name!r}, and the Hub cannot be reached for it ({reason}); check the network and "
                f"HF_HUB_OFFLINE, or give a local folder or {own!r}"
            ) from error
        log.info("the Hub cannot be reached; using the cached copy of %s in %s", name, cached)
        return cached


def _converted(api: HfApi, name: str) -> str:
    """Revision that holds a safetensors copy of a repository whose main branch has pickles only."""
    offers = api.get_repo_discussions(name, author=CONVERTER, discussion_type="pull_request", discussion_status="open")
    for discussion in offers:
        if "safetensors" in discussion.title and discussion.git_reference:
            log.info("%s: weights from the Hub's safetensors conversion, %s", name, discussion.git_reference)
            return discussion.git_reference
    raise BackboneError(
        f"{name} offers no model.safetensors; if it has pickled weights that you trust, load them with transformers "
        "once and give the folder that save_pretrained writes"
    )


def _cached(name: str) -> Path | None:
    """The newest complete copy of a repository in the Hub cache, of whatever revision."""
    from huggingface_hub.constants import HF_HUB_CACHE

    snapshots = Path(HF_HUB_CACHE, f"models--{name.replace('/', '--')}", "snapshots").glob("*")
    complete = [path for path in snapshots if (path / "config.json").exists() and any(path.glob("model*.safetensors"))]
    return max(complete, key=lambda path: path.stat().st_mtime, default=None)


def cached_models() -> Iterator[tuple[str, Path]]:
    """Yield the id and the folder of every model that the Hub's cache holds a complete copy of, in the order of ids."""
    from huggingface_hub.constants import HF_HUB_CACHE

    for place in sorted(Path(HF_HUB_CACHE).glob("models--*--*")):
        name = place.name.removeprefix("models--").replace("--", "/", 1)
        folder = _cached(name)
        if folder is not None:
            yield name, folder
