"""Methods of modules outside the package."""

from __future__ import annotations

import sys

import pytest

from acclimate.errors import ConfigError
from acclimate.methods import get_method, load_plugin, registry

OWN = """
from dataclasses import dataclass

from acclimate.methods import Method, register


@register
class Own(Method):
    name = "own"
    title = "A method of one's own"
"""


@pytest.fixture
def registered(monkeypatch):
    """What a test registers and imports is forgotten after it."""
    get_method("coop")
    monkeypatch.setattr(registry, "_METHODS", dict(registry._METHODS))
    monkeypatch.setattr(sys, "path", list(sys.path))
    known = set(sys.modules)
    yield
    for name in set(sys.modules) - known:
        del sys.modules[name]


@pytest.mark.usefixtures("registered")
def test_a_file_and_a_module_of_the_working_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("first_plugin", "second_plugin"):
        (tmp_path / f"{name}.py").write_text(OWN.replace('"own"', f'"{name}"'))
    found = load_plugin("first_plugin.py")
    assert found == str(tmp_path / "first_plugin.py")  # other processes may work elsewhere
    assert load_plugin("second_plugin") == "second_plugin"
    assert load_plugin(found) == found  # once more changes nothing
    assert [get_method(name).name for name in ("first_plugin", "second_plugin")] == ["first_plugin", "second_plugin"]


@pytest.mark.usefixtures("registered")
@pytest.mark.parametrize(
    ("plugin", "text", "words"),
    [
        ("nowhere", None, "plugin nowhere: cannot be imported (ModuleNotFoundError: No module named 'nowhere')"),
        ("nowhere.py", None, "no such file"),
        ("broken.py", "1 / 0", "plugin broken.py: cannot be imported (ZeroDivisionError: division by zero)"),
        ("json.py", OWN, "another module is named json; rename the file"),
        ("taken.py", OWN.replace('"own"', '"coop"'), "two methods are named 'coop'"),
    ],
)
def test_what_cannot_be_imported(tmp_path, monkeypatch, plugin, text, words):
    monkeypatch.chdir(tmp_path)
    if text is not None:
        (tmp_path / plugin).write_text(text)
    before = dict(registry._METHODS)
    with pytest.raises(ConfigError) as caught:
        load_plugin(plugin)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)
    assert before == registry._METHODS
