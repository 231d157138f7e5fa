"""Images of every kind from the command line: learned from, looked at and predicted."""

from __future__ import annotations

import json

import numpy as np
import pillow_heif
import pytest
import tifffile
from PIL import Image

from tests.helpers.command import QUICK, acclimate
from tests.helpers.dicom import dicom
from tests.helpers.pictures import picture, wide_png

KINDS = ("16-bit.png", "16-bit.tif", "bands.tif", "radar.tif", "white.tif", "photo.heic", "scan.dcm")


def write(path, kind, number, index):
    """Write a small image of a kind."""
    path.parent.mkdir(parents=True, exist_ok=True)
    colours = np.asarray(picture(number, index)).astype(np.uint16) * 16
    grey, form = colours[..., 0], {"photometric": "minisblack", "planarconfig": "contig"}
    if kind == "16-bit.png":
        path.write_bytes(wide_png(colours))
    elif kind == "16-bit.tif":
        tifffile.imwrite(path, colours, photometric="rgb")
    elif kind == "bands.tif":
        tifffile.imwrite(path, np.concatenate([colours, colours, colours], 2), **form)
    elif kind == "radar.tif":
        decibels = np.where(np.arange(36) < 6, -9999, grey / 200 - 20).astype(np.float32)
        tifffile.imwrite(path, np.stack([decibels] * 2, 2), **form, extratags=[(42113, "s", 0, "-9999", True)])
    elif kind == "white.tif":
        tifffile.imwrite(path, grey, photometric="miniswhite")
    elif kind == "photo.heic":
        pillow_heif.from_pillow(Image.fromarray((colours // 16).astype(np.uint8))).save(path)
    else:
        path.write_bytes(dicom(grey, WindowCenter="2048", WindowWidth="4096"))


@pytest.mark.slow
def test_every_kind_is_learned_from_and_predicted(tiny_folders, tmp_path):
    data, new = tmp_path / "data", tmp_path / "new"
    for number, label in enumerate(("cat", "dog")):
        for index in range(2):
            for kind in KINDS:
                write(data / label / f"{index}-{kind}", kind, number, index)
    for kind in KINDS:
        write(new / kind, kind, 0, 9)
    checked = json.loads(acclimate("data", "check", data, "--json").out)
    found = {finding["kind"]: finding["count"] for finding in checked["findings"]}
    assert (found["stretched"], found["no_data"], found["read_in_part"]) == (20, 4, 4)
    assert "corrupt" not in found
    words = ("--backbone", tiny_folders["clip"], "--method", "zero-shot", *QUICK, "--out", tmp_path / "run")
    done = acclimate("adapt", data, *words)
    assert done.code == 0, done.err
    assert done.err.count("it has 9 bands, of which 1, 2 and 3 are shown") == 1
    done = acclimate("predict", tmp_path / "run", new, "--json")
    assert done.code == 0, done.err
    assert sorted(json.loads(line)["path"] for line in done.out.splitlines()) == sorted(
        str(new / kind) for kind in KINDS
    )
