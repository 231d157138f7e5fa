from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from acclimate.backbones import list_backbones
from acclimate.backbones.catalogue import known_file, list_groups, specialist
from acclimate.backbones.families import FAMILIES
from acclimate.backbones.generative.families import VLM_FAMILIES
from acclimate.backbones.kinds import DUAL, GENERATIVE
from acclimate.prompts import list_domains


def test_entries_are_complete_and_unique():
    entries = list_backbones()
    assert len({info.id for info in entries}) == len(entries) > 20
    assert entries[0].id == "mini-clip"
    assert entries[0].embedded
    groups = {group.id for group in list_groups()}
    for info in entries:
        assert (info.family in {DUAL: FAMILIES, GENERATIVE: VLM_FAMILIES}[info.kind]) == info.served
        assert info.embedded or info.id.count("/") == 1 or info.file
        assert bool(info.file) == bool(info.activation)
        assert info.group in groups
        assert info.input_size > 0
        assert info.embed_dim > 0
        assert info.licence
        assert info.domain


def test_specialists_can_be_loaded_and_know_the_domain():
    known = {domain.id for domain in list_domains()}
    for group in list_groups():
        assert known >= {*group.domains}
        if group.domains:
            assert specialist(group.domains[0]).group == group.id
            assert specialist(group.domains[0]).served
    assert specialist("natural") is None


def test_checkpoints_are_known_by_the_end_of_their_path():
    assert known_file(Path("/a/RemoteCLIP-ViT-L-14.pt")).title == "RemoteCLIP ViT-L/14"
    assert known_file(Path("SkyCLIP_ViT_B32_top50pct/epoch_20.pt")).activation == "gelu"
    assert known_file(Path("epoch_20.pt")) is None
    assert known_file(Path("other.pt")) is None


def test_listing_needs_no_torch():
    code = (
        "import sys; from acclimate.backbones import list_backbones; list_backbones(); "
        "sys.exit(bool({'torch', 'transformers'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
