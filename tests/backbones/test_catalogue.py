from __future__ import annotations

import subprocess
import sys

from acclimate.backbones import list_backbones
from acclimate.backbones.families import FAMILIES
from acclimate.backbones.generative.families import VLM_FAMILIES
from acclimate.backbones.kinds import DUAL, GENERATIVE


def test_entries_are_complete_and_unique():
    entries = list_backbones()
    assert len({info.id for info in entries}) == len(entries) > 20
    assert entries[0].id == "mini-clip"
    assert entries[0].embedded
    for info in entries:
        assert info.family in {DUAL: FAMILIES, GENERATIVE: VLM_FAMILIES}[info.kind]
        assert info.embedded or info.id.count("/") == 1
        assert info.input_size > 0
        assert info.embed_dim > 0
        assert info.licence
        assert info.domain


def test_listing_needs_no_torch():
    code = (
        "import sys; from acclimate.backbones import list_backbones; list_backbones(); "
        "sys.exit(bool({'torch', 'transformers'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
