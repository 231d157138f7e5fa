"""The door: who may come in, how much they may bring, and how long that may take; before anything is read of it."""

from __future__ import annotations

import asyncio
import hmac
import time
from collections.abc import Collection, Mapping
from typing import Any

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from acclimate.counting import counted
from acclimate.serving.gauges import Gauges
from acclimate.serving.limits import MB, Limits
from acclimate.serving.refusals import Refusal, as_response

OPEN = ("/", "/health")  # without a token: the page has nothing in it, and it asks for the token
LOOPBACK = ("localhost", "127.0.0.1", "[::1]")
LINGER = 2.0  # seconds in which the rest of a refused request is read, so that its sender sees the answer
AGAIN = {"Retry-After": "1"}


class Guard:
    """Lets requests through to an application, and counts what is answered.

    Args:
        app: the application.
        limits: of the server.
        gauges: of the server.
        token: what clients must show; none: nothing.
        hosts: names under which the server may be asked; none: any. On a loopback address they keep out pages of
            others, which can give their own name that address (DNS rebinding).
        paths: that the metrics know by name.
    """

    def __init__(
        self,
        app: ASGIApp,
        limits: Limits,
        gauges: Gauges,
        token: str | None,
        hosts: Collection[str] | None,
        paths: Collection[str],
    ) -> None:
        self.app, self.limits, self.gauges, self.token = app, limits, gauges, token
        self.hosts = None if hosts is None else {host.lower() for host in hosts}
        self.proxies = (self.hosts or set()) - set(LOOPBACK)  # a page that came through one has its name
        self.paths, self.inside, self.held = frozenset(paths), 0, 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, or have the application answer it."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        started, headers, status = time.monotonic(), Headers(scope=scope), 500
        body = Body(self, receive, headers)

        async def answer(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                closing = [] if await body.discard() else [(b"connection", b"close")]
                plain = [(b"x-content-type-options", b"nosniff"), (b"cache-control", b"no-store")]
                message["headers"] = [*message["headers"], *plain, *closing]
            await send(message)

        self.inside += 1
        try:
            self._admit(scope, headers)
            await self.app(scope, body.receive, answer)
        except Refusal as refusal:  # of the door; those inside are answered there
            scope["refused"] = refusal.reason
            await as_response(refusal)(scope, receive, answer)
        finally:
            self.inside -= 1
            self.held -= body.size
            self._count(scope, status, time.monotonic() - started)

    def _admit(self, scope: Scope, headers: Headers) -> None:
        """Refuse a request by its head.

        Raises:
            Refusal: the server is busy, it was asked under a foreign name, the token is missing, or the body too large.
        """
        if self.inside > self.limits.max_requests:
            most = counted(self.limits.max_requests, "request")
            raise Refusal(503, "requests", f"{most} are served already; try again in a second", AGAIN)
        self._check_names(headers)
        if self.token is not None and scope["path"] not in OPEN and not self._shows_token(headers):
            told = {"WWW-Authenticate": "Bearer"}
            raise Refusal(401, "token", "this server asks for a token; send it as Authorization: Bearer TOKEN", told)
        length = headers.get("content-length", "0")
        if length.isdecimal() and int(length) > self.limits.body:
            raise self.too_large()

    def _check_names(self, headers: Headers) -> None:
        host, origin = headers.get("host", "").lower(), headers.get("origin", "").lower().partition("://")
        if self.hosts is not None and _without_port(host) not in self.hosts:
            raise Refusal(403, "host", "this server is not asked under that name; see its option for other hosts")
        if origin[0] and origin[2] != host and _without_port(origin[2]) not in self.proxies:
            raise Refusal(403, "origin", "pages from elsewhere may not ask this server")

    def _shows_token(self, headers: Headers) -> bool:
        kind, _, shown = headers.get("authorization", "").partition(" ")
        wanted = (self.token or "").encode()
        return hmac.compare_digest(shown.strip().encode(), wanted) and kind.lower() == "bearer"

    def too_large(self) -> Refusal:
        """Return what is told of a request that is too large."""
        return Refusal(413, "body", f"a request has at most {self.limits.max_body_mb:g} MB; send fewer images")

    def _count(self, scope: Mapping[str, Any], status: int, seconds: float) -> None:
        path = scope["path"] if scope["path"] in self.paths else "other"
        self.gauges.requests.labels(path, status).inc()
        self.gauges.seconds.labels(path).observe(seconds)
        if "refused" in scope:
            self.gauges.refusals.labels(scope["refused"]).inc()


class Body:
    """The body of a request, as it arrives: within its size and its time.

    Args:
        guard: knows the limits, and how much all bodies have.
        receive: of the server.
        headers: of the request.
    """

    def __init__(self, guard: Guard, receive: Receive, headers: Headers) -> None:
        self.guard, self._receive, self.size = guard, receive, 0
        self.deadline = time.monotonic() + guard.limits.upload_seconds
        self.ended = not ("transfer-encoding" in headers or headers.get("content-length", "0") != "0")
        self.held_back = headers.get("expect", "").lower() == "100-continue"  # nothing comes, or too little

    async def receive(self) -> Message:
        """Return the next part of it.

        Raises:
            Refusal: it is too large, too slow, or does not fit beside the others.
        """
        if self.ended:
            return await self._receive()
        self.held_back = False
        try:
            message = await asyncio.wait_for(self._receive(), self.deadline - time.monotonic())
        except TimeoutError:
            self.held_back = True
            seconds = f"{self.guard.limits.upload_seconds:g} s"
            raise Refusal(408, "slow", f"the request has not arrived within {seconds}; send fewer images") from None
        self._note(message)
        return message

    def _note(self, message: Message) -> None:
        self.ended = message["type"] == "http.disconnect" or not message.get("more_body", False)
        count = len(message.get("body", b""))
        self.size, self.guard.held = self.size + count, self.guard.held + count
        if self.size > self.guard.limits.body:
            raise self.guard.too_large()
        if self.guard.held > self.guard.limits.held:
            held = f"{self.guard.limits.held / MB:g} MB"
            raise Refusal(503, "held", f"other requests hold {held} already; try again in a second", AGAIN)

    async def discard(self) -> bool:
        """Read what is left and forget it, for a while; return whether that was all."""
        if self.ended or self.held_back:
            return self.ended
        left, deadline = self.guard.limits.held, time.monotonic() + LINGER
        while not self.ended and left > 0:
            try:
                message = await asyncio.wait_for(self._receive(), deadline - time.monotonic())
            except TimeoutError:
                break
            self.ended = message["type"] == "http.disconnect" or not message.get("more_body", False)
            left -= len(message.get("body", b""))
        return self.ended


def _without_port(host: str) -> str:
    name, _, port = host.rpartition(":")
    return name if name and port.isdigit() else host
