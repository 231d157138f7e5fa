"""The Hub route against a small server that answers as the Hub does: found, converted, gated, absent, silent, gone."""

from __future__ import annotations

import hashlib
import json
import os
import socket
import subprocess
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from tests.helpers.tiny_backbones import tiny_clip
from tests.helpers.tiny_vlms import tiny_llava
from tests.helpers.waiting import HANG

SCRIPT = """
import json, logging, sys
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
COMMITS = {"main": "a" * 40, "refs/pr/3": "b" * 40}


def hub(folder, generative):
    """A server for tiny/plain, tiny/converted (safetensors in pull request 3), tiny/pickled, tiny/gated, tiny/vlm."""
    files = {path.name: path.read_bytes() for path in folder.iterdir()}
    pickled = {"config.json": files["config.json"], "pytorch_model.bin": b"never read"}
    repos = {
        ("tiny/vlm", "a" * 40): {path.name: path.read_bytes() for path in generative.iterdir()},
        ("tiny/plain", "a" * 40): files,
        ("tiny/converted", "a" * 40): pickled,
        ("tiny/converted", "b" * 40): files,
        ("tiny/pickled", "a" * 40): pickled,
    }

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            path = self.path.split("?")[0].replace("%2F", "/")
            parts = path.strip("/").split("/")
            api = parts[0] == "api"
            name = "/".join(parts[2:4] if api else parts[:2])
            if name == "tiny/gated":
                return self.answer(403, {"error": "gated"}, {"X-Error-Code": "GatedRepo"})
            if (name, "a" * 40) not in repos:
                return self.answer(404, {"error": "no such model"}, {"X-Error-Code": "RepoNotFound"})
            if api and parts[4:5] == ["discussions"]:
                found = {"num": 3, "title": "Adding `safetensors` variant of this model", "status": "open"}
                found |= {
                    "author": {"name": "SFconvertbot"},
                    "isPullRequest": True,
                    "repo": {"name": name, "type": "model"},
                }
                found["createdAt"] = "2024-01-01T00:00:00.000Z"
                found = [found] if name == "tiny/converted" else []
                return self.answer(200, {"discussions": found, "count": len(found), "start": 0})
            revision = path.split("/revision/" if api else "/resolve/")[-1] if "/re" in path else "main"
            if api and parts[4:5] == ["tree"]:
                revision = path.split("/tree/")[-1]
            commit = next((c for r, c in COMMITS.items() if revision.startswith((r, c))), COMMITS["main"])
            content = repos[name, commit]
            if api and parts[4:5] == ["tree"]:
                return self.answer(
                    200,
                    [{"type": "file", "path": f, "size": len(b), "oid": etag(b)} for f, b in content.items()],
                )
            if api:
                info = {
                    "id": name,
                    "sha": commit,
                    "siblings": [{"rfilename": f, "size": len(b)} for f, b in content.items()],
                }
                return self.answer(200, info | {"private": False, "downloads": 0, "likes": 0, "tags": []})
            body = content[parts[-1]]
            return self.answer(200, body, {"X-Repo-Commit": commit, "ETag": f'"{etag(body)}"'})

        do_HEAD = do_GET

        def answer(self, status, body, headers=None):
            body = body if isinstance(body, bytes) else json.dumps(body).encode()
            self.send_response(status)
            for key, value in {"Content-Length": str(len(body)), **(headers or {})}.items():
                self.send_header(key, value)
            self.end_headers()
            if self.command == "GET":
                self.wfile.write(body)

        def log_message(self, *args):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server


def etag(body):
    return hashlib.sha1(body).hexdigest()


def load(endpoint, cache, *names):
    environment = {k: v for k, v in os.environ.items() if not k.lower().endswith("_proxy") and k != "HF_HUB_OFFLINE"}
    environment |= {"HF_ENDPOINT": endpoint, "HF_HOME": str(cache), "HF_HUB_DISABLE_XET": "1", "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, *names],
        env=environment,
        capture_output=True,
        text=True,
        timeout=HANG,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return dict(json.loads(line) for line in done.stdout.splitlines())


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tiny_clip(tmp_path_factory.mktemp("hub") / "model")


@pytest.mark.slow
def test_hub(folder, tmp_path):
    from acclimate.backbones import load_backbone, load_domain_encoder, load_vlm

    generative = tiny_llava(tmp_path / "vlm")
    server = hub(folder, generative)
    endpoint = f"http://127.0.0.1:{server.server_port}"
    names = ["tiny/plain", "tiny/converted", "tiny/pickled", "tiny/gated", "tiny/absent"]
    names += ["domain:tiny/plain", "domain:tiny/absent", "vlm:tiny/vlm"]
    found = load(endpoint, tmp_path, *names)
    server.shutdown()
    server.server_close()
    assert found["tiny/plain"] == found["tiny/converted"] == load_backbone(folder).fingerprint
    assert found["domain:tiny/plain"] == load_domain_encoder(folder).fingerprint
    assert found["vlm:tiny/vlm"] == load_vlm(generative).fingerprint
    assert found["domain:tiny/absent"] == found["tiny/absent"]
    assert "offers no model.safetensors" in found["tiny/pickled"]
    assert "accept its terms" in found["tiny/gated"]
    assert "no folder and no public Hub model 'tiny/absent'" in found["tiny/absent"]
    later = load(endpoint, tmp_path, "tiny/plain", "tiny/converted", "tiny/other")
    assert later["tiny/plain"] == later["tiny/converted"] == found["tiny/plain"]
    assert "cannot be reached" in later["tiny/other"]
    assert "'mini-clip'" in later["tiny/other"]


@pytest.mark.slow
def test_a_hub_that_never_answers(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as silent:
        start = time.monotonic()
        found = load(f"http://127.0.0.1:{silent.getsockname()[1]}", tmp_path, "tiny/plain")
    assert "cannot be reached" in found["tiny/plain"]
    assert time.monotonic() - start < 300  # seconds of waiting; the rest is importing on a busy machine
