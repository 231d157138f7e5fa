"""Prompt labels that are given as files, and files that only look like them."""

from __future__ import annotations

import os
import zipfile
from collections import OrderedDict
from types import SimpleNamespace

import pytest
import torch
from safetensors.torch import save_file

import acclimate
from acclimate.errors import ConfigError, DataError
from acclimate.files import file_digest
from acclimate.methods import Prerequisite
from acclimate.methods.spg.label_files import given_label, read_label
from acclimate.runs.prerequisites import given_files
from tests.helpers.pictures import with_domains
from tests.helpers.runs import quick

SETTINGS = {"epochs": 1, "warmup_epochs": 0, "context_init": None, "context_tokens": 4}


def as_released(path, label, dtype=torch.float16):
    """Write a label as the authors' code does: a view into the prompts of seven classes."""
    prompts = torch.randn(7, 77, label.shape[1]).to(dtype)
    prompts[0, 1:5] = label.to(dtype)
    torch.save(prompts[0][1:5], path)
    return path


def read(path, width):
    """The label in a file, for a text tower of a width."""
    return read_label(path.read_bytes(), SimpleNamespace(text_width=width))["context"]


def find(folder, domain):
    """The hash of the file that stands in for the run of a domain."""
    return given_files({domain: Prerequisite("coop", {}, domain, given=given_label(str(folder), domain))})[domain]


@pytest.mark.parametrize("dtype", [torch.float16, torch.float32])
@pytest.mark.parametrize("width", [24, 512])
def test_a_released_file(tmp_path, dtype, width):
    label = 0.03 * torch.randn(4, width)
    path = as_released(tmp_path / "PACS_CoOp_p.pt", label, dtype)
    assert path.stat().st_size > 100 * 4 * width * 2 * 0.9  # what the view drags along
    found = read(path, width)
    assert found.dtype == torch.float32
    assert torch.equal(found, label.to(dtype).float())
    assert found.untyped_storage().nbytes() == 4 * 4 * width  # which stays in the file


def tagged(path):
    """The file as a GPU writes it: its storage belongs to cuda:0."""
    return rewritten(path, lambda data: data.replace(b"X\x03\x00\x00\x00cpu", b"X\x06\x00\x00\x00cuda:0"), "data.pkl")


def pickled(path):
    """The pickle in a file of `torch.save`."""
    with zipfile.ZipFile(path) as archive:
        return next(archive.read(name) for name in archive.namelist() if name.endswith("data.pkl"))


def with_state(label):
    """A tensor that torch saves by `_rebuild_from_type_v2`, since it carries an attribute."""
    label.origin = "art_painting"
    return label


FORMS = {
    "tensor with state": with_state,
    "parameter": torch.nn.Parameter,
    "parameter with state": lambda label: with_state(torch.nn.Parameter(label)),
    "prompt learner": lambda label: OrderedDict(ctx=label, token_prefix=label[:1], token_suffix=label[1:]),
    "checkpoint": lambda label: {"state_dict": OrderedDict(ctx=label), "epoch": 50, "val_result": None},
}


@pytest.mark.parametrize("form", FORMS)
def test_what_holds_the_label_of_a_released_file(tmp_path, form):
    """The authors' eight files of PACS have `_rebuild_from_type_v2` around a view that lies on a GPU."""
    prompts, path = torch.randn(7, 77, 24).half(), tmp_path / "PACS_CoOp_a.pt"
    torch.save(FORMS[form](prompts[0][1:5]), path)
    assert (b"_rebuild_from_type_v2" in pickled(path)) == (form == "tensor with state")
    tagged(path)
    assert b"cuda:0" in pickled(path)
    found = read(path, 24)
    assert torch.equal(found, prompts[0, 1:5].float())
    assert type(found) is torch.Tensor
    assert not found.requires_grad


def test_strides_are_followed(tmp_path):
    label = torch.randn(6, 4)
    torch.save(label.T, tmp_path / "x.pt")
    assert torch.equal(read(tmp_path / "x.pt", 6), label.T)


class Evil:
    def __init__(self, marker):
        self.marker = marker

    def __reduce__(self):
        return os.system, (f"touch {self.marker}",)


def test_a_pickle_is_never_followed(tmp_path, pictures, tiny):
    marker = tmp_path / "was-here"
    for domain in ("day", "night"):
        torch.save(Evil(marker), tmp_path / f"{domain}.pt")
    settings = {**SETTINGS, "label_files": str(tmp_path)}
    with pytest.raises(DataError, match=r"day\.pt: not a prompt label; give one file for each domain"):
        quick(with_domains(pictures, ("day", "night")), tiny, method="spg", settings=settings)
    assert not marker.exists()
    torch.load(tmp_path / "day.pt", weights_only=False)
    assert marker.exists()  # what it would have done


def rewritten(path, change, part="data/0"):
    """The file with one part of its archive changed: the numbers of its tensor, if no other is named."""
    with zipfile.ZipFile(path) as archive:
        content = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in content.items():
            archive.writestr(name, change(data) if name.endswith(part) else data)
    return path


def test_other_files(tmp_path):
    paths, learner = [], {"ctx": torch.zeros(3, 4, 8)}  # of a context per class
    for number, content in enumerate(
        (
            {"a": torch.zeros(2, 2)},
            {"ctx": [1, 2]},
            {"state_dict": 3},
            learner,
            torch.zeros(3),
            torch.zeros(2, 2, 2),
            [1, 2],
            torch.zeros(2).long(),
        )
    ):
        torch.save(content, tmp_path / f"{number}.pt")
        paths.append(tmp_path / f"{number}.pt")
    (tmp_path / "text.pt").write_text("no archive")
    rewritten(as_released(tmp_path / "short.pt", torch.zeros(4, 8)), lambda data: data[:40])
    torch.save(torch.full((4, 8), float("nan")), tmp_path / "nan.pt")
    save_file({"other": torch.zeros(4, 8)}, tmp_path / "other.safetensors")
    for path in (*paths, *(tmp_path / name for name in ("text.pt", "short.pt", "nan.pt", "other.safetensors"))):
        with pytest.raises(DataError, match="not a prompt label; give one file for each domain"):
            read(path, 8)


def test_a_label_of_another_backbone(tmp_path):
    with pytest.raises(DataError, match=r"width 16, but the text tower has 24; name the backbone"):
        read(as_released(tmp_path / "x_CoOp_a.pt", torch.zeros(4, 16)), 24)


def test_the_file_of_a_domain(tmp_path):
    released = as_released(tmp_path / "PACS_CoOp_a.pt", torch.zeros(4, 8))
    assert find(tmp_path, "art_painting") == file_digest(released)
    with pytest.raises(DataError, match="no prompt label of the domain 'sketch'; give one file for each domain"):
        find(tmp_path, "sketch")
    as_released(tmp_path / "VLCS_CoOp_a.pt", torch.zeros(4, 8))
    told = r"2 files \(PACS_CoOp_a.pt, VLCS_CoOp_a.pt\) with the prompt label of the domain 'art_painting'; give"
    with pytest.raises(DataError, match=told):
        find(tmp_path, "art_painting")
    own = tmp_path / "art_painting.safetensors"
    save_file({"context": torch.zeros(4, 8)}, own)
    assert find(tmp_path, "art_painting") == file_digest(own)


def test_given_labels_take_the_place_of_stage_one(tmp_path, pictures, tiny):
    scenes, labels = with_domains(pictures, ("day", "night")), torch.randn(2, 4, tiny.text_width)
    torch.save(with_state(labels[0].clone()), tmp_path / "X_CoOp_d.pt")
    tagged(tmp_path / "X_CoOp_d.pt")
    save_file({"context": labels[1]}, tmp_path / "night.safetensors")
    settings = {**SETTINGS, "label_files": str(tmp_path)}
    model = quick(scenes, tiny, method="spg", settings=settings, out=tmp_path / "run")
    assert torch.equal(model.method.labels.values, labels)
    assert not (tmp_path / "run" / "prerequisites").exists()
    assert model.record["prerequisites"]["night"]["file"] == str(tmp_path / "night.safetensors")
    assert len(model.record["prerequisites"]["night"]["sha256"]) == 64
    loaded = acclimate.load(tmp_path / "run", tiny)
    assert loaded.evaluate(scenes.test) == model.record["metrics"]
    save_file({"context": labels[0]}, tmp_path / "night.safetensors")
    with pytest.raises(acclimate.errors.RunError, match="holds a finished run of other data or settings"):
        quick(scenes, tiny, method="spg", settings=settings, out=tmp_path / "run")


def test_labels_of_another_length(tmp_path, pictures, tiny):
    scenes = with_domains(pictures, ("day", "night"))
    for domain in ("day", "night"):
        save_file({"context": torch.zeros(6, tiny.text_width)}, tmp_path / f"{domain}.safetensors")
    with pytest.raises(
        ConfigError, match="'day' has 6 tokens, and spg generates 4; set context_init=none and context_tok"
    ):
        quick(scenes, tiny, method="spg", settings={**SETTINGS, "label_files": str(tmp_path)})
