"""The page on which people drop images: one document, which asks for nothing but this server."""

from __future__ import annotations

import secrets
from functools import cache
from typing import Any

import jinja2
from fastapi.responses import HTMLResponse

from acclimate import __version__

POLICY = (
    "default-src 'none'; script-src 'nonce-{nonce}'; style-src 'nonce-{nonce}'; img-src 'self' blob: data:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)


def page() -> HTMLResponse:
    """Return the page. It is the same for everybody: what it shows of runs it asks for, with the token if need be."""
    nonce = secrets.token_urlsafe(16)
    text = _template().render(nonce=nonce, version=__version__)
    headers = {"Content-Security-Policy": POLICY.format(nonce=nonce), "Referrer-Policy": "no-referrer"}
    return HTMLResponse(text, headers=headers)


@cache
def _template() -> Any:
    loader = jinja2.PackageLoader("acclimate.serving")
    environment = jinja2.Environment(loader=loader, autoescape=True, undefined=jinja2.StrictUndefined)
    return environment.get_template("page.html")
