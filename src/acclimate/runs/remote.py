"""Runs on the Hugging Face Hub: `hf:OWNER/NAME` in place of a run folder, fetched into the Hub's cache.

Only what a run consists of is taken, and only where it is safetensors, JSON or text: a repository with pickles, or with
names that lead out of its folder, is refused before anything of it is read.
"""

from __future__ import annotations

import json
import logging
import os
import re
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from acclimate.backbones.hub import HUB_ID, TIMEOUT
from acclimate.documents import load_json, read_text
from acclimate.errors import RunError
from acclimate.runs import folder
from acclimate.runs.places import PLACES

if TYPE_CHECKING:
    from huggingface_hub import ModelInfo

PREFIX = "hf:"
REMOTE = re.compile(rf"hf:(?://?)?({HUB_ID.pattern})(?:@([\w][\w./-]*))?")
CARD = "README.md"
NEEDED = (folder.ADAPTER, folder.ADAPTER_INFO, folder.RECORD)
FILES = (*NEEDED, folder.SPLITS, folder.IMAGES, folder.LOG, folder.CALIBRATION)
"""What a run on the Hub consists of, beside its card."""
ENCODERS = ("backbone", "domain_encoder")
"""Folders of encoders that were sent with it."""
ENCODER_FILES = (".json", ".txt", ".jinja", ".safetensors")
PICKLES = (".bin", ".ckpt", ".dill", ".h5", ".joblib", ".npy", ".npz", ".pickle", ".pkl", ".pt", ".pth")
GIVE = "give OWNER/NAME"

log = logging.getLogger("acclimate.runs")


def is_remote(run: str | os.PathLike[str]) -> bool:
    """Return whether a run is named as one of the Hub."""
    return os.fspath(run).startswith(PREFIX)


def find_run(run: str | os.PathLike[str]) -> Path:
    """Return the folder of a run: the one that is named, or that of `hf:OWNER/NAME[@REVISION]` in the Hub's cache.

    Raises:
        RunError: it is on the Hub, and cannot be had from there or is refused, see `fetch`.
    """
    if not is_remote(run):
        return Path(run)
    found = REMOTE.fullmatch(os.fspath(run).replace(os.sep, "/"))
    if found is None:
        raise RunError(f"{os.fspath(run)!r} names no run on the Hub; write it as hf:OWNER/NAME or hf:OWNER/NAME@BRANCH")
    return fetch(found[1], found[2])[0]


def in_the_hubs_cache(run: Path) -> bool:
    """Return whether a run folder is a copy that the Hub's cache holds, in which nothing is to be written."""
    from huggingface_hub.constants import HF_HUB_CACHE

    return run.resolve().is_relative_to(Path(HF_HUB_CACHE).resolve())


def fetch(name: str, revision: str | None = None) -> tuple[Path, list[str]]:
    """Return the folder of a run in the Hub's cache, and its files, downloaded where needed; offline, what is there.

    Args:
        name: OWNER/NAME.
        revision: branch, tag or commit; none: the main branch.

    Raises:
        RunError: it is not there or may not be read, the Hub cannot be reached, or it holds what is refused.
    """
    from huggingface_hub import snapshot_download

    if not HUB_ID.fullmatch(name):
        raise RunError(f"{name!r} names no repository; {GIVE}")
    with hub_errors(name, revision):
        info = _info(name, revision)
        how: dict[str, Any] = {"revision": revision, "etag_timeout": TIMEOUT}
        if info is None:
            path = Path(snapshot_download(name, **how, local_files_only=True))
            wanted = check_names(name, [one.relative_to(path).as_posix() for one in path.rglob("*") if one.is_file()])
        else:
            wanted = check_names(name, [one.rfilename for one in info.siblings or ()])
            path = Path(snapshot_download(name, **how, allow_patterns=[_literal(one) for one in wanted]))
    check_content(path, wanted)
    return path, wanted


def _info(name: str, revision: str | None) -> ModelInfo | None:
    """Return what the Hub says of a repository; none where it cannot be reached."""
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError

    try:
        return HfApi().model_info(name, revision=revision, timeout=TIMEOUT)
    except HFValidationError as error:
        raise RunError(f"{name!r} names no repository ({str(error).rstrip('.')}); {GIVE}") from None
    except HfHubHTTPError as error:
        if getattr(error.response, "status_code", 500) < 500:
            raise
    except Exception as error:  # the errors of the client's transport differ between its releases
        log.info("the Hub cannot be reached (%s); looking for a copy of %s in its cache", _reason(error), name)
    return None


def _literal(name: str) -> str:
    """Return the pattern that a name alone matches."""
    return re.sub(r"([*?[])", r"[\1]", name)


def check_names(name: str, files: Collection[str]) -> list[str]:
    """Return which files of a repository make up the run, and refuse a repository that holds what may harm.

    Raises:
        RunError: there are pickles, names that lead out of the folder, or no run.
    """
    for file in sorted(files):
        parts = PurePosixPath(file).parts
        if file.startswith(("/", "~")) or ".." in parts or "\\" in file or ":" in file or not file.isprintable():
            raise RunError(f"{name} has a file {file!r}, whose name leads out of its folder; it is refused")
        if file.lower().endswith(PICKLES):
            raise RunError(f"{name} has {file!r}: a run is safetensors, JSON and text, and this is not; it is refused")
    missing = [file for file in NEEDED if file not in files]
    if missing:
        raise RunError(
            f"{name} is no run of acclimate: it has no {missing[0]}; give a repository that `acclimate push` has made"
        )
    return sorted(file for file in files if _is_part(file))


def _is_part(file: str) -> bool:
    first, _, rest = file.partition("/")
    return file in (*FILES, CARD) or (first in ENCODERS and "/" not in rest and rest.endswith(ENCODER_FILES))


def check_content(path: Path, files: Collection[str]) -> None:
    """Refuse a downloaded run whose files are not what their names say, or lie elsewhere.

    Raises:
        RunError: so it is.
    """
    from safetensors import SafetensorError, safe_open

    store = path.resolve().parent.parent  # a snapshot of the Hub's cache links to the files beside it
    for name in files:
        file, advice = path / name, "the repository is damaged; it is refused"
        if not file.resolve().is_relative_to(store) or not file.is_file():
            raise RunError(f"{file} is no file of its own folder; {advice}")
        if name.endswith(".safetensors"):
            try:
                with safe_open(file, framework="numpy"):
                    pass
            except (SafetensorError, OSError, ValueError) as error:
                raise RunError(f"{file} is no safetensors ({error}); {advice}") from None
        else:
            text = read_text(file, RunError, advice)
            if name.endswith(".json"):
                content = load_json(text, str(file), RunError, advice)
                if name in NEEDED and not isinstance(content, dict):
                    raise RunError(f"{file} holds no object; {advice}")
                if name == folder.RECORD:
                    _check_places(content.get(PLACES), file, advice)


def _check_places(places: Any, file: Path, advice: str) -> None:
    """Refuse a record that says where encoders are, other than beside it."""
    allowed = {option: {"relative": option} for option in ENCODERS}
    if places is not None and not (isinstance(places, dict) and places.items() <= allowed.items()):
        raise RunError(f"{file} names folders of another machine ({json.dumps(places)[:80]}); {advice}")


@contextmanager
def hub_errors(name: str, revision: str | None = None) -> Iterator[None]:
    """Say in one line what goes wrong between here and a repository of the Hub.

    Raises:
        RunError: the repository or the revision is not there, the token is missing or may not do this, or the Hub
            cannot be reached.
    """
    from huggingface_hub.errors import GatedRepoError, HfHubHTTPError, RepositoryNotFoundError, RevisionNotFoundError

    try:
        yield
    except RunError:
        raise
    except GatedRepoError as error:
        raise RunError(
            f"{name} asks for consent on the Hub: accept its terms on its page, then run `hf auth login`"
        ) from error
    except RepositoryNotFoundError as error:
        raise RunError(
            f"the Hub has no repository {name!r}, or none that you may read; check the spelling, or run "
            "`hf auth login` for a private one"
        ) from error
    except RevisionNotFoundError as error:
        raise RunError(f"{name} has no revision {revision!r}; name a branch, a tag or a commit of it") from error
    except HfHubHTTPError as error:
        status = getattr(error.response, "status_code", None)
        if status in (401, 403):
            raise RunError(
                f"the Hub does not let this token do that with {name} ({status}); run `hf auth login` with a token "
                "that may"
            ) from error
        raise RunError(f"the Hub refuses {name} ({_reason(error)}); try again later") from error
    except Exception as error:  # the client's own errors, and those of its transport, differ between its releases
        raise RunError(
            f"the Hub cannot be reached for {name} ({_reason(error)}); check the network and HF_HUB_OFFLINE"
        ) from error


def _reason(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:160]
