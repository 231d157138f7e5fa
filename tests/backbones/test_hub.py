"""The Hub route against a small server that answers as the Hub does: found, converted, gated, absent, silent, gone."""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
import sys
import time

import pytest
import torch
from safetensors.torch import load_file, save

from acclimate.backbones import list_backbones, load_backbone, load_domain_encoder, load_vlm
from acclimate.backbones.fingerprint import fingerprint, stored_weights
from tests.helpers.hub_server import files_of, hub_environment, hub_server, load_from_hub
from tests.helpers.open_clip_layout import WIDE, open_clip_config, open_clip_names, tiny_model, write_layout
from tests.helpers.pictures import make_pictures
from tests.helpers.timm_bert_layout import joined, write_timm_bert
from tests.helpers.tiny_backbones import tiny_clip
from tests.helpers.tiny_vlms import tiny_llava
from tests.helpers.waiting import HANG


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tiny_clip(tmp_path_factory.mktemp("hub") / "model")


@pytest.mark.slow
def test_hub(folder, tmp_path):
    generative = tiny_llava(tmp_path / "vlm")
    files = files_of(folder)
    pickled = {"config.json": files["config.json"], "pytorch_model.bin": b"never read"}
    repos = {"tiny/plain": files, "tiny/converted": pickled, "tiny/pickled": pickled, "tiny/vlm": files_of(generative)}
    names = ["tiny/plain", "tiny/converted", "tiny/pickled", "tiny/gated", "tiny/absent"]
    names += ["domain:tiny/plain", "domain:tiny/absent", "vlm:tiny/vlm"]
    with hub_server(repos, {"tiny/converted": files}, {"tiny/gated"}) as server:
        found = load_from_hub(server.endpoint, tmp_path, *names)
    assert found["tiny/plain"] == found["tiny/converted"] == load_backbone(folder).fingerprint
    assert found["domain:tiny/plain"] == load_domain_encoder(folder).fingerprint
    assert found["vlm:tiny/vlm"] == load_vlm(generative).fingerprint
    assert found["domain:tiny/absent"] == found["tiny/absent"]
    assert "offers no model.safetensors" in found["tiny/pickled"]
    assert "give it to `acclimate backbones convert`" in found["tiny/pickled"]
    assert "accept its terms" in found["tiny/gated"]
    assert "no folder and no public Hub model 'tiny/absent'" in found["tiny/absent"]
    later = load_from_hub(server.endpoint, tmp_path, "tiny/plain", "tiny/converted", "tiny/other")
    assert later["tiny/plain"] == later["tiny/converted"] == found["tiny/plain"]
    assert "cannot be reached" in later["tiny/other"]
    assert "'mini-clip'" in later["tiny/other"]


def torch_bytes(content, path):
    torch.save(content, path)
    return path.read_bytes()


def layouts(tmp_path):
    """Repositories of the catalogue, with random weights in their very files, and what those weights are."""
    plain = tiny_model(tmp_path / "plain")
    text = {**WIDE, "vocab_size": 49408, "bos_token_id": 49406, "eos_token_id": 49407, "pad_token_id": 49407}
    wide = tiny_model(tmp_path / "wide", text=text, vision={**WIDE, "image_size": 224})
    whole, names = files_of(tmp_path / "plain"), open_clip_names(wide)
    hub = files_of(write_layout(tmp_path / "oc", plain))
    first = json.dumps(open_clip_config(plain)["model_cfg"] | {"preprocess_cfg": {"hf_hub": "x"}}).encode()
    pickled = torch_bytes(open_clip_names(plain), tmp_path / "x.bin")
    bare = torch_bytes(names, tmp_path / "x.pt")
    weights = load_file(tmp_path / "plain/model.safetensors")
    noise = {"README.md": b"never read", ".gitattributes": b"", "data/large.zip": b"never read"}
    repos = {
        # RemoteCLIP: three bare state dicts, one of them a ResNet
        "chendelong/RemoteCLIP": {
            "RemoteCLIP-ViT-B-32.pt": bare,
            "RemoteCLIP-ViT-L-14.pt": b"never read",
            "RemoteCLIP-RN50.pt": torch_bytes({"visual.layer1.0.conv1.weight": torch.zeros(2)}, tmp_path / "rn.pt"),
        },
        # GeoRSCLIP: state dicts in a folder, beside code and data
        "Zilun/GeoRSCLIP": {
            "ckpt/RS5M_ViT-B-32.pt": bare,
            "ckpt/RS5M_ViT-H-14.pt": b"never read",
            "codebase/inference/inference.py": b"never read",
        },
        # BioCLIP: both kinds of weights, a configuration that says nothing of the pixels
        "imageomics/bioclip": {**hub, "open_clip_config.json": first, "open_clip_pytorch_model.bin": b"never read"},
        "imageomics/bioclip-2": hub,
        # QuiltNet: pickled weights alone, with a configuration; a bot's pull request is none of ours
        "wisdomik/QuiltNet-B-32": {
            **{name: body for name, body in hub.items() if not name.endswith(".safetensors")},
            "open_clip_pytorch_model.bin": pickled,
        },
        # Git-RSCLIP, MedSigLIP, PathGen-CLIP: in the format of transformers, in half precision
        "lcybuaa/Git-RSCLIP": {
            **whole,
            "model.safetensors": save(
                {k: v.half() for k, v in load_file(tmp_path / "plain/model.safetensors").items()}
            ),
        },
        # PLIP: pickled in the format of transformers, with the Hub's own copy beside
        "vinid/plip": {
            **{name: body for name, body in whole.items() if name != "model.safetensors"},
            "pytorch_model.bin": torch_bytes(weights, tmp_path / "plip.bin"),
        },
        # BiomedCLIP: pickled weights, and the tokenizer of a BERT in both of its forms
        "microsoft/BiomedCLIP-PubMedBERT_256-vit_base_patch16_224": {
            **files_of(write_timm_bert(tmp_path / "biomed", joined(side=224), text_cfg__context_length=20)),
            "biomed_clip_example.ipynb": b"never read",
        },
        "someone/eva": {
            **hub,
            "open_clip_config.json": json.dumps(open_clip_config(plain, vision_cfg__timm_model_name="eva")).encode(),
            "open_clip_model.safetensors": b"never read",
        },
    }
    return {name: {**noise, **files} for name, files in repos.items()}, whole, tmp_path / "plain", tmp_path / "wide"


@pytest.mark.slow
def test_layouts_of_the_catalogue(tmp_path):
    """Each loads as what it was made from, and of each repository only what is needed is downloaded."""
    repos, whole, plain, wide = layouts(tmp_path)
    bare = ["chendelong/RemoteCLIP/RemoteCLIP-ViT-B-32.pt", "Zilun/GeoRSCLIP/ckpt/RS5M_ViT-B-32.pt"]
    biomed = "microsoft/BiomedCLIP-PubMedBERT_256-vit_base_patch16_224"
    own = ["imageomics/bioclip", "imageomics/bioclip-2", "wisdomik/QuiltNet-B-32", "vinid/plip"]
    refused = ["chendelong/RemoteCLIP", "chendelong/RemoteCLIP/RemoteCLIP-RN50.pt", "chendelong/RemoteCLIP/x.pt"]
    refused += ["google/medsiglip-448", "someone/eva", "SkyCLIP-ViT-B-32"]
    refused += [info.id for info in list_backbones() if not info.served]
    names = [*bare, *own, biomed, "lcybuaa/Git-RSCLIP", "domain:imageomics/bioclip-2", *refused]
    with hub_server(repos, {"vinid/plip": whole}, {"google/medsiglip-448"}) as server:
        found = load_from_hub(server.endpoint, tmp_path / "home", *names)
    assert {found[name] for name in bare} == {fingerprint(stored_weights([wide / "model.safetensors"]))}
    assert {found[name] for name in own} == {load_backbone(plain).fingerprint}
    assert len(found["lcybuaa/Git-RSCLIP"]) == 32
    assert found[biomed] == load_backbone(tmp_path / "biomed").fingerprint
    assert found["domain:imageomics/bioclip-2"] == load_domain_encoder(plain).fingerprint
    assert "holds several checkpoints; give one of them: chendelong/RemoteCLIP/RemoteCLIP-RN50.pt" in found[refused[0]]
    assert "a CLIP whose image tower is a ResNet" in found[refused[1]]
    assert "chendelong/RemoteCLIP has no file 'x.pt'; it has RemoteCLIP-RN50.pt" in found[refused[2]]
    assert "accept its terms" in found["google/medsiglip-448"]
    assert "vision_cfg.timm_model_name='eva' is not followed" in found["someone/eva"]
    assert "download https://" in found["SkyCLIP-ViT-B-32"]
    for info in list_backbones():
        assert info.served or "lists what else there is for" in found[info.id]
    asked = [path.split("/", 2) for path in server.asked]
    assert [path for owner, name, path in asked if repos[f"{owner}/{name}"].get(path) == b"never read"] == []
    later = load_from_hub(server.endpoint, tmp_path / "home", *bare, "wisdomik/QuiltNet-B-32", "imageomics/none")
    assert [later[name] for name in bare] == [found[name] for name in bare]
    assert later["wisdomik/QuiltNet-B-32"] == found["wisdomik/QuiltNet-B-32"]
    assert "cannot be reached" in later["imageomics/none"]


@pytest.mark.slow
def test_a_hub_model_through_the_command_line(tmp_path):
    """`adapt` and `predict` on a file of a Hub repository, and pickled weights of transformers made safetensors."""
    repos, _, plain, _ = layouts(tmp_path)
    data = make_pictures(tmp_path / "data", ("cat", "dog"), 12)
    with hub_server(repos, {}, set()) as server:
        environment = hub_environment(server.endpoint, tmp_path / "home")

        def run(*words):
            return subprocess.run(
                [sys.executable, "-m", "acclimate", *map(str, words)],
                env=environment, capture_output=True, text=True, timeout=HANG, check=False,
            )  # fmt: skip

        name = "Zilun/GeoRSCLIP/ckpt/RS5M_ViT-B-32.pt"
        done = run(
            "adapt", data, "--backbone", name, "--method", "linear-probe", "--shots", 2, "--out", tmp_path / "run"
        )
        assert done.returncode == 0, done.stderr
        assert "quick_gelu (catalogue: GeoRSCLIP ViT-B/32)" in done.stderr
        done = run("backbones", "convert", "vinid/plip", "--out", tmp_path / "plip")
        assert done.returncode == 0, done.stderr
        assert load_backbone(tmp_path / "plip").fingerprint == load_backbone(plain).fingerprint
    shutil.rmtree(tmp_path / "home" / "acclimate")  # what was written is written again, without the Hub
    done = run("predict", tmp_path / "run", data / "cat", "--out", tmp_path / "labels.csv")
    assert done.returncode == 0, done.stderr
    assert len((tmp_path / "labels.csv").read_text().splitlines()) == 13


@pytest.mark.slow
def test_a_hub_that_never_answers(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as silent:
        start = time.monotonic()
        found = load_from_hub(f"http://127.0.0.1:{silent.getsockname()[1]}", tmp_path, "tiny/plain")
    assert "cannot be reached" in found["tiny/plain"]
    assert time.monotonic() - start < 300  # seconds of waiting; the rest is importing on a busy machine
