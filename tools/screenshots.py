"""Screenshots of a page, for the docs: `python tools/screenshots.py report.html docs/images/report`.

Writes OUT-1400.webp and OUT-400.webp, the top of the page in windows of these widths, by Debian's chromium.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from PIL import Image

HEIGHTS = {1400: 1500, 400: 1000}
NARROWEST = 500  # of a window of chromium; a narrower page stands in a frame
QUIET = ("--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--disable-background-networking")


def screenshot(page: Path, width: int, height: int, out: Path) -> None:
    """Write the top of a page as it looks in a window of some width, in pixels."""
    with tempfile.TemporaryDirectory() as folder:
        shown = page.resolve()
        if width < NARROWEST:
            shown = Path(folder) / "frame.html"
            frame = f'<iframe src="{page.resolve().as_uri()}" width="{width}" height="{height}"'
            shown.write_text(f'<body style="margin:0">{frame} style="border:0"></iframe>')
        shot = Path(folder) / "shot.png"
        words = (f"--window-size={max(width, NARROWEST)},{height}", f"--screenshot={shot}", f"--user-data-dir={folder}")
        subprocess.run(["chromium", *QUIET, *words, shown.as_uri()], check=True, capture_output=True)
        with Image.open(shot) as image:
            image.convert("RGB").crop((0, 0, width, height)).save(out, quality=80)


def main() -> None:
    """Write both."""
    if len(sys.argv) != 3:
        sys.exit(f"usage: {sys.argv[0]} PAGE OUT")
    if shutil.which("chromium") is None:
        sys.exit("chromium is not there; install Debian's package chromium")
    for width, height in HEIGHTS.items():
        screenshot(Path(sys.argv[1]), width, height, Path(f"{sys.argv[2]}-{width}.webp"))


if __name__ == "__main__":
    main()
