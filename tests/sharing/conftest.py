from __future__ import annotations

import shutil
from types import SimpleNamespace

import pytest

import acclimate
from tests.helpers.hub_store import WRITER, hub_store
from tests.helpers.tiny_backbones import tiny_clip


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """A Hub of our own, with a token that may write; huggingface_hub reads its environment when it is imported."""
    from huggingface_hub import constants

    with hub_store() as store:
        monkeypatch.setattr(constants, "ENDPOINT", store.endpoint)
        template = store.endpoint + "/{repo_id}/resolve/{revision}/{filename}"
        monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
        monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub-cache"))
        monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
        monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(tmp_path / "no-token"))
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
        for name in ("http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
            monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv("HUGGING_FACE_HUB_TOKEN", raising=False)
        monkeypatch.setenv("HF_TOKEN", WRITER)
        yield store


@pytest.fixture(scope="session")
def shared(tmp_path_factory, pictures, domain_folder):
    """A run on two encoders that are folders of this machine: the folder that all lie in, the run, and the model."""
    home = tmp_path_factory.mktemp("private-home")
    clip = tiny_clip(home / "models" / "my-clip")
    domain = shutil.copytree(domain_folder, home / "models" / "my-domain")
    run = home / "runs" / "mine"
    how = {"domain_encoder": domain, "shots": 3, "domain": "natural", "device": "cpu", "out": run}
    return SimpleNamespace(home=home, run=run, model=acclimate.adapt(pictures, "domain-linear-probe", clip, **how))
