"""The rules of the house: who imports whom, and what may not be imported at all."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import acclimate
from tests.helpers.waiting import HANG

ROOT = Path(acclimate.__file__).parent
ORDER = (
    ("cli",),
    ("bench",),
    ("runs",),
    ("protocols", "pretraining", "describing"),
    ("methods",),
    ("training",),
    ("backbones",),
    ("prompts",),
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
        ["--version"],
        ["predict", "--help"],
        ["bench", "--help"],
        ["pretrain", "mae", "--help"],
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
        "heavy = {'torch', 'transformers', 'datasets', 'sklearn', 'scipy', 'pandas'} & sys.modules.keys()\n"
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
