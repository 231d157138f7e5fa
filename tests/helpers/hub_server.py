"""A small server that answers as the Hugging Face Hub does, to real requests of huggingface_hub."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from tests.helpers.waiting import HANG

COMMITS = {"main": "a" * 40, "refs/pr/3": "b" * 40}

SCRIPT = """
import json, sys
from acclimate.backbones import load_backbone, load_domain_encoder, load_vlm
from acclimate.errors import BackboneError
for name in sys.argv[1:]:
    kind, _, place = name.rpartition(":")
    load = {"domain": load_domain_encoder, "vlm": load_vlm}.get(kind, load_backbone)
    try:
        print(json.dumps([name, load(place).fingerprint]))
    except BackboneError as error:
        print(json.dumps([name, str(error)]))
"""


def files_of(folder: Path) -> dict[str, bytes]:
    """Content of all files below a folder, by their paths from there."""
    paths = [path for path in folder.rglob("*") if path.is_file()]
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in paths}


@contextmanager
def hub_server(
    repos: Mapping[str, Mapping[str, bytes]], converted: Mapping[str, Mapping[str, bytes]], gated: set[str]
) -> Iterator[SimpleNamespace]:
    """Serve repositories while the context lasts.

    Args:
        repos: the files of each on its main branch.
        converted: the files of some in pull request 3, a safetensors copy by the Hub's own account.
        gated: repositories that ask for consent.

    Returns:
        `endpoint`, its URL; `asked`, the paths of the files whose content was sent.
    """
    kept = {(name, COMMITS["main"]): files for name, files in repos.items()}
    kept |= {(name, COMMITS["refs/pr/3"]): files for name, files in converted.items()}
    asked: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            path = self.path.split("?")[0].replace("%2F", "/")
            parts = path.strip("/").split("/")
            api = parts[0] == "api"
            name = "/".join(parts[2:4] if api else parts[:2])
            if name in gated:
                return self.answer(403, {"error": "gated"}, {"X-Error-Code": "GatedRepo"})
            if (name, COMMITS["main"]) not in kept:
                return self.answer(404, {"error": "no such model"}, {"X-Error-Code": "RepoNotFound"})
            if api and parts[4:5] == ["discussions"]:
                offers = [discussion(name)] if name in converted else []
                return self.answer(200, {"discussions": offers, "count": len(offers), "start": 0})
            marks = ("/revision/", "/tree/", "/resolve/")
            revision = next((path.split(mark)[1] for mark in marks if mark in path), "main")
            commit = next((c for r, c in COMMITS.items() if revision.startswith((r, c))), COMMITS["main"])
            content = kept[name, commit]
            if api and parts[4:5] == ["tree"]:
                rows = [{"type": "file", "path": f, "size": len(b), "oid": etag(b)} for f, b in content.items()]
                return self.answer(200, rows)
            if api:
                siblings = [{"rfilename": f, "size": len(b)} for f, b in content.items()]
                info = {"id": name, "sha": commit, "siblings": siblings, "private": False}
                return self.answer(200, info | {"downloads": 0, "likes": 0, "tags": []})
            file = path.split(f"/resolve/{commit}/")[-1].split("/resolve/main/")[-1]
            if self.command == "GET":
                asked.append(f"{name}/{file}")
            return self.answer(200, content[file], {"X-Repo-Commit": commit, "ETag": f'"{etag(content[file])}"'})

        do_HEAD = do_GET

        def answer(self, status: int, body: Any, headers: Mapping[str, str] | None = None) -> None:
            body = body if isinstance(body, bytes) else json.dumps(body).encode()
            self.send_response(status)
            for key, value in {"Content-Length": str(len(body)), **(headers or {})}.items():
                self.send_header(key, value)
            self.end_headers()
            if self.command == "GET":
                self.wfile.write(body)

        def log_message(self, *args: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield SimpleNamespace(endpoint=f"http://127.0.0.1:{server.server_port}", asked=asked)
    finally:
        server.shutdown()
        server.server_close()


def discussion(name: str) -> dict[str, Any]:
    """The pull request in which the Hub's own account offers a safetensors copy."""
    return {
        "num": 3,
        "title": "Adding `safetensors` variant of this model",
        "status": "open",
        "author": {"name": "SFconvertbot"},
        "isPullRequest": True,
        "repo": {"name": name, "type": "model"},
        "createdAt": "2024-01-01T00:00:00.000Z",
    }


def etag(body: bytes) -> str:
    return hashlib.sha1(body).hexdigest()


def hub_environment(endpoint: str, cache: Path) -> dict[str, str]:
    """The environment of a process that takes the server for the Hub, with caches of its own."""
    kept = {k: v for k, v in os.environ.items() if not k.lower().endswith("_proxy") and k != "HF_HUB_OFFLINE"}
    places = {"HF_ENDPOINT": endpoint, "HF_HOME": str(cache), "ACCLIMATE_CACHE": str(cache / "acclimate")}
    return kept | places | {"HF_HUB_DISABLE_XET": "1", "OMP_NUM_THREADS": "1"}


def load_from_hub(endpoint: str, cache: Path, *names: str) -> dict[str, str]:
    """Fingerprint of each backbone, or what its refusal says, in a process of its own.

    Args:
        endpoint: of the server.
        cache: folder for what is downloaded.
        names: as `load_backbone` takes them; with "domain:" or "vlm:" before, as the other loaders do.
    """
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, *names],
        env=hub_environment(endpoint, cache),
        capture_output=True,
        text=True,
        timeout=HANG,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return dict(json.loads(line) for line in done.stdout.splitlines())
