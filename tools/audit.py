"""Ask a database of known vulnerabilities about an environment; where it cannot be asked, say so and go on.

    python tools/audit.py .venv

The exit code is 1 where a package has a known vulnerability that a newer version mends, and 0 otherwise: what nobody
has mended, and a database out of reach, are told and are no reason to stop.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

SECONDS = 45  # that the database may take
AUDITOR = ("-m", "pip_audit", "--format", "json", "--progress-spinner", "off", "--timeout", "10")


def ask(environment: Path) -> list[dict[str, Any]] | str:
    """Return what is known of the packages of an environment, or why it is not known."""
    (packages,) = (environment / "lib").glob("python*/site-packages")
    words = [sys.executable, *AUDITOR, "--path", str(packages)]
    try:
        done = subprocess.run(words, capture_output=True, text=True, timeout=SECONDS, check=False)
        found: list[dict[str, Any]] = json.loads(done.stdout)["dependencies"]
    except subprocess.TimeoutExpired:
        return f"no answer within {SECONDS} s"
    except (ValueError, KeyError, TypeError):
        return (done.stderr.strip().splitlines() or ["no answer"])[-1]
    return found


def report(found: list[dict[str, Any]]) -> int:
    """Print what is known, and return the exit code."""
    asked = [one for one in found if "skip_reason" not in one]
    print(f"{len(asked)} of {len(found)} packages are known to the database")
    mended = 0
    for package in asked:
        for one in package.get("vulns", []):
            fixes = ", ".join(one.get("fix_versions") or []) or "nobody has mended it"
            print(f"{package['name']} {package['version']}: {one['id']} ({fixes})")
            mended += bool(one.get("fix_versions"))
    return 1 if mended else 0


def main() -> int:
    """Read the command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("environment", type=Path, help="virtual environment")
    found = ask(parser.parse_args().environment)
    if isinstance(found, str):
        print(f"not audited: {found}")
        return 0
    return report(found)


if __name__ == "__main__":
    sys.exit(main())
