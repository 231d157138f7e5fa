from __future__ import annotations

import pytest
import torch

from acclimate.errors import ConfigError
from acclimate.training.devices import make_accelerator, resolve_device
from acclimate.training.journal import Journal
from acclimate.training.seeding import derive_seed, generator, seed_step

CPU = torch.device("cpu")


def test_devices():
    assert resolve_device("cpu") == CPU
    assert resolve_device("auto").type in {"cpu", "cuda", "mps"}
    with pytest.raises(ConfigError, match="`device='tpu'`: choose auto, cpu, cuda, mps"):
        resolve_device("tpu")


@pytest.mark.parametrize("name", ["cuda", "mps"])
def test_a_device_that_is_not_there(name):
    if getattr(torch, name).is_available() if name == "cuda" else torch.backends.mps.is_available():
        pytest.skip("this machine has one")
    with pytest.raises(ConfigError, match=f"`device='{name}'`: this machine .* use `device='auto'`"):
        resolve_device(name)


def test_precision():
    assert make_accelerator(CPU).mixed_precision == "no"
    assert make_accelerator(CPU, "bf16").mixed_precision == "bf16"
    assert make_accelerator(CPU, "fp32").mixed_precision == "no"
    with pytest.raises(ConfigError, match="`precision='fp16'` needs a GPU"):
        make_accelerator(CPU, "fp16")
    with pytest.raises(ConfigError, match="`precision='int8'`: choose"):
        make_accelerator(CPU, "int8")


def test_seeds_do_not_depend_on_what_was_drawn_before():
    assert derive_seed(1, "order", 3) == 7784300833223535792  # the same on every machine
    assert derive_seed(1, "order", 3) != derive_seed(1, "order", 4)
    assert derive_seed(1, 23) != derive_seed(12, 3)
    assert generator(1, "a").integers(1000) == generator(1, "a").integers(1000)
    seed_step(1, "a")
    first = torch.randn(3)
    torch.randn(7)
    seed_step(1, "a")
    assert torch.equal(torch.randn(3), first)


def test_journal_is_appended_and_cut(tmp_path):
    path = tmp_path / "log.jsonl"
    journal = Journal(path)
    journal.write(stage="a", epoch=0, loss=1.5)
    size = journal.size
    journal.write(stage="a", epoch=1, name="ä\u2028ö")
    assert len(Journal(path, journal.size).lines) == 2
    with path.open("ab") as file:
        file.write(b'{"st')
    again = Journal(path, size)
    assert again.lines == [{"stage": "a", "epoch": 0, "loss": 1.5}]
    assert path.stat().st_size == size
    assert Journal(path).lines == []
    assert path.stat().st_size == 0


def test_journal_in_memory():
    journal = Journal()
    journal.write(epoch=0)
    assert journal.lines == [{"epoch": 0}]
    assert journal.size == 0
