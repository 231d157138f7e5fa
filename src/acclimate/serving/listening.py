"""uvicorn, as it is set up here."""

from __future__ import annotations

import logging
import socket
from collections.abc import Callable
from typing import Any

import uvicorn

from acclimate.serving.protocol import PunctualProtocol

IDLE_SECONDS = 5  # of a connection between two requests
HEAD = 2**14  # bytes of the head of a request, at most


class Listening(uvicorn.Server):
    """A server that says when it listens, and where.

    Args:
        config: of uvicorn.
        told: called with the address.
    """

    def __init__(self, config: uvicorn.Config, told: Callable[[str], None]) -> None:
        super().__init__(config)
        self.told = told

    @classmethod
    def of(cls, app: Any, told: Callable[[str], None]) -> Listening:
        """Return a server of an application, in this process, without a log of its own."""
        logging.getLogger("python_multipart").setLevel(logging.ERROR)  # clients do not write to the log of a server
        config = uvicorn.Config(
            app,
            http=PunctualProtocol,
            ws="none",
            lifespan="on",
            log_config=None,
            log_level="critical",
            access_log=False,
            server_header=False,
            proxy_headers=False,
            timeout_keep_alive=IDLE_SECONDS,
            h11_max_incomplete_event_size=HEAD,
        )
        return cls(config, told)

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Begin to listen."""
        await super().startup(sockets)
        for one in sockets or []:
            host, port = one.getsockname()[:2]
            self.told(f"http://{f'[{host}]' if ':' in host else host}:{port}/")
