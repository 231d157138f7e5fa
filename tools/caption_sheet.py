"""A sample sheet of captions: images of a test split, what people wrote about each, and what each run writes.

Images are named, not shown, since those of the shared data sets may not be passed on.

    python tools/caption_sheet.py runs/limber runs/aape --data flickr8k_1000 --images 6 --out sheet.md
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

import acclimate


def main() -> None:
    """Write the sheet."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("runs", nargs="+", type=Path, help="run folders; LABEL=FOLDER gives one another name")
    parser.add_argument("--data", required=True, help="captions, whose test images are described")
    parser.add_argument("--images", type=int, default=6, help="how many of them, drawn")
    parser.add_argument("--seed", type=int, default=1, help="of the draw")
    parser.add_argument("--out", type=Path, required=True, help="file to write, in Markdown")
    given = parser.parse_args()
    test = acclimate.load_captions(given.data).test
    drawn = sorted(np.random.default_rng(given.seed).choice(len(test), min(given.images, len(test)), replace=False))
    named = [str(run).rpartition("=") for run in given.runs]
    runs = {label or Path(folder).name: acclimate.load(folder) for label, _, folder in named}
    written = {
        label: [row.caption for row in run.predict([test.paths[row] for row in drawn])] for label, run in runs.items()
    }
    lines = []
    for place, row in enumerate(drawn):
        lines += [f"**{Path(test.paths[row]).name}**", "", "| who | what |", "|---|---|"]
        lines += [f"| people | {caption} |" for caption in test.captions[row]]
        lines += [f"| {label} | {captions[place]} |" for label, captions in written.items()] + [""]
    given.out.write_text("\n".join(lines), encoding="utf-8")


if __name__ == "__main__":
    main()
