"""The public face: what can be rendered, and that an image is a pure function of its arguments."""

from __future__ import annotations

import hashlib
import subprocess
import sys

import numpy as np
import pytest

from acclimate.errors import ConfigError
from acclimate.synthetic import contact_sheet, get_domain, list_domains, render
from acclimate.synthetic.fields import generator
from acclimate.synthetic.rendering import group_of

PAIRS = [(d, c, a) for d in list_domains() for c in get_domain(d).classes for a in get_domain(d).acquisitions]


def digest(domain: str, class_name: str, acquisition: str, index: int) -> str:
    return hashlib.sha256(render(domain, class_name, acquisition, index, size=64).tobytes()).hexdigest()


def test_five_domains_with_shared_classes():
    assert len(list_domains()) == 5
    for name in list_domains():
        domain = get_domain(name)
        assert len(set(domain.classes)) >= 6
        assert list(domain.classes) == sorted(domain.classes)
        assert len(set(domain.acquisitions)) >= 3


@pytest.mark.parametrize(("domain", "class_name", "acquisition"), PAIRS)
def test_every_class_under_every_acquisition(domain, class_name, acquisition):
    size = 32 if class_name < "m" else 48
    images = [render(domain, class_name, acquisition, index, size=size) for index in (0, 1)]
    for image in images:
        assert image.mode == "RGB"
        assert image.size == (size, size)
        assert np.asarray(image).std() > 2  # never an empty field
    assert images[0].tobytes() != images[1].tobytes()


@pytest.mark.parametrize("domain", list_domains())
def test_same_bytes_in_any_order(domain):
    described = get_domain(domain)
    first, last = (described.classes[0], described.acquisitions[0]), (described.classes[-1], described.acquisitions[-1])
    before = [digest(domain, *first, 3), digest(domain, *last, 3)]
    assert [digest(domain, *last, 3), digest(domain, *first, 3)] == before[::-1]
    assert render(domain, *first, 3, seed=1, size=64).tobytes() != render(domain, *first, 3, size=64).tobytes()


@pytest.mark.slow
def test_same_bytes_in_another_process():
    wanted = [(d, get_domain(d).classes[2], get_domain(d).acquisitions[1], 5) for d in list_domains()]
    code = (
        "import hashlib\nfrom acclimate.synthetic import render\n"
        f"for args in {wanted!r}:\n"
        "    print(hashlib.sha256(render(*args, size=64).tobytes()).hexdigest())\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == [digest(*args) for args in wanted]


def test_importing_the_room_is_light():
    code = "import sys, acclimate.synthetic; print(sorted({'torch', 'matplotlib', 'sklearn'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("ocean", "reef", "noon", 0), "satellite, sar"),
        (("sar", "reef", "l_band_pauli", 0), "airliner, bridge"),
        (("sar", "bridge", "noon", 0), "x_band_single_look"),
        (("sar", "bridge", "l_band_pauli", -1), "use 0, 1"),
        (("sar", "bridge", "l_band_pauli", 0, 0, 8), "32 to 1024"),
    ],
)
def test_unknown_names_and_numbers_are_explained(arguments, message):
    with pytest.raises(ConfigError, match=message):
        render(*arguments)


def test_solver_pictures_are_grouped_by_run():
    groups = {group_of("flow", "plane_jet", "schlieren", i, 0, 64) for i in range(80)}
    assert len(groups) == 12
    assert all(name.startswith("plane_jet/run") for name in groups)
    assert group_of("flow", "vortex_group", "schlieren", 7, 0, 64) == "vortex_group/schlieren/0007"
    assert group_of("sar", "bridge", "x_band_steep", 7, 0, 64) == "bridge/x_band_steep/0007"


def test_contact_sheet_has_all_rows_and_columns():
    domain = get_domain("sar")
    sheet = contact_sheet("sar", size=32, columns=1)
    assert sheet.height >= 32 * len(domain.classes)
    assert sheet.width >= 32 * len(domain.acquisitions)


def test_generator_depends_on_every_part():
    draws = {generator(*parts).integers(2**62) for parts in (("a", 1), ("a", 2), ("b", 1), ("a1",), ("a", "1", ""))}
    assert len(draws) == 5
    assert generator("a", 1).integers(2**62) == generator("a", "1").integers(2**62)
