"""Servers with the OpenAI interface: a real one with a tiny model, and ones that fail in their own ways."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

from tests.helpers.waiting import wait_until


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


def is_up(url: str) -> bool:
    """Whether something answers."""
    try:
        urllib.request.urlopen(url, timeout=5).close()
    except OSError:
        return False
    return True


@contextmanager
def transformers_server(model: Path, log: Path) -> Iterator[str]:
    """`transformers serve` with a model; gives its base URL."""
    port = free_port()
    command = [Path(sys.executable).with_name("transformers"), "serve", model, "--port", port, "--device", "cpu"]
    environment = os.environ | {"HF_HUB_OFFLINE": "1", "HF_HUB_CACHE": str(log.parent), "OMP_NUM_THREADS": "1"}
    with log.open("w") as output:
        process = subprocess.Popen([str(word) for word in command], stdout=output, stderr=output, env=environment)
    try:
        wait_until(lambda: process.poll() is not None or is_up(f"http://127.0.0.1:{port}/health"), "answer")
        assert process.poll() is None, log.read_text()
        yield f"http://127.0.0.1:{port}/v1"
    finally:
        process.kill()
        process.wait()


class Server:
    """A server that answers as it is told, and remembers what it was sent.

    Args:
        reply: maps the number of a request and its content to a status and a body.
        models: names that it lists.
    """

    def __init__(self, reply: Callable[[int, Any], tuple[int, str]], models: tuple[str, ...] = ("small",)) -> None:
        self.requests: list[dict[str, Any]] = []
        self.headers: list[dict[str, str]] = []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self._send(200, json.dumps({"data": [{"id": name} for name in models]}))

            def do_POST(self) -> None:
                content = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                outer.requests.append(content)
                outer.headers.append(dict(self.headers))
                self._send(*reply(len(outer.requests), content))

            def _send(self, status: int, body: str) -> None:
                try:
                    self.send_response(status)
                    self.send_header("Content-Length", str(len(body.encode())))
                    self.end_headers()
                    self.wfile.write(body.encode())
                except OSError:  # whoever asked has gone
                    pass

            def log_message(self, *_: Any) -> None:
                pass

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.http.server_port}/v1"
        Thread(target=self.http.serve_forever, daemon=True).start()

    def close(self) -> None:
        """Stop."""
        self.http.shutdown()
        self.http.server_close()


def said(text: str) -> tuple[int, str]:
    """A good answer."""
    return 200, json.dumps({"choices": [{"message": {"role": "assistant", "content": text}}]})
