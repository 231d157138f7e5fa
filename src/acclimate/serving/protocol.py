"""HTTP on a socket, for clients that may be slow on purpose: the head of a request has a time, too."""

from __future__ import annotations

import asyncio
from typing import Any

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

HEAD_SECONDS = 10.0


class PunctualProtocol(H11Protocol):
    """uvicorn's protocol, which ends a connection whose next head does not arrive in time.

    uvicorn itself limits how long a connection may be idle between two requests, and waits for ever for the first, or
    for the rest of a head that has begun.
    """

    head_seconds = HEAD_SECONDS

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._alarm: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin to wait for a head."""
        super().connection_made(transport)
        self._watch()

    def data_received(self, data: bytes) -> None:
        """Read on, and wait for the rest of a head that is not complete."""
        super().data_received(data)
        self._watch()

    def on_response_complete(self) -> None:
        """Go on with the next head, of which a part may be there."""
        super().on_response_complete()
        self._watch()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the connection."""
        self._calm()
        super().connection_lost(exc)

    def _watch(self) -> None:
        if self.conn.their_state is not h11.IDLE:
            self._calm()
        elif self._alarm is None:
            self._alarm = self.loop.call_later(self.head_seconds, self._end)

    def _calm(self) -> None:
        if self._alarm is not None:
            self._alarm.cancel()
            self._alarm = None

    def _end(self) -> None:
        self._alarm = None
        if self.conn.their_state is h11.IDLE:
            self.transport.close()
