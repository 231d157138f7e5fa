"""`serve`: runs behind a socket, until somebody ends it."""

from __future__ import annotations

import ipaddress
import logging
import os
import signal
import socket
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from acclimate import arguments
from acclimate.errors import ConfigError
from acclimate.extras import require
from acclimate.serving.limits import Limits

if TYPE_CHECKING:
    from acclimate.runs.model import AdaptedModel

EXTRA = "serve"
MODULES = ("fastapi", "uvicorn", "python_multipart", "prometheus_client")
BACKLOG = 128  # connections that wait to be accepted

logger = logging.getLogger("acclimate.serving")


def name_runs(words: Sequence[str]) -> dict[str, Path]:
    """Return run folders by the names under which they are served: NAME of `NAME=FOLDER`, or that of the folder.

    Raises:
        ConfigError: two have one name, or there is none.
    """
    found: dict[str, Path] = {}
    for word in words:
        name, equals, place = word.partition("=")
        named = bool(equals) and not os.path.isdir(word)
        folder = Path(place if named else word)
        name = name if named else folder.resolve().name
        if not name.strip():
            raise ConfigError(f"'{word}' has no name; write it as NAME=FOLDER")
        if name in found:
            raise ConfigError(f"two runs are called '{name}'; give one of them another name, as NAME={folder}")
        found[name] = folder
    if not found:
        raise ConfigError("there is no run to serve; name the folder of one")
    return found


def read_token(path: str | os.PathLike[str]) -> str:
    """Return the token in a file: its first line.

    Raises:
        ConfigError: the file cannot be read, or the line is blank or no ASCII.
    """
    try:
        token = Path(path).read_text(encoding="utf-8").partition("\n")[0].strip()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(
            f"cannot read the token in {path}: {error}; give a file whose first line is the token"
        ) from None
    if not token or not token.isascii() or not token.isprintable():
        raise ConfigError(f"{path}: the first line is no token; write one of ASCII letters and digits there")
    return token


def check_extra() -> None:
    """Refuse to serve where the packages for it are missing.

    Raises:
        AcclimateError: so it is; the message names the extra.
    """
    for module in MODULES:
        require(module, EXTRA)


def serve(
    models: Mapping[str, AdaptedModel],
    host: str = "127.0.0.1",
    port: int = 8000,
    *,
    limits: Limits | None = None,
    token: str | None = None,
    allow_hosts: Collection[str] = (),
    told: Callable[[str], None] = logger.info,
) -> None:
    """Serve runs until SIGTERM or Ctrl-C; what has begun by then is finished.

    Args:
        models: what `load` returns, by the names under which clients ask for them; at least one.
        host: address to listen on; only this machine reaches the usual one.
        port: to listen on; 0: any that is free.
        limits: what it takes; none: the usual ones.
        token: what clients must show; none: nothing.
        allow_hosts: names under which a server on a loopback address may be asked, beside those of this machine.
        told: called with the address, once it listens.

    Raises:
        AcclimateError: the packages are missing.
        ConfigError: a wrong option, no run, or an address that cannot be listened on.
    """
    check_extra()
    from acclimate.serving.app import make_app
    from acclimate.serving.guard import LOOPBACK
    from acclimate.serving.listening import Listening

    port = arguments.whole("port", port, 0)
    if not models:
        raise ConfigError("there is no run to serve; give `models`, by their names")
    local = _is_loopback(host)
    if not local and token is None:
        logger.warning("whoever reaches %s may ask this server; ask for a token with `token_file`", host)
    app = make_app(models, limits, token, {*LOOPBACK, host, *allow_hosts} if local else None)
    with _listen(host, port) as listener, _ends_well():
        Listening.of(app, told).run([listener])


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family, backlog=BACKLOG)
    except (OSError, OverflowError) as error:
        raise ConfigError(f"cannot listen on {host}, port {port}: {error}; choose another `port` or `host`") from None


@contextmanager
def _ends_well() -> Iterator[None]:
    """Take SIGTERM and Ctrl-C for an end, not for an error: the server raises them once more when all is finished."""
    before: dict[int, Any] = {
        number: signal.signal(number, lambda *_: None) for number in (signal.SIGTERM, signal.SIGINT)
    }
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
