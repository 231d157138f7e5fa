"""A real server on a free port, in a thread of this process, and what sends images to it."""

from __future__ import annotations

import io
import socket
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import requests
from PIL import Image

from acclimate.runs import AdaptedModel
from acclimate.serving import Limits, make_app
from acclimate.serving.guard import Guard
from acclimate.serving.listening import Listening
from tests.helpers.waiting import HANG, wait_until

ImageFile = tuple[str, bytes]


@dataclass
class Client:
    """Sends requests to a server, each with a connection of its own.

    Attributes:
        url: of the server, without a slash at the end.
        app: what answers.
        headers: of every request.
    """

    url: str
    app: Guard
    headers: dict[str, str] = field(default_factory=dict)

    @property
    def address(self) -> tuple[str, int]:
        """Host and port."""
        host, _, port = self.url.removeprefix("http://").partition(":")
        return host, int(port)

    def get(self, path: str, **headers: str) -> requests.Response:
        """Ask for something."""
        return requests.get(self.url + path, headers=self.headers | headers, timeout=HANG)

    def post(self, path: str, files: Sequence[Path | ImageFile], question: str = "", **asked: Any) -> requests.Response:
        """Send images."""
        named = [(one.name, one.read_bytes()) if isinstance(one, Path) else one for one in files]
        return requests.post(
            self.url + path,
            params=asked,
            files=[("files", one) for one in named],
            data={"question": question} if question else None,
            headers=self.headers,
            timeout=HANG,
        )

    def count(self, name: str) -> float:
        """Return the sum of a counter over its labels."""
        lines = self.get("/metrics").text.splitlines()
        return sum(float(line.rpartition(" ")[2]) for line in lines if line.partition("{")[0] == f"acclimate_{name}")

    def raw(self, content: bytes) -> socket.socket:
        """Open a connection, and send some bytes."""
        connection = socket.create_connection(self.address, timeout=HANG)
        connection.sendall(content)
        return connection


def refused(answer: requests.Response, status: int) -> str:
    """Return the line of a refusal, which has this status."""
    assert answer.status_code == status, answer.text
    assert list(answer.json()) == ["error"]
    line = answer.json()["error"]
    assert line
    assert "\n" not in line
    return line


def rest(connection: socket.socket) -> bytes:
    """Return what a connection still says until it is closed."""
    with connection:
        return b"".join(iter(lambda: connection.recv(2**16), b""))


@contextmanager
def serving(
    models: Mapping[str, AdaptedModel], limits: Limits | None = None, token: str | None = None, **options: Any
) -> Iterator[Client]:
    """Serve models while the context lasts."""
    app = make_app(models, limits, token, **options)
    said: list[str] = []
    server = Listening.of(app, said.append)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=server.run, args=([listener],))
        thread.start()
        try:
            wait_until(lambda: said or not thread.is_alive(), "address of the server")
            yield Client(said[0].rstrip("/"), app, {"Authorization": f"Bearer {token}"} if token else {})
        finally:
            server.should_exit = True
            thread.join(HANG)
    assert not thread.is_alive()


def png(width: int = 24, height: int = 24, seed: int = 0) -> bytes:
    """Return a small PNG of noise."""
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "PNG")
    return stream.getvalue()
