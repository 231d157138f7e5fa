"""Install the wheel in a folder into an empty environment, and see that it works there, far from the sources.

    python tools/try_wheel.py dist --sbom dist/sbom.json

With --borrow, the packages that the wheel needs are those of another environment, which takes seconds in place of a
minute; the wheel itself is installed all the same.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import venv
from pathlib import Path

LOOK = """
import acclimate
from acclimate.backbones import list_backbones, load_backbone
from pathlib import Path
assert "site-packages" in acclimate.__file__, acclimate.__file__
model = load_backbone("mini-clip")
print(model.describe()["parameters"], "parameters of mini-clip;", len(list_backbones()), "backbones known")
"""


def run(*words: str | Path, folder: Path) -> str:
    """Run a command in a folder, and return what it prints.

    Raises:
        SystemExit: it fails.
    """
    done = subprocess.run([str(word) for word in words], cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"{' '.join(str(word) for word in words)} failed:\n{done.stdout}{done.stderr}")
    return done.stdout


def try_wheel(wheel: Path, constraints: Path, borrow: Path | None, sbom: Path | None) -> None:
    """Install a wheel, look at it from a folder of its own, and list what is installed."""
    with tempfile.TemporaryDirectory() as place:
        empty, away = Path(place, "empty"), Path(place, "away")
        away.mkdir()
        venv.create(empty, with_pip=True)
        python, alone = empty / "bin" / "python", ["--no-deps"] if borrow else []
        run(python, "-m", "pip", "install", "--quiet", "--constraint", constraints, *alone, wheel, folder=away)
        if borrow:
            (own,) = (empty / "lib").glob("python*/site-packages")
            (other,) = (borrow / "lib").glob("python*/site-packages")
            (own / "borrowed.pth").write_text(f"{other}\n", encoding="utf-8")
        version = run(empty / "bin" / "acclimate", "--version", folder=away).strip()
        named = wheel.name.split("-")[1]
        if version != f"acclimate {named}":
            sys.exit(f"{wheel.name} says of itself that it is {version!r}")
        print(version, "from", wheel.name)
        run(empty / "bin" / "acclimate", "info", folder=away)
        run(empty / "bin" / "acclimate", "methods", folder=away)
        print(run(python, "-c", LOOK, folder=away).strip())
        if not borrow:
            print(run(python, "-m", "pip", "check", folder=away).strip())
        if sbom is not None:
            environment = borrow or empty
            tool = Path(sys.executable).with_name("cyclonedx-py")
            how = ("--sv", "1.6", "--output-reproducible", "-o", sbom.resolve())
            run(tool, "environment", environment / "bin" / "python", *how, folder=away)
            print("components are listed in", sbom)


def main() -> None:
    """Read the command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("dist", type=Path, help="folder with one wheel")
    parser.add_argument("--borrow", type=Path, help="environment whose packages are used")
    parser.add_argument("--sbom", type=Path, help="CycloneDX file to write")
    told = parser.parse_args()
    (wheel,) = told.dist.glob("*.whl")
    try_wheel(wheel.resolve(), Path("constraints.txt").resolve(), told.borrow and told.borrow.resolve(), told.sbom)


if __name__ == "__main__":
    main()
