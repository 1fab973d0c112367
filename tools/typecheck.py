"""Check the types of einsplit, einsplit.solver and einsplit.runtime, and that no file was passed over.

mypy is asked for the package by name, for it then walks through the links einsplit/solver and
einsplit/runtime and knows every module by the name it is imported under. Its closing line says how many files
it read. Fewer than there are mean a broken link or a folder passed over, more a folder without __init__.py
(mypy counts it as one): the wheel would lack it. In both cases a clean result is worth nothing.
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
FOLDERS = ("einsplit", "solver", "runtime")
# "Success: no issues found in 3 source files" or "Found 1 error in 1 file (checked 3 source files)"
NUM_READ = re.compile(r"(?:found in|checked) (\d+) source files?")


def num_files() -> int:
    """Number of .py files in the three folders; links are not followed, so each counts once."""
    return sum(1 for folder in FOLDERS for path in (ROOT / folder).rglob("*.py") if path.is_file())


def main() -> int:
    mypy = subprocess.run(
        [sys.executable, "-m", "mypy", "--strict", "-p", "einsplit"],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
    )
    print(mypy.stdout, end="")
    if mypy.returncode:
        return mypy.returncode
    read = NUM_READ.search(mypy.stdout)
    num_read = int(read.group(1)) if read else 0
    if num_read != num_files():
        print(f"error: mypy read {num_read} of {num_files()}: no __init__.py, or no link?")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
