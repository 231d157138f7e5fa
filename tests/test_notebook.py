"""The notebook of the documentation, run as a reader runs it, and the page that is made of it."""

from __future__ import annotations

import html
import importlib.util
import json
import re
from pathlib import Path

import pytest
from nbclient import NotebookClient

ROOT = Path(__file__).resolve().parent.parent
NOTEBOOK = ROOT / "docs" / "notebook.ipynb"


def tool(name):
    """One of the programs in tools/."""
    spec = importlib.util.spec_from_file_location(name, ROOT / "tools" / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def code_cells(notebook):
    return [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]


def kinds(cell):
    """What a cell gave: the name of a stream, or the forms of a result."""
    return [output.get("name") or sorted(output["data"]) for output in cell["outputs"]]


def watcher(drawn):
    """What runs a notebook, and keeps what its cells put in the place of other outputs, which is gone at the end."""

    class Watcher(NotebookClient):
        def process_message(self, msg, cell, cell_index):
            if msg["msg_type"] == "update_display_data":
                drawn.append(msg["content"]["data"]["text/html"])
            return super().process_message(msg, cell, cell_index)

    return Watcher


@pytest.mark.slow
def test_it_runs_and_gives_what_it_shows(tmp_path):
    drawn = []
    done, held = tool("notebook").run(NOTEBOOK, tmp_path, watcher(drawn)), json.loads(NOTEBOOK.read_text())
    assert [kinds(cell) for cell in code_cells(done)] == [kinds(cell) for cell in code_cells(held)]
    shown = [output["data"]["text/html"] for cell in code_cells(done) for output in cell["outputs"] if "data" in output
             and "text/html" in output["data"]]  # fmt: skip
    bars, model, report = ("".join(one) for one in shown)
    assert bars == ""  # they are taken away
    assert "linear-probe" in model
    assert re.search(r"<td[^>]*>\d+\.\d \[\d+\.\d, \d+\.\d\]</td>", model)
    page = html.unescape(re.search(r'srcdoc="([^"]*)"', report)[1])
    assert page == (tmp_path / "report.html").read_text()
    assert any(re.search(r'<progress value="[1-9]\d*" max="\d+"></progress> image features', one) for one in drawn)
    assert drawn[-1] == ""


def test_the_page_has_what_the_notebook_shows():
    text, cells = tool("notebook_pages").page(NOTEBOOK), code_cells(json.loads(NOTEBOOK.read_text()))
    assert all("".join(cell["source"]) in text for cell in cells)
    assert text.count("<iframe") == text.count('<div class="acclimate">') == text.count("data:image/png") == 1
    outputs = [part for part in text.split("\n\n") if part.startswith('<div class="output">')]
    assert len(outputs) == 2
    assert all(part.endswith("</div>") for part in outputs)  # no empty line, where Markdown would begin again
    assert "errors" in text
    links = re.findall(r"\]\(([^)\s]+)\)", text)
    assert len(links) > 4
    assert all((NOTEBOOK.parent / link).exists() for link in links)


def test_the_notebook_names_no_place_of_the_machine_that_ran_it():
    text = NOTEBOOK.read_text()
    assert not re.search(r"/(tmp|home|root|work|Users)/", text)
    assert all(cell["execution_count"] for cell in code_cells(json.loads(text)))
