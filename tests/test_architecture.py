"""The rules of the house: who imports whom, and what may not be imported at all."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import acclimate
from acclimate.methods import list_methods
from tests.helpers.waiting import HANG

ROOT = Path(acclimate.__file__).parent
ORDER = (
    ("cli",),
    ("reports", "scaling", "serving", "sharing"),
    ("bench",),
    ("exporting",),
    ("runs",),
    ("protocols", "pretraining", "describing"),
    ("tasks",),
    ("methods",),
    ("training",),
    ("backbones",),
    ("prompts", "telling"),
    ("data", "metrics"),
)
BASE = {"errors", "files", "options", ""}  # "" is `import acclimate` itself, for its version
FLOOR = {room: floor for floor, rooms in enumerate(reversed(ORDER)) for room in rooms}
LONGEST = 320


def files(room=""):
    return sorted((ROOT / room).rglob("*.py"))


def imported(path, deferred=True):
    """Modules that a file imports; `deferred` also counts imports inside functions and for type checkers."""
    tree = ast.parse(path.read_text())
    nodes = ast.walk(tree) if deferred else tree.body
    names = set()
    for node in nodes:
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: imports are absolute"
            names.add(node.module)
            if node.module.count(".") < 2:
                names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def rooms_of(path):
    parts = [name.split(".") for name in imported(path) if name.split(".")[0] == "acclimate"]
    return {part[1] for part in parts if len(part) > 1 and (ROOT / part[1]).is_dir()}


def run(code, *arguments):
    return subprocess.run(
        [sys.executable, "-c", code, *arguments], capture_output=True, text=True, timeout=HANG, check=False
    )


@pytest.mark.parametrize("room", FLOOR)
def test_imports_point_downward(room):
    for path in files(room):
        above = {other for other in rooms_of(path) - {room} if FLOOR.get(other, 99) >= FLOOR[room]}
        if room == "cli":
            above.discard("synthetic")
        assert not above, f"{path.relative_to(ROOT)} imports {sorted(above)}"


def test_no_modules_import_each_other_in_a_circle():
    """What a module imports when it is imported itself, in its functions and for type checkers aside."""
    modules = {".".join(path.relative_to(ROOT.parent).with_suffix("").parts): path for path in files()}
    modules = {name.removesuffix(".__init__"): path for name, path in modules.items()}
    graph = {}
    for module, path in modules.items():
        wanted = set()
        for node in ast.parse(path.read_text()).body:
            if isinstance(node, ast.ImportFrom):
                names = {f"{node.module}.{alias.name}" for alias in node.names}
                wanted |= {name if name in modules else node.module for name in names} & modules.keys()
        graph[module] = wanted - {module}
    done, under_way = set(), []

    def visit(module):
        assert module not in under_way, " > ".join([*under_way[under_way.index(module) :], module])
        if module not in done:
            under_way.append(module)
            for other in sorted(graph[module]):
                visit(other)
            done.add(under_way.pop())

    for module in graph:
        visit(module)


def test_the_package_asks_for_tasks_and_capabilities_not_for_their_data_or_names():
    """Which task it is, is known by the loader; which method it is, by nobody."""
    asked = [path for path in files() if "isinstance(" in (text := path.read_text()) and ", CaptionData)" in text]
    assert [path.relative_to(ROOT).as_posix() for path in asked] == ["data/captions.py"]
    names = {method.name for method in list_methods()}
    for room in ("tasks", "runs", "training", "protocols", "bench"):
        for path in files(room):
            constants = {node.value for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Constant)}
            assert not constants & names - {"auto"}, path  # the method by default, and what many options are by default


def test_protocols_hold_no_training_code():
    for path in files("protocols"):
        assert rooms_of(path) - {"protocols"} <= {"data", "metrics"}, path


def test_every_room_has_its_place():
    rooms = {path.name for path in ROOT.iterdir() if (path / "__init__.py").exists()}
    assert rooms == {*FLOOR, "synthetic"}


def test_errors_and_options_stand_at_the_bottom():
    assert not rooms_of(ROOT / "errors.py")
    assert not rooms_of(ROOT / "options.py")


def test_synthetic_stands_alone():
    allowed = {"numpy", "scipy", "PIL", "matplotlib", "acclimate", *sys.stdlib_module_names}
    for path in files("synthetic"):
        assert not rooms_of(path) - {"synthetic"}
        assert {name.split(".")[0] for name in imported(path)} <= allowed, path


def test_transformers_stays_in_backbones_and_torchvision_out():
    for path in files():
        tops = {name.split(".")[0] for name in imported(path)}
        assert "torchvision" not in tops, path
        assert "pickle" not in tops, path
        if path.relative_to(ROOT).parts[0] != "backbones":
            assert not tops & {"transformers", "tokenizers"}, path


def test_only_the_command_line_prints():
    for path in files():
        if path.relative_to(ROOT).parts[0] in {"cli"}:
            continue
        calls = [node.func for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Call)]
        assert not [call for call in calls if isinstance(call, ast.Name) and call.id == "print"], path


def test_files_stay_small():
    for path in files():
        name = path.relative_to(ROOT).as_posix()
        if name.startswith("synthetic/"):
            continue
        assert len(path.read_text().splitlines()) <= LONGEST, name


def test_tests_import_helpers_and_no_other_test():
    tests = Path(__file__).parent
    for path in sorted(tests.rglob("*.py")):
        names = {name for name in imported(path) if name.split(".")[0] in {"tests", "conftest"}}
        outside = {name for name in names if name != "tests.helpers" and not name.startswith("tests.helpers.")}
        assert not outside, f"{path.relative_to(tests)} imports {sorted(outside)}; move what it needs to tests/helpers"


def test_tests_ask_a_backbone_for_its_model_not_for_its_family():
    for path in sorted(Path(__file__).parent.rglob("*.py")):
        attributes = [node.attr for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Attribute)]
        assert "_family" not in attributes, f"{path}: `DualEncoder.model` is the public way to the weights"


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["--help"],
        ["adapt", "--help"],
        ["backbones"],
        ["methods"],
        ["methods", "coop"],
        ["--version"],
        ["predict", "--help"],
        ["suggest", "--help"],
        ["look", "--help"],
        ["serve", "--help"],
        ["embed", "--help"],
        ["push", "--help"],
        ["info"],
        ["cache"],
        ["bench", "--help"],
        ["pretrain", "mae", "--help"],
        ["pretrain", "classifier", "--help"],
    ],
    ids=" ".join,
)
def test_looking_at_the_command_line_does_not_import_torch(arguments):
    code = (
        "import sys, acclimate\n"
        "if sys.argv[1:]:\n"
        "    from acclimate.cli import main\n"
        "    try: main()\n"
        "    except SystemExit as stop: assert not stop.code, stop.code\n"
        "heavy = {'torch', 'transformers', 'datasets', 'sklearn', 'scipy', 'pandas', 'ray'} & sys.modules.keys()\n"
        "assert not heavy, heavy\n"
    )
    done = run(code, *arguments)
    assert done.returncode == 0, done.stderr


def test_the_interface_is_complete_and_lazy():
    assert set(acclimate.__all__) <= set(dir(acclimate))
    for name in acclimate.__all__:
        assert getattr(acclimate, name) is not None
    with pytest.raises(AttributeError, match="nonsense"):
        _ = acclimate.nonsense
