"""What is at hand to encode images: embedded, in the Hub's cache, or named."""

from __future__ import annotations

import shutil

import pytest

from acclimate.backbones import DomainEncoder, DualEncoder, GenerativeVLM, at_hand
from acclimate.errors import BackboneError
from tests.helpers.tiny_vlms import tiny_llava


@pytest.fixture
def hub_cache(tmp_path, tiny_folders, domain_folder, monkeypatch):
    """A cache of the Hub with a dual encoder, a vision encoder, half a download and a model of another kind."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    for name, source in {"org--a--b": tiny_folders["siglip"], "org--mae": domain_folder, "org--half": None}.items():
        snapshot = tmp_path / f"models--{name}" / "snapshots" / "abc"
        shutil.copytree(source, snapshot) if source else snapshot.mkdir(parents=True)
    other = tmp_path / "models--org--words" / "snapshots" / "abc"
    other.mkdir(parents=True)
    (other / "config.json").write_text('{"model_type": "bert"}')
    (other / "model.safetensors").write_bytes(b"")
    return tmp_path


def test_the_cache_is_looked_through_without_the_network(hub_cache):
    found = {one.name: one for one in at_hand.encoders_at_hand()}
    assert {name: one.kind for name, one in found.items()} == {
        "mini-clip": "dual encoder",
        "mini-vlm": "generative VLM",
        "org/a--b": "dual encoder",
        "org/mae": "vision encoder",
    }
    assert at_hand.load_encoder(found["org/a--b"]).family == "siglip"
    assert isinstance(at_hand.load_encoder(found["org/mae"]), DomainEncoder)


def test_what_is_large_has_to_be_named(hub_cache, monkeypatch, caplog):
    monkeypatch.setattr(at_hand, "LARGEST", 1000)
    with caplog.at_level("INFO", "acclimate.backbones"):
        assert [one.name for one in at_hand.encoders_at_hand()] == ["mini-clip", "mini-vlm"]
    assert "org/mae is in the Hub's cache, and large: name it with `backbone`" in caplog.text


def test_every_kind_is_recognised_and_loaded(tiny_folders, domain_folder, tmp_path):
    vlm = tiny_llava(tmp_path / "llava")
    for folder, kind in ((tiny_folders["clip"], DualEncoder), (vlm, GenerativeVLM), (domain_folder, DomainEncoder)):
        encoder = at_hand.load_encoder(at_hand.find_encoder(str(folder)))
        assert isinstance(encoder, kind)
        assert encoder.describe()["parameters"] > 1000
    with pytest.raises(BackboneError, match="nowhere"):
        at_hand.find_encoder("nowhere")
