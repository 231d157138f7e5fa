"""What a client is told where it gets no answer: one line, with the status that HTTP has for it."""

from __future__ import annotations

import logging
from collections.abc import Mapping

from fastapi import Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from acclimate.data.images import UnreadableImage
from acclimate.data.opening import TooManyPixels
from acclimate.errors import AcclimateError, on_a_screen

logger = logging.getLogger("acclimate.serving")


class Refusal(Exception):
    """A request that gets no answer.

    Args:
        status: of HTTP.
        reason: in a word, for the metrics.
        message: one line, with the next step.
        headers: of the response, such as Retry-After.
    """

    def __init__(self, status: int, reason: str, message: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(message)
        self.status, self.reason, self.headers = status, reason, dict(headers or {})


def as_response(refusal: Refusal) -> JSONResponse:
    """Return what is sent: the line as `error`."""
    return JSONResponse({"error": on_a_screen(str(refusal))}, refusal.status, refusal.headers)


def refusal_of(error: Exception) -> Refusal:
    """Return what a client is told of an error that its request has caused."""
    if isinstance(error, Refusal):
        return error
    if isinstance(error, RequestValidationError):
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"][1:])
        return Refusal(422, "parameter", f"{place}: {first['msg']}; see /openapi.json")
    if isinstance(error, HTTPException):
        return Refusal(error.status_code, "request", f"{error.detail}; see /openapi.json", error.headers)
    if isinstance(error, UnreadableImage):
        large = isinstance(error.__cause__, TooManyPixels)
        return Refusal(413 if large else 422, "pixels" if large else "image", str(error))
    if isinstance(error, AcclimateError):
        return Refusal(422, "request", str(error))
    return Refusal(500, "failure", f"the server failed on this request ({type(error).__name__}); its log says why")


async def answer_error(request: Request, error: Exception) -> JSONResponse:
    """Return the response to an error, and note its reason for the metrics."""
    refusal = refusal_of(error)
    request.scope["refused"] = refusal.reason
    if refusal.status == 500:
        logger.error("%s failed: %s: %s", request.url.path, type(error).__name__, error, exc_info=error)
    return as_response(refusal)
