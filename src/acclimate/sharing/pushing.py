"""`push`: a run into a repository of the Hub, in one commit."""

from __future__ import annotations

import io
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from acclimate import __version__
from acclimate.backbones.hub import HUB_ID
from acclimate.errors import RunError
from acclimate.runs.remote import CARD, ENCODERS, FILES, GIVE, hub_errors
from acclimate.sharing.contents import Contents, gather

if TYPE_CHECKING:
    from huggingface_hub import HfApi

GIT = ".gitattributes"  # the Hub writes it


@dataclass(frozen=True)
class Pushed:
    """What was sent where.

    Attributes:
        name: OWNER/NAME.
        revision: the branch; none: the main one.
        url: page of the repository.
        commit: its hash.
        contents: what was sent.
    """

    name: str
    revision: str | None
    url: str
    commit: str
    contents: Contents


def push(
    run: str | os.PathLike[str], name: str, *, private: bool = False, revision: str | None = None, **options: Any
) -> Pushed:
    """Send a run to the Hugging Face Hub, in one commit; a repository that is not there is made.

    The token is that of the environment (HF_TOKEN) or of `hf auth login`.

    Args:
        run: folder of a finished run.
        name: OWNER/NAME of the repository: a new one, or one that holds an earlier run, which is replaced.
        private: make a private repository; one that is there and public is refused.
        revision: branch, made where it is not there; none: the main one.
        options: of `gather`.

    Raises:
        RunError: the run cannot be sent, see `gather`; there is no token, or it may not do this; the repository holds
            something else; or the Hub cannot be reached.
        ConfigError: see `gather`.
    """
    from huggingface_hub import HfApi, get_token

    check_name(name)
    contents = gather(run, name, **options)
    if not get_token():
        raise RunError("no token for the Hub: run `hf auth login`, or set HF_TOKEN to one that may write")
    api = HfApi(library_name="acclimate", library_version=__version__)
    with hub_errors(name, revision):
        there = _ready(api, name, private, revision)
        return _commit(api, name, revision, contents, there)


def check_name(name: str) -> None:
    """Refuse what cannot be a repository.

    Raises:
        RunError: so it is.
    """
    from huggingface_hub.errors import HFValidationError
    from huggingface_hub.utils import validate_repo_id

    try:
        validate_repo_id(name)
    except HFValidationError as error:
        raise RunError(f"{name!r} names no repository ({str(error).rstrip('.')}); {GIVE}") from None
    if not HUB_ID.fullmatch(name):
        raise RunError(f"{name!r} names no repository; {GIVE}")


def _ready(api: HfApi, name: str, private: bool, revision: str | None) -> list[str]:
    """Make the repository and the branch where they are not there, and return which files the branch has.

    Raises:
        RunError: the repository holds something else, or is public where a private one is asked for.
    """
    from huggingface_hub.errors import RepositoryNotFoundError

    try:
        info = api.model_info(name)
    except RepositoryNotFoundError:
        api.create_repo(name, private=private, exist_ok=False)
    else:
        if private and info.private is False:
            raise RunError(f"{name} is public, and a private repository is asked for; name another one, or make it so")
        _check_files(name, [one.rfilename for one in info.siblings or ()])
    if revision is not None:
        api.create_branch(name, branch=revision, exist_ok=True)
    there = api.list_repo_files(name, revision=revision)
    _check_files(name, there)
    return there


def _check_files(name: str, files: list[str]) -> None:
    """Refuse a repository with files that are no run's.

    Raises:
        RunError: so it is.
    """
    others = [file for file in files if file.partition("/")[0] not in (*FILES, *ENCODERS, CARD, GIT)]
    if others:
        raise RunError(f"{name} holds other files (such as {sorted(others)[0]}); name a new repository")


def _commit(api: HfApi, name: str, revision: str | None, contents: Contents, there: list[str]) -> Pushed:
    from huggingface_hub import CommitOperationAdd, CommitOperationDelete

    left = [file for file in there if file not in contents.files and file != GIT]
    operations: list[Any] = [CommitOperationDelete(path_in_repo=file) for file in left]
    for file, content in contents.files.items():
        source = io.BytesIO(content) if isinstance(content, bytes) else Path(content)
        operations.append(CommitOperationAdd(path_in_repo=file, path_or_fileobj=source))
    done = api.create_commit(name, operations, commit_message=f"A run of acclimate {__version__}", revision=revision)
    return Pushed(name, revision, f"{api.endpoint}/{name}", str(done.oid), contents)
