"""README, CONTRIBUTING and docs/ say what is true of the code beside them."""

from __future__ import annotations

import importlib.util
import json
import os
import pkgutil
import re
import shlex
import shutil
import sys
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import typer.main
import yaml

import acclimate as acclimate_package
from acclimate import protocols, synthetic
from acclimate.backbones.catalogue import BackboneInfo, list_backbones
from acclimate.bench import plan_bench, read_spec
from acclimate.cli.app import app
from acclimate.methods import get_method, list_methods, registry
from acclimate.options import describe_options, make_config, option, parse_assignments
from acclimate.prompts import Domain, PromptSet, get_domain, list_domains
from acclimate.protocols.published import SPLIT_RULES
from acclimate.training.inputs import Inputs, kinds
from tests.helpers.benches import entries, write_spec
from tests.helpers.command import acclimate, finish, start
from tests.helpers.language_servers import Server, said
from tests.helpers.pictures import make_pictures, make_split_pictures

ROOT = Path(__file__).resolve().parent.parent
DOCS = sorted((ROOT / "docs").glob("**/*.md"))
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *DOCS]
FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
INLINE = re.compile(r"`(acclimate [^`\n]*|make [a-z-]+)`")
LINK = re.compile(r"(!?)\[[^\]]*\]\(([^)\s]+)\)")


def read(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def blocks(text: str, language: str) -> list[str]:
    return [body for kind, body in FENCE.findall(text) if kind == language]


def section(page: str, title: str) -> str:
    """What stands under a heading of the second level."""
    return read(page).partition(f"\n## {title}\n")[2].partition("\n## ")[0]


def prose(text: str) -> str:
    return FENCE.sub("", text)


def commands() -> Iterator[tuple[str, str]]:
    """Every command line in a bash block, with its page."""
    for page in PAGES:
        for block in blocks(page.read_text(encoding="utf-8"), "bash"):
            for line in block.replace("\\\n", " ").splitlines():
                yield page.name, line


def verbs() -> Iterator[tuple[str, Any]]:
    """Every verb with its command, groups entered."""

    def walk(name: str, command: Any) -> Iterator[tuple[str, Any]]:
        children = getattr(command, "commands", None)
        if children is None:
            yield name, command
            return
        for child, inner in children.items():
            yield from walk(f"{name} {child}".strip(), inner)

    yield from walk("", typer.main.get_command(app))


def find_verb(words: list[str]) -> tuple[Any, list[str]]:
    known = dict(verbs())
    for size in (2, 1):
        if " ".join(words[:size]) in known:
            return known[" ".join(words[:size])], words[size:]
    raise AssertionError(f"no verb: acclimate {' '.join(words)}")


def options(command: Any) -> set[str]:
    return {name for parameter in command.params for name in parameter.opts if name.startswith("-")}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_relative_links_lead_somewhere(page):
    targets = [target for _, target in LINK.findall(prose(page.read_text(encoding="utf-8")))]
    local = [target.partition("#")[0] for target in targets if not re.match(r"[a-z]+:|#", target)]
    assert [target for target in local if not (page.parent / target).exists()] == []


def test_nothing_but_links_for_readers_leaves_the_site():
    config = yaml.safe_load(read("mkdocs.yml"))
    assert config["theme"]["font"] is False
    assert "extra_javascript" not in config
    assert "extra_css" not in config
    for page in DOCS:
        images = [target for mark, target in LINK.findall(page.read_text(encoding="utf-8")) if mark]
        assert not [target for target in images if target.startswith("http")]


@pytest.mark.parametrize(("page", "line"), [row for row in commands() if row[1].startswith("acclimate ")])
def test_command_lines_parse(page, line):
    words = shlex.split(line, comments=True)[1:]
    command, rest = find_verb(words)
    values = command.make_context(command.name, rest).params  # parses and converts, runs nothing
    if "method" in values and not values["plugin"]:
        method = get_method(values["method"])
        make_config(method.Config, parse_assignments(values["set_"] or ()))
    if values.get("domain") and "method" in values:
        assert values["domain"] in {domain.id for domain in list_domains()}
    named = values.get("backbone") or []
    for backbone in [named] if isinstance(named, str) else named:
        assert backbone.startswith(("models/", "runs/")) or backbone in {info.id for info in list_backbones()}


def test_inline_commands_name_verbs_and_options_that_exist():
    targets = set(re.findall(r"^([a-z-]+):", read("Makefile"), re.MULTILINE))
    for page in PAGES:
        for text in INLINE.findall(prose(page.read_text(encoding="utf-8"))):
            words = text.split()[1:]
            if text.startswith("make "):
                assert words[0] in targets, f"{page.name}: {text}"
                continue
            if words[0].startswith("-"):
                assert words[0] in {"--help", "--version"}, f"{page.name}: {text}"
                continue
            command, rest = find_verb(words)
            unknown = {word for word in rest if word.startswith("-")} - options(command)
            assert not unknown, f"{page.name}: {text}"


def test_make_targets_of_command_blocks_exist():
    targets = set(re.findall(r"^([a-z-]+):", read("Makefile"), re.MULTILINE))
    lines = [line.partition("#")[0] for _, line in commands()]
    named = {found for line in lines for found in re.findall(r"(?:^|&& )make ([a-z-]+)", line)}
    assert {"demo", "test", "check"} <= named <= targets


@pytest.mark.parametrize(("verb", "command"), list(verbs()), ids=lambda value: value if isinstance(value, str) else "")
def test_command_line_page_has_every_option(verb, command):
    section = re.search(
        rf"^## acclimate {verb}( [^\n]*)?$(.*?)(?=^## |\Z)", read("docs/cli.md"), re.DOTALL | re.MULTILINE
    )
    assert section, f"docs/cli.md has no section on {verb}"
    documented = set(
        re.findall(r"`(--?[a-z][a-z0-9-]*)`", "\n".join(re.findall(r"^\| `-.*$", section[2], re.MULTILINE)))
    )
    assert options(command) - {"--help", "-h"} <= documented
    rows = {
        name for row in re.findall(r"^\| (`-[^|]*)\|", section[2], re.MULTILINE) for name in re.findall("`(.*?)`", row)
    }
    assert rows <= options(command)


@pytest.fixture
def tables(monkeypatch):
    return import_file(ROOT / "tools/docs_tables.py", monkeypatch)


def marks(tables, page):
    """What the generated tables of a page are, by kind and name."""
    return {(kind, name) for _, kind, name, _, _ in tables.BLOCK.findall(page.read_text(encoding="utf-8"))}


def test_tables_are_those_of_the_code(tables):
    assert "".join(map(tables.differences, tables.pages())) == ""


def test_every_verb_and_protocol_has_its_table(tables):
    found = {mark for page in DOCS for mark in marks(tables, page)}
    wanted = {("options", verb) for verb, _ in verbs()}
    wanted |= {("protocol", protocol.name) for protocol in protocols.list_protocols()}
    assert wanted <= found


def test_a_table_that_has_drifted_is_shown_and_mended(tables, tmp_path, monkeypatch, capsys):
    page = tmp_path / "docs/cli.md"
    page.parent.mkdir()
    page.write_text(read("docs/cli.md").replace("| `16` |", "| `17` |"), encoding="utf-8")
    (tmp_path / "README.md").write_text("no table", encoding="utf-8")
    monkeypatch.setattr(tables, "ROOT", tmp_path)

    assert tables.main(["--check"]) == 1
    told = capsys.readouterr().err
    assert "-| `--shots` | `17` |" in told
    assert "make docs-tables" in told
    assert "| `17` |" in page.read_text(encoding="utf-8")

    assert tables.main([]) == 0
    assert capsys.readouterr().out == "docs/cli.md\n"
    assert page.read_text(encoding="utf-8") == read("docs/cli.md")
    assert tables.main(["--check"]) == 0
    assert tables.main(["--help"]) == 2


def test_command_line_page_has_every_domain():
    page = read("docs/cli.md")
    assert [domain.id for domain in list_domains() if f"`{domain.id}`" not in page] == []
    demo = page.partition("## acclimate adapt")[0]
    assert [name for name in synthetic.list_domains() if f"`{name}`" not in demo] == []


def test_every_method_has_a_row_and_a_page_with_its_tables(tables):
    assert ("capabilities", "") in marks(tables, ROOT / "docs/methods/index.md")
    assert ("methods", "") in marks(tables, ROOT / "README.md")
    for method in list_methods():
        page = ROOT / f"docs/methods/{method.name}.md"
        assert {("method", method.name), ("settings", method.name)} <= marks(tables, page), page.name
        assert f"| [`{method.name}`](docs/methods/{method.name}.md) |" in read("README.md")


def test_readme_is_short(tables):
    assert len(tables.BLOCK.sub("", read("README.md")).splitlines()) <= 95  # beside the table of methods


def test_planned_methods_are_not_claimed():
    names = {method.name for method in list_methods()}
    planned = re.search(r"^Planned and \*\*not there yet\*\*: (.*?)\n\n", read("README.md"), re.DOTALL | re.MULTILINE)
    assert planned
    assert not {name.lower() for name in re.findall(r"(\w+)\s\(arXiv", planned[1])} & names


@pytest.mark.slow
def test_python_of_the_readme_runs_and_its_run_folder_is_described(tmp_path, monkeypatch, capsys):
    make_pictures(tmp_path / "my_images", per_class=3)
    make_pictures(tmp_path / "new_images", per_class=2, seed=1)
    monkeypatch.chdir(tmp_path)
    (block,) = blocks(read("README.md"), "python")
    exec(compile(block, "README.md", "exec"), {"__name__": "readme"})
    assert len(capsys.readouterr().out.splitlines()) == 1 + 6
    block, *others = blocks(read("docs/python.md"), "python")  # the same run, which is not repeated
    scope: dict[str, Any] = {"__name__": "python_page"}
    exec(compile(block, "python.md", "exec"), scope)
    assert len(capsys.readouterr().out.splitlines()) == 6
    for block in others:
        exec(compile(block, "python.md", "exec"), scope)
    shown, same = capsys.readouterr().out.splitlines()
    assert shown.startswith("AdaptedModel(auto on 'mini-clip'; 3 classes: cat, dog, river; ")
    assert same == "True"

    page = read("docs/artefacts.md")
    folder = tmp_path / "runs" / "mine"
    described = set(re.findall(r"^## (\w+\.\w+)$", page, re.MULTILINE))
    assert {path.name for path in folder.iterdir()} == described - {"images.txt"}  # which a warm start has
    adapter, record, splits = (
        json.loads((folder / f"{name}.json").read_text()) for name in ("adapter", "record", "splits")
    )
    first_row = splits["splits"]["train"][0]
    line = json.loads((folder / "log.jsonl").read_text().splitlines()[0])
    per_class = next(iter(record["metrics"]["per_class"].values()))
    nested = [adapter[key] for key in ("backbone", "prompts", "transform")]
    nested += [record[key] for key in ("metrics", "baselines", "data", "backbone", "cost", "environment")]
    nested += [record["metrics"]["accuracy"], per_class, record["cost"]["peak_memory"]]
    keys = {key for part in (adapter, record, splits, first_row, line, *nested) for key in part}
    assert [key for key in sorted(keys) if f"`{key}`" not in page] == []


@pytest.mark.slow
def test_what_else_the_tutorial_tells_runs_in_its_order(tiny_folders, tmp_path, monkeypatch):
    make_split_pictures(tmp_path / "my_images", splits={"north": 8, "south": 8, "west": 8})  # domain/class
    monkeypatch.chdir(tmp_path)
    server = Server(lambda number, content: said("It has stripes."))
    quick: dict[str, tuple[object, ...]] = {
        "pretrain": ("--epochs", 0, "--image-size", 32, "--patch-size", 8, "--device", "cpu"),
        "describe": ("--llm", server.url, "--model", "small", "--generations", 1),
        "adapt": ("--backbone", tiny_folders["clip"], "--set", "epochs=1", "--shots", 2, "--device", "cpu"),
    }
    part = "".join(blocks(section("docs/tutorial.md", "7. What else you may have"), "bash"))
    lines = [shlex.split(line)[1:] for line in part.splitlines()]
    assert [line[0] for line in lines] == ["pretrain", "adapt", "describe", "adapt", "adapt"]
    for line in lines:
        done = acclimate(*line, *quick[line[0]])
        assert done.code == 0, done.err
    server.close()
    records = [json.loads((tmp_path / line[-1] / "record.json").read_text()) for line in lines if line[0] == "adapt"]
    assert [record["method"] for record in records] == ["gdpl", "aape", "spg"]


def import_file(path, monkeypatch):
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, path.stem, module)
    spec.loader.exec_module(module)
    return module


def import_source(name, source, folder, monkeypatch):
    (folder / f"{name}.py").write_text(source, encoding="utf-8")
    import_file(folder / f"{name}.py", monkeypatch)


def test_python_page_has_every_public_name():
    import acclimate

    rendered = set(re.findall(r"^::: ([\w.]+)$", read("docs/python.md"), re.MULTILINE))
    public = {f"acclimate.{name}" for name in acclimate.__all__} - {"acclimate.__version__", "acclimate.AcclimateError"}
    assert public | {"acclimate.errors"} <= rendered


@pytest.fixture
def class_means(tmp_path, monkeypatch):
    """The worked example of a method, registered for one test; the place of its file."""
    block, *_ = blocks(read("CONTRIBUTING.md"), "python")
    list_methods()  # all rooms are registered before the registry is set aside
    monkeypatch.setattr(registry, "_METHODS", dict(registry._METHODS))
    import_source("class_means", block, tmp_path, monkeypatch)
    return tmp_path / "class_means.py"


def test_method_of_contributing_works(class_means, tmp_path):
    import acclimate

    data = acclimate.load_data(make_pictures(tmp_path / "pictures", per_class=10))
    out = tmp_path / "run"
    model = acclimate.adapt(data, "class-means", shots=4, settings={"scale": "10"}, out=out)
    assert model.record["metrics"]["accuracy"]["value"] > 0.6  # chance is a third
    assert model.journal == [{"stage": "class-means", "images": 12}]
    again = acclimate.load(out)
    before, after = (m.predict(tmp_path / "pictures") for m in (model, again))
    np.testing.assert_array_equal([row.probabilities for row in before], [row.probabilities for row in after])
    with pytest.raises(acclimate.AcclimateError, match="scale"):
        acclimate.adapt(data, "class-means", settings={"scale": -1.0})
    with pytest.raises(acclimate.AcclimateError, match="adapt again"):
        again.rebind(["other", "classes"])


@pytest.fixture(scope="module")
def own_method(tmp_path_factory):
    """A folder with all that the commands on a method of one's own name, and what its processes have to know."""
    place = tmp_path_factory.mktemp("own")
    (place / "class_means.py").write_text(blocks(read("CONTRIBUTING.md"), "python")[0], encoding="utf-8")
    make_pictures(place / "my_images", per_class=10)
    for seed, name in enumerate(("other_images", "new_images"), start=1):
        make_pictures(place / name, per_class=2, seed=seed)
    shared = Path(acclimate_package.__file__).parent.parent
    return place, {"PYTHONPATH": str(shared), "ACCLIMATE_CACHE": str(place / "cache")}


def own_command(verb: str) -> list[str]:
    """The words of the command of CONTRIBUTING on a method of one's own, by its verb."""
    lines = blocks(section("CONTRIBUTING.md", "A method of your own package"), "bash")[0].splitlines()
    (words,) = [words for words in (shlex.split(line)[1:] for line in lines) if words[0] == verb]
    return words


def check_own_run(place: Path) -> None:
    record = json.loads((place / "runs/means/record.json").read_text())
    assert record["metrics"]["accuracy"]["value"] > 0.6  # chance is a third
    head, *rows = (place / "labels.csv").read_text().splitlines()
    assert head.startswith("path,label,probability,")
    assert len(rows) == 6


@pytest.mark.slow
def test_commands_on_a_method_of_ones_own_work(own_method, monkeypatch):
    place, _ = own_method
    list_methods()  # all rooms are registered before the registry is set aside
    monkeypatch.setattr(registry, "_METHODS", dict(registry._METHODS))
    monkeypatch.setattr(sys, "modules", dict(sys.modules))
    monkeypatch.chdir(place)
    for verb in ("adapt", "evaluate", "predict"):
        done = acclimate(*own_command(verb))
        assert done.code == 0, done.err
    check_own_run(place)


@pytest.mark.slow
def test_commands_on_a_method_of_ones_own_work_in_processes_of_their_own(own_method, tiny_folders):
    """So do the jobs of a bench, which import the plugin, too."""
    place, environment = own_method
    shutil.rmtree(place / "runs", ignore_errors=True)
    content = entries(Path("my_images"), tiny_folders["clip"], methods=["class-means"])
    write_spec(place / "my_bench.yaml", content)
    for verb in ("adapt", "evaluate", "predict", "bench"):
        done = finish(start(*own_command(verb), cwd=place, env=environment))
        assert done.code == 0, done.err
    check_own_run(place)
    assert "| class-means |" in (place / "runs/bench/results.md").read_text()
    unknown = finish(start("bench", "my_bench.yaml", "--dry-run", cwd=place, env=environment))
    assert unknown.code == 2
    assert "--plugin" in unknown.error


@pytest.mark.slow
def test_entry_point_of_contributing_brings_a_method(own_method):
    """An installed package is a folder with metadata on the path."""
    place, environment = own_method
    (block,) = blocks(section("CONTRIBUTING.md", "A method of your own package"), "toml")
    ((group, points),) = tomllib.loads(block)["project"]["entry-points"].items()
    assert group == registry.GROUP
    package, _, module = points["mine"].partition(".")
    site = place / "site"
    (site / package).mkdir(parents=True)
    (site / package / "__init__.py").touch()
    (site / package / f"{module}.py").write_text((place / "class_means.py").read_text())
    metadata = site / f"{package}-1.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.0\n")
    (metadata / "entry_points.txt").write_text(f"[{group}]\nmine = {points['mine']}\n")
    path = os.pathsep.join([environment["PYTHONPATH"], str(site)])
    done = finish(start("methods", "class-means", "--json", env=environment | {"PYTHONPATH": path}))
    assert done.code == 0, done.err
    assert done.json["name"] == "class-means"


def test_input_of_contributing_works(class_means, tmp_path, monkeypatch, tiny):
    """The method below and the module of CONTRIBUTING are all that a new kind of input costs."""
    import acclimate
    from acclimate.methods import register

    _, block, *_ = blocks(read("CONTRIBUTING.md"), "python")
    monkeypatch.setattr(kinds, "_KINDS", dict(kinds._KINDS))
    import_source("measurements", block, tmp_path, monkeypatch)
    means = sys.modules["class_means"]

    @dataclass(frozen=True, kw_only=True)
    class MeasuredConfig(means.ClassMeansConfig):
        table: str = option("measurements.csv", "CSV file with the column image and numbers")

    @register
    class Measured(means.ClassMeans):
        name, inputs = "measured", Inputs({"image_features", "measurements"})
        Config = MeasuredConfig

        def logits(self, batch):
            return super().logits(batch) * 0 + batch.measurements  # one number a class, to see that they arrive

    for path in make_pictures(tmp_path / "pictures", per_class=5).glob("*/*"):
        path.rename(path.with_name(f"{path.parent.name}-{path.name}"))  # the table knows images by their names alone
    data = acclimate.load_data(tmp_path / "pictures")
    names = [Path(key).name for key in data.keys]
    lines = [
        ",".join([name, *("9" if k == label else "0" for k in range(3))])
        for name, label in zip(names, data.labels, strict=True)
    ]
    table = tmp_path / "table.csv"
    table.write_text("\n".join(["image,a,b,c", *lines]) + "\n")
    settings = {"table": str(table)}
    model = acclimate.adapt(data, "measured", tiny, shots=2, settings=settings, out=tmp_path / "run")
    assert model.record["metrics"]["accuracy"]["value"] == 1.0
    rows = acclimate.load(tmp_path / "run", tiny).predict(tmp_path / "pictures")
    assert [row.label for row in rows] == [Path(row.path).parent.name for row in rows]
    gone = data.splits.index("test")
    table.write_text("\n".join(["image,a,b,c", *lines[:gone], *lines[gone + 1 :]]) + "\n")
    with pytest.raises(acclimate.AcclimateError, match=f"no row has the image '{names[gone]}'"):
        acclimate.load(tmp_path / "run", tiny).evaluate(data)


def test_tasks_of_contributing_are_complete():
    from acclimate.tasks import Task

    text = section("CONTRIBUTING.md", "Add a task")
    own = [kind for kind in Task.__mro__ if kind.__module__.startswith("acclimate.")]
    members = {name for kind in own for name in (*vars(kind), *kind.__annotations__) if not name.startswith("_")}
    listed = {name for row in re.findall(r"^\| (`[^|]*)\|", text, re.MULTILINE) for name in re.findall("`(.*?)`", row)}
    assert listed <= members
    assert Task.__abstractmethods__ <= listed


def test_paths_and_modules_of_contributing_and_architecture_exist():
    for name in ("CONTRIBUTING.md", "docs/architecture.md"):
        text = prose(read(name))
        for path in re.findall(r"`((?:src|tests|tools|docs)/[\w/.-]+)`", text):
            assert "NAME" in path or (ROOT / path).exists(), f"{name}: {path}"
        for path in re.findall(r"`([a-z_]+(?:/[a-z_]+)*/?[a-z_]*\.py)`", text):
            found = [place for room in ("src/acclimate", ".") for place in (ROOT / room).glob(f"**/{path}")]
            assert found or path == "class_means.py", f"{name}: {path}"
        for module in re.findall(r"`(acclimate(?:\.\w+)+)`", text):
            if module != registry.GROUP or name == "docs/architecture.md":
                pkgutil.resolve_name(module)


def test_protocol_of_contributing_works(tmp_path, monkeypatch, tiny):
    import acclimate
    from acclimate.runs import RunOptions, adapt_trial

    *_, block = blocks(read("CONTRIBUTING.md"), "python")
    monkeypatch.setattr(protocols.contract, "_PROTOCOLS", dict(protocols.contract._PROTOCOLS))
    import_source("within_domain", block, tmp_path, monkeypatch)

    place = make_split_pictures(tmp_path / "world", splits={"north": 10, "south": 10})
    data = acclimate.load_data(place, layout="domain/class")
    protocol = make_config(protocols.get_protocol("within-domain"), {"smallest": "9"})
    assert protocol.trials({"world": data}) == ("north", "south")
    trial = protocol.draw("south", {"world": data}, 2, 1)
    assert {len(part) for part in (trial.train, trial.val)} == {6}
    assert {key.partition("/")[0] for part in trial.splits.values() for key in part.keys} == {"south"}
    prompts = PromptSet(get_domain("natural"))
    record = adapt_trial(trial, "zero-shot", tiny, RunOptions(device="cpu"), prompts=prompts, shots=2, seed=1).record
    figures = protocol.figures({"test": record["metrics"]})
    assert figures["test"]["accuracy"] == record["metrics"]["accuracy"]["value"]
    with pytest.raises(acclimate.AcclimateError, match="no domain has 10 test images"):
        make_config(type(protocol), {"smallest": 10}).trials({"world": data})
    with pytest.raises(acclimate.AcclimateError, match="smallest=0"):
        make_config(type(protocol), {"smallest": 0})


def test_protocols_page_has_every_option_and_rule():
    page = read("docs/protocols.md")
    for protocol in protocols.list_protocols():
        section = page.partition(f"\n## {protocol.name}\n")[2].partition("\n## ")[0]
        rows = {row["name"]: row["default"] for row in describe_options(protocol)}
        listed = re.findall(r"^\| `(\w+)` \| ([^|]*?) \|", section.replace("| |", "|  |"), re.MULTILINE)
        assert dict(listed) == rows, protocol.name
        papers = re.findall(r"arXiv (\d+\.\d+)", protocol.__doc__)
        assert [paper for paper in papers if paper not in section] == []
    known = (*protocols.SELECTION_RULES, *SPLIT_RULES)
    assert [name for name in known if not re.search(rf"^\| .*`{name}`.* \|", page, re.MULTILINE)] == []


def test_protocols_page_runs(tmp_path, monkeypatch, capsys):
    make_split_pictures(tmp_path / "my_images", splits={"north": 10, "south": 12}, size=(8, 8))
    monkeypatch.chdir(tmp_path)
    (block,) = blocks(read("docs/protocols.md"), "python")
    exec(compile(block, "protocols.md", "exec"), {"__name__": "protocols_page"})
    assert capsys.readouterr().out.splitlines() == ["north 12 {'north': 30}", "south 12 {'south': 36}"]
    (suite,) = yaml.safe_load(blocks(read("docs/protocols.md"), "yaml")[0])["suites"]
    assert make_config(protocols.get_protocol(suite["protocol"]), suite["options"]).rule.target
    assert suite["shots"] == [1, 16, {"budget": 64}]


def test_captions_of_the_bench_page_can_be_planned(caption_folder, tiny_folders, tmp_path):
    content = yaml.safe_load(blocks(section("docs/bench.md", "The spec"), "yaml")[-1])
    here = {
        "data": {"scenes": str(caption_folder)},
        "backbones": [str(tiny_folders["clip"])],
        "shots": ["all", {"budget": 8}],
    }
    jobs = plan_bench(read_spec(write_spec(tmp_path / "spec.yaml", content | here)))
    assert {(job.content["method"], job.content["shots"]) for job in jobs} >= {
        ("aape", "all"),
        ("zero-shot", "budget:8"),
    }
    plain = content | here | {"methods": ["coop"]}
    with pytest.raises(acclimate_package.AcclimateError, match="coop learns from labels"):
        plan_bench(read_spec(write_spec(tmp_path / "plain.yaml", plain)))


def test_data_entries_of_contributing_are_valid():
    entry, domain = (yaml.safe_load(block) for block in blocks(read("CONTRIBUTING.md"), "yaml"))
    assert BackboneInfo(**entry[0]).family in {info.family for info in list_backbones()}
    ((name, fields),) = domain.items()
    assert name not in {known.id for known in list_domains()}
    assert Domain(id=name, **{key: tuple(value) if isinstance(value, list) else value for key, value in fields.items()})


def test_data_page_has_every_kind_of_finding():
    page = read("docs/data.md")
    source = "".join(path.read_text() for path in (ROOT / "src/acclimate/data/check").glob("*.py"))
    kinds = set(re.findall(r'Finding\(\s*(?:"error"|"warning"|"info"|level),\s*"(\w+)"', source))
    assert {"corrupt", "imbalance"} <= kinds
    assert [kind for kind in sorted(kinds) if f"`{kind}`" not in page] == []


def test_the_citation_says_what_the_package_does():
    project, cited = tomllib.loads(read("pyproject.toml"))["project"], yaml.safe_load(read("CITATION.cff"))
    assert (cited["title"], cited["abstract"], cited["license"]) == tuple(
        project[name] for name in ("name", "description", "license")
    )
    assert cited["authors"] == project["authors"]
    assert cited["keywords"] == project["keywords"]
