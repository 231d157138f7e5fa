"""A hook of MkDocs: each notebook in docs/ is a page as well, with the outputs that it holds; nothing is run."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

LAST = "This page is [a notebook]({name}), to download and run."


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add a page for each notebook, of its name."""
    for file in [one for one in files if one.src_uri.endswith(".ipynb")]:
        path = Path(str(file.abs_src_path))
        uri = file.src_uri.removesuffix(".ipynb") + ".md"
        files.append(File.generated(config, uri, content=page(path)))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Let links to a notebook lead to its page, but for that of the page itself."""
    own = Path(page.file.src_uri).stem
    return re.sub(rf"(\]\((?!{re.escape(own)}\.)[^)\s:]+)\.ipynb\)", r"\1.md)", markdown)


def page(path: Path) -> str:
    """Return a notebook as Markdown."""
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    parts = [part for cell in cells for part in _parts(cell)]
    return "\n\n".join([*parts, LAST.format(name=path.name)]) + "\n"


def _parts(cell: dict[str, Any]) -> Iterator[str]:
    """Yield the source of a cell, and what it gave."""
    source = "".join(cell["source"])
    if cell["cell_type"] == "markdown":
        yield source
        return
    yield f"```python\n{source}\n```"
    for output in cell["outputs"]:
        yield from _shown(output)


def _shown(output: dict[str, Any]) -> Iterator[str]:
    """Yield an output in the richest form that it has, as a notebook does."""
    data = output.get("data", {"text/plain": output.get("text", "")})
    if html := "".join(data.get("text/html", "")):
        yield f'<div class="output">{re.sub(chr(10) + "{2,}", chr(10), html.strip())}</div>'  # else Markdown again
    elif image := data.get("image/png"):
        yield f'<img alt="" src="data:image/png;base64,{"".join(image).strip()}">'
    elif "text/html" not in data and (text := "".join(data["text/plain"]).rstrip()):
        yield f"```text\n{text}\n```"
