"""A server that takes and gives model repositories as the Hub does, to real requests of huggingface_hub."""

from __future__ import annotations

import base64
import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote

from tests.helpers.hub_server import etag

WRITER, READER = "hf_writer", "hf_reader"
"""Tokens: one that may do everything, and one that may only read."""
LARGE = (".safetensors", ".parquet")  # what goes through LFS


@dataclass
class Repository:
    """One model repository: its branches, each with its files, and every commit that they ever had."""

    private: bool = False
    branches: dict[str, dict[str, bytes]] = field(default_factory=lambda: {"main": {}})
    commits: dict[str, dict[str, bytes]] = field(default_factory=dict)

    def commit(self, branch: str) -> str:
        """Return the commit of a branch, or the commit itself."""
        if branch in self.commits:
            return branch
        files = self.branches[branch]
        found = hashlib.sha1(repr(sorted((name, etag(body)) for name, body in files.items())).encode()).hexdigest()
        self.commits[found] = dict(files)
        return found


@dataclass
class Store:
    """What the server holds, and what was asked of it."""

    endpoint: str = ""
    repositories: dict[str, Repository] = field(default_factory=dict)
    large: dict[str, bytes] = field(default_factory=dict)
    sent: list[str] = field(default_factory=list)
    yaml: list[str] = field(default_factory=list)
    messages: list[str] = field(default_factory=list)

    def put(self, name: str, files: dict[str, bytes], private: bool = False) -> None:
        """Make a repository with these files."""
        self.repositories[name] = Repository(private, {"main": dict(files)})

    def files(self, name: str, branch: str = "main") -> dict[str, bytes]:
        """The files of a branch."""
        return self.repositories[name].branches[branch]


class _Handler(BaseHTTPRequestHandler):
    store: Store

    def do_GET(self) -> None:
        self.route("GET")

    def do_HEAD(self) -> None:
        self.route("HEAD")

    def do_POST(self) -> None:
        self.route("POST")

    def do_PUT(self) -> None:
        self.route("PUT")

    def route(self, verb: str) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        parts = [unquote(part) for part in self.path.split("?")[0].strip("/").split("/")]
        token = (self.headers.get("Authorization") or "").removeprefix("Bearer ")
        if parts[0] == "lfs":
            self.store.large[parts[1]] = body
            return self.answer(200, {})
        if parts[:2] == ["api", "validate-yaml"]:
            self.store.yaml.append(json.loads(body)["content"])
            return self.answer(200, {"errors": [], "warnings": []})
        if token and token not in (WRITER, READER):
            return self.answer(401, {"error": "Invalid credentials"})
        if verb in ("POST", "PUT") and token != WRITER:
            return self.answer(403, {"error": "this token may only read"})
        if parts[:3] == ["api", "repos", "create"]:
            return self.create(json.loads(body))
        api = parts[:2] == ["api", "models"]
        name = "/".join(parts[2:4] if api else parts[:2]).removesuffix(".git")
        found = self.store.repositories.get(name)
        if found is None or (found.private and not token):
            return self.answer(404, {"error": "Repository not found"}, {"X-Error-Code": "RepoNotFound"})
        rest = parts[4:] if api else parts[2:]
        return self.of_repository(name, found, api, rest, body)

    def create(self, told: dict[str, Any]) -> None:
        name = f"{told['organization']}/{told['name']}"
        self.store.repositories[name] = Repository(bool(told.get("private")) or told.get("visibility") == "private")
        self.answer(200, {"url": f"{self.store.endpoint}/{name}"})

    def of_repository(self, name: str, found: Repository, api: bool, rest: list[str], body: bytes) -> None:
        action = rest[0] if rest else "revision"
        if action == "branch":
            found.branches.setdefault(rest[1], dict(found.branches["main"]))
            return self.answer(200, {})
        if action == "info":  # of LFS
            return self.batch(json.loads(body))
        revision = rest[1] if len(rest) > 1 else "main"
        if revision not in found.branches and revision not in found.commits:
            return self.answer(404, {"error": "Invalid rev id"}, {"X-Error-Code": "RevisionNotFound"})
        if action == "preupload":
            modes = [
                {"path": one["path"], "uploadMode": "lfs" if one["path"].endswith(LARGE) else "regular"}
                | {"shouldIgnore": False, "oid": None}
                for one in json.loads(body)["files"]
            ]
            return self.answer(200, {"files": modes})
        if action == "commit":
            return self.commit(name, found, revision, [json.loads(line) for line in body.splitlines()])
        commit = found.commit(revision)
        content = found.commits[commit]
        if action == "resolve":
            file = "/".join(rest[2:])
            if file not in content:
                return self.answer(404, {"error": "no such file"}, {"X-Error-Code": "EntryNotFound"})
            if self.command == "GET":
                self.store.sent.append(file)
            return self.answer(200, content[file], {"X-Repo-Commit": commit, "ETag": f'"{etag(content[file])}"'})
        if action == "tree":
            rows = [{"type": "file", "path": f, "size": len(b), "oid": etag(b)} for f, b in content.items()]
            return self.answer(200, rows)
        siblings = [{"rfilename": file, "size": len(b)} for file, b in content.items()]
        told = {"id": name, "sha": commit, "siblings": siblings, "private": found.private}
        return self.answer(200, told | {"downloads": 0, "likes": 0, "tags": []})

    def batch(self, told: dict[str, Any]) -> None:
        objects = [
            {**one, "actions": {"upload": {"href": f"{self.store.endpoint}/lfs/{one['oid']}"}}}
            for one in told["objects"]
        ]
        self.answer(200, {"transfer": "basic", "objects": objects})

    def commit(self, name: str, found: Repository, branch: str, entries: list[dict[str, Any]]) -> None:
        files = dict(found.branches[branch])
        for entry in entries:
            value = entry["value"]
            if entry["key"] == "header":
                self.store.messages.append(value["summary"])
            elif entry["key"] == "file":
                files[value["path"]] = base64.b64decode(value["content"])
            elif entry["key"] == "lfsFile":
                files[value["path"]] = self.store.large[value["oid"]]
            elif entry["key"] == "deletedFile":
                del files[value["path"]]
        found.branches[branch] = files
        oid = found.commit(branch)
        self.answer(200, {"commitUrl": f"{self.store.endpoint}/{name}/commit/{oid}", "commitOid": oid})

    def answer(self, status: int, body: Any, headers: dict[str, str] | None = None) -> None:
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.send_response(status)
        for key, value in {"Content-Length": str(len(content)), **(headers or {})}.items():
            self.send_header(key, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def log_message(self, *args: Any) -> None:
        pass


@contextmanager
def hub_store() -> Iterator[Store]:
    """Run the server, empty, while the context lasts."""
    store = Store()
    handler = type("Handler", (_Handler,), {"store": store})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    store.endpoint = f"http://127.0.0.1:{server.server_port}"
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield store
    finally:
        server.shutdown()
        server.server_close()
