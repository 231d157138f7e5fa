"""A spec says what runs; what is wrong in it is one line that names the file and the entry."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from acclimate.bench import read_spec
from acclimate.bench.resources import Resources, ResourcesEntry
from acclimate.bench.schema import MethodEntry, SourceEntry, SpecEntry, SuiteEntry
from acclimate.errors import ConfigError
from acclimate.methods import get_method
from acclimate.metrics import MEASURES
from acclimate.options import make_config
from acclimate.protocols import list_protocols
from tests.helpers.benches import write_spec

GOOD = {
    "data": {"a": "a", "b": "b"},
    "methods": ["zero-shot", {"method": "coop", "label": "short", "settings": {"epochs": 3}}],
    "suites": [{"protocol": "few-shot", "data": ["a", "b"]}],
}
TEXT = """
title: Everything
about: free text for the reader
backbones: [mini-clip, openai/clip-vit-base-patch16]
data:
  aid: {path: sets/aid, layout: class, split_seed: 3, domain: satellite, names: {Park: a city park}}
  scans: {path: /scans/labels.csv, images_root: ~/images}
  2020: old
shots: [1, all, budget: 64]
seeds: 4
metric: accuracy
reference: short
precision: bf16
methods:
  - zero-shot
  - {method: coop, label: short, settings: {epochs: 3, lr: 1}}
  - {method: coop, settings: {lr: 2e-3}}
suites:
  - {protocol: few-shot, data: [aid, "2020"]}
  - protocol: leave-one-domain-out
    options: {selection: oracle}
    data: scans
    shots: 16
    seeds: [7, 8]
    methods: [short, linear-probe, {method: zero-shot, label: mean of sentences, settings: {ensemble: true}}]
    settings: {short: {epochs: 5}}
"""


def test_every_entry_is_read(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", "/home/somebody")
    spec = read_spec(write_spec(tmp_path / "all.yaml", TEXT))
    assert (spec.title, spec.metric, spec.reference, spec.precision) == ("Everything", "accuracy", "short", "bf16")
    assert spec.backbones == ("mini-clip", "openai/clip-vit-base-patch16")
    aid, scans, old = spec.data["aid"], spec.data["scans"], spec.data["2020"]
    assert (aid.path, aid.layout, aid.split_seed) == (tmp_path / "sets/aid", "class", 3)
    assert (aid.domain, aid.names) == ("satellite", {"Park": "a city park"})
    assert (scans.path, scans.images_root) == (Path("/scans/labels.csv"), Path("/home/somebody/images"))
    assert old.path == tmp_path / "old"
    few, domains = spec.suites
    assert (few.shots, few.seeds, few.data) == ((1, "all", "budget:64"), (4,), ("aid", "2020"))
    assert [contender.label for contender in few.contenders] == ["zero-shot", "short", "coop"]
    assert few.contenders[1].settings == {"epochs": 3, "lr": 1}
    assert (domains.shots, domains.seeds, domains.protocol.selection) == ((16,), (7, 8), "oracle")
    assert [contender.label for contender in domains.contenders] == ["short", "linear-probe", "mean of sentences"]
    assert domains.contenders[0].settings == {"epochs": 5, "lr": 1}
    assert spec.labels == ("zero-shot", "short", "coop", "linear-probe", "mean of sentences")


def test_names_are_what_is_written(tmp_path):
    text = """
data:
  001: {path: 1.10, names: {no: yes, 001: 1.10, null: 1e3, on: 2020-01-01}}
  no: off
methods: [{method: coop, label: 1.50, settings: {epochs: 3, class_specific: yes, lr: 1e-3, context_init: 007}}]
suites: [{protocol: few-shot, data: [001, no]}]
"""
    spec = read_spec(write_spec(tmp_path / "spec.yaml", text))
    assert list(spec.data) == ["001", "no"]
    assert (spec.data["001"].path.name, spec.data["no"].path.name) == ("1.10", "off")
    assert spec.data["001"].names == {"no": "yes", "001": "1.10", "null": "1e3", "on": "2020-01-01"}
    assert spec.suites[0].data == ("001", "no")
    contender = spec.suites[0].contenders[0]
    config = make_config(get_method("coop").Config, contender.settings)
    assert contender.label == "1.50"
    assert (config.epochs, config.class_specific, config.lr, config.context_init) == (3, True, 0.001, "007")


def test_what_may_be_left_out(tmp_path):
    spec = read_spec(write_spec(tmp_path / "short.yaml", GOOD))
    assert (spec.title, spec.backbones, spec.metric) == ("short", ("mini-clip",), "balanced_accuracy")
    assert (spec.reference, spec.precision) == (None, "auto")
    assert (spec.suites[0].shots, spec.suites[0].seeds) == ((16,), (1, 2, 3))


def test_data_lie_below_the_spec_or_where_the_caller_says(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", "/home/somebody")
    path = write_spec(tmp_path / "folder/spec.yaml", {**GOOD, "data": {"a": "a", "b": "~/b"}})
    assert read_spec(path).data["a"].path == tmp_path / "folder/a"
    there = read_spec(path, Path("~/sets")).data
    assert (there["a"].path, there["b"].path) == (Path("/home/somebody/sets/a"), Path("/home/somebody/b"))


SUITE = GOOD["suites"][0]
BAD = [
    ("data", ["a"], "data: give names with values"),
    ("data", {"a": {"path": "a", "paths": "b"}}, "data.a: unknown entry 'paths'; did you mean 'path'?"),
    ("data", {"a": {}}, "data.a: the entry 'path' is missing"),
    (
        "data",
        {"a": {"layout": 3, "pth": "a"}},
        "data.a: unknown entry 'pth'; did you mean 'path'? (entries: bands, domain, ",
    ),
    ("data", {"a": None}, "data.a: give names with values"),
    ("data", {"a": {"path": ["x"]}}, "data.a.path: give text"),
    ("data", {"a": {"path": "a", "split_seed": "one"}}, "data.a.split_seed: give a whole number, not 'one'"),
    (
        "data",
        {"a": {"path": "a", "domain": "sattelite"}},
        "data.a.domain: domain 'sattelite' is unknown; did you mean 'satellite'?",
    ),
    (
        "data",
        {"a": {"path": "a", "templates": "a {} {}"}},
        "data.a.templates: sentence: 'a {} {}' must contain {} once",
    ),
    ("data", {"a": {"path": "a", "templates": []}}, "data.a.templates: give at least one"),
    ("data", {"a": {"path": "a", "names": "x"}}, "data.a.names: give names with values"),
    ("data", {"a": {"path": "a", "names": {"cat": None}}}, "data.a.names.cat: give text"),
    ("data", {"a": {"path": "a", "names": {2020: ["x"]}}}, "data.a.names.2020: give text, not ['x']; words that YAML"),
    ("data", {"b": "b"}, "suites[0].data: no data set is named 'a'"),
    ("method", "coop", "unknown entry 'method'; did you mean 'methods'?"),
    ("methods", [], "methods: give at least one"),
    ("methods", None, "methods: give at least one"),
    ("methods", ["coopp"], "methods[0]: unknown method 'coopp'; did you mean 'coop'?"),
    ("methods", ["coop", "coop"], "methods: two methods are labelled 'coop'; give each a label of its own"),
    ("methods", [{"label": "x"}], "methods[0]: the entry 'method' is missing"),
    ("methods", [{"method": False}], "methods[0]: unknown method 'false'"),
    ("methods", [{"method": "coop", "settings": {"epoch": 3}}], "methods[0]: unknown setting 'epoch'; did you mean"),
    ("methods", [{"method": "coop", "settings": {"epochs": [1]}}], "methods[0]: epochs=[1]: give a whole number"),
    ("methods", [{"method": "coop", "settings": {3: 1}}], "methods[0]: unknown setting '3'"),
    ("methods", [{"method": "coop", "settings": None}], "methods[0].settings: give names with values"),
    ("suites", [], "suites: give at least one"),
    ("suites", ["few-shot"], "suites[0]: give names with values"),
    (
        "suites",
        [SUITE, {"protocol": "few-shots", "data": "a"}],
        "suites[1].protocol: unknown protocol 'few-shots'",
    ),
    ("suites", [{"protocol": ["few-shot"], "data": "a"}], "suites[0].protocol: give text"),
    ("suites", [{"data": "a"}], "suites[0]: the entry 'protocol' is missing"),
    ("suites", [{**SUITE, "data": "c"}], "suites[0].data: no data set is named 'c'"),
    ("suites", [{**SUITE, "options": {"selection": "best"}}], "suites[0].options: unknown selection rule 'best'"),
    (
        "suites",
        [{**SUITE, "options": {"selecton": "x"}}],
        "suites[0].options: unknown setting 'selecton'; did",
    ),
    ("suites", [{**SUITE, "options": 3}], "suites[0].options: give names with values"),
    ("suites", [{**SUITE, "methods": ["shrt"]}], "suites[0].methods[0]: unknown method 'shrt'"),
    ("suites", [{**SUITE, "settings": {"coop": {}}}], "suites[0].settings: no method is labelled 'coop'"),
    ("suites", [{**SUITE, "settings": {"short": {"lr": "fast"}}}], "suites[0].settings.short: lr=fast: give a finite"),
    ("suites", [{**SUITE, "shots": 0}], "suites[0].shots: `shots=0`: give a whole number from 1"),
    ("shots", [[1]], "suites[0].shots: `shots=a list`"),
    ("seeds", [1, "x"], "suites[0].seeds: give a whole number, not 'x'"),
    ("seeds", [True], "suites[0].seeds: give a whole number, not 'true'"),
    ("metric", "acuracy", "metric: no metric 'acuracy'"),
    ("reference", "shrt", "reference: no method is labelled 'shrt'; did you mean 'short'?"),
    ("reference", 5, "reference: no method is labelled '5'"),
    ("precision", "int8", "precision: 'int8' is not one of auto, fp32, bf16, fp16"),
    ("backbones", [{"id": "x"}], "backbones: give text"),
    ("title", "", "title: give text"),
    ("resources", {"cpu": 2}, "resources: unknown entry 'cpu'; did you mean 'cpus'? (entries: cpus, gpus, memory)"),
    ("resources", 4, "resources: give names with values"),
    ("resources", {"cpus": 0}, "resources.cpus: give a whole number of cores, 1 or more, not 0"),
    ("resources", {"cpus": 1.5}, "resources.cpus: give a whole number of cores, 1 or more, not 1.5"),
    ("resources", {"gpus": 1.5}, "resources.gpus: give whole GPUs or a share of one, such as 0.25, not 1.5"),
    ("resources", {"gpus": "all"}, "resources.gpus: give whole GPUs or a share of one, such as 0.25, not 'all'"),
    ("resources", {"memory": 8}, "resources.memory: give a size with its unit (MB, GB, TB, MiB, GiB, TiB), such as 8"),
    ("resources", {"memory": "8 gigs"}, "such as 8 GB, not '8 gigs'"),
    ("methods", [{"method": "coop", "resources": {"cpus": True}}], "methods[0].resources.cpus: give a whole number"),
    ("suites", [{**SUITE, "resources": {"gpus": -1}}], "suites[0].resources.gpus: give whole GPUs or a share"),
]


@pytest.mark.parametrize(("entry", "value", "words"), BAD, ids=[f"{row[0]}-{n}" for n, row in enumerate(BAD)])
def test_an_error_names_the_file_and_the_entry(tmp_path, entry, value, words):
    path = write_spec(tmp_path / "bad.yaml", {**GOOD, entry: value})
    with pytest.raises(ConfigError) as raised:
        read_spec(path)
    message = str(raised.value)
    assert message.startswith(f"{path}: ")
    assert words in message
    assert "\n" not in message


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "the file: give names with values (name: value), not None"),
        ("a: [1\nb: 2\n", " line 2: not valid YAML"),
        ("- a\n- b\n", "the file: give names with values"),
        ("data: {a: x, a: y}\n", " line 1: not valid YAML ('a' stands there twice)"),
        ("data: {}\nmethods: [coop]\n", "the file: the entry 'suites' is missing"),
        ("title: 2020-99-99\n", "the file: the entry 'data' is missing"),
        ("title: \x07\n", "not valid YAML"),
        ("title: !!python/object:os.system x\n", "not valid YAML"),
    ],
)
def test_what_is_no_spec(tmp_path, text, words):
    path = write_spec(tmp_path / "bad.yaml", text)
    with pytest.raises(ConfigError) as raised:
        read_spec(path)
    assert str(path) in str(raised.value)
    assert words in str(raised.value)
    assert "\n" not in str(raised.value)


def test_a_file_that_cannot_be_read(tmp_path):
    with pytest.raises(ConfigError, match=r"cannot read .*missing\.yaml: no such file or directory; name a SPEC"):
        read_spec(tmp_path / "missing.yaml")
    with pytest.raises(ConfigError, match=r"cannot read .*: is a directory"):
        read_spec(tmp_path)
    (tmp_path / "latin.yaml").write_bytes("title: é".encode("latin-1"))
    with pytest.raises(ConfigError, match=r"latin\.yaml line 1: byte 0xe9 is not UTF-8"):
        read_spec(tmp_path / "latin.yaml")


def test_resources_of_a_method_win_over_those_of_a_suite_and_these_over_the_top(tmp_path):
    large = {"method": "coop", "label": "large", "resources": {"gpus": 0.5, "memory": "1.5 GiB"}}
    suites = [SUITE, {**SUITE, "methods": ["zero-shot", "large"], "resources": {"cpus": 4, "gpus": 2}}]
    content = {**GOOD, "methods": ["zero-shot", large], "suites": suites, "resources": {"cpus": 2, "memory": "500 MB"}}
    spec = read_spec(write_spec(tmp_path / "spec.yaml", content))
    asked = [[contender.resources for contender in suite.contenders] for suite in spec.suites]
    assert asked[0] == [Resources(2, None, 500_000_000), Resources(2, 0.5, 3 << 29)]
    assert asked[1] == [Resources(4, 2.0, 500_000_000), Resources(4, 0.5, 3 << 29)]
    assert str(asked[1][1]) == "4 cores, 0.5 of a GPU, 1.6 GB of memory"


def test_a_mapping_may_be_used_twice(tmp_path):
    text = """
data: {a: a}
methods: [{method: coop, settings: &quick {epochs: 3}}]
suites: [{protocol: few-shot, data: a, settings: {coop: {<<: *quick, lr: 1}}}]
"""
    spec = read_spec(write_spec(tmp_path / "spec.yaml", text))
    assert spec.suites[0].contenders[0].settings == {"epochs": 3, "lr": 1}


def test_the_page_has_every_entry_and_its_spec_can_be_read(tmp_path):
    page = (Path(__file__).parents[2] / "docs/bench.md").read_text(encoding="utf-8")
    example = re.search(r"^```yaml\n(.*?)^```", page, re.DOTALL | re.MULTILINE)
    read = read_spec(write_spec(tmp_path / "spec.yaml", example[1]))
    assert len(read.suites) == 2
    entries = {
        name for kind in (SpecEntry, SuiteEntry, SourceEntry, MethodEntry, ResourcesEntry) for name in kind.model_fields
    }
    assert [name for name in sorted(entries) if f"`{name}`" not in page] == []
    assert [name for name in MEASURES if f"`{name}`" not in page] == []
    assert [kind.name for kind in list_protocols() if f"`{kind.name}`" not in page] == []
