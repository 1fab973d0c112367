"""Rooms stay small and the three folders stay one package."""

import os
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
FOLDERS = ("einsplit", "solver", "runtime")
MAX_LINES = 300
MAX_FILES = 10


def source_files() -> list[Path]:
    """All .py files of the three folders; the links among them are not followed, so each stands once."""
    return sorted(
        Path(where, name)
        for folder in FOLDERS
        for where, _, names in os.walk(ROOT / folder)
        for name in names
        if name.endswith(".py")
    )


@pytest.mark.parametrize("name", ["solver", "runtime"])
def test_the_folders_are_joined_by_relative_links(name: str) -> None:
    link = ROOT / "einsplit" / name
    assert link.is_symlink(), f"{link} must be a link to ../{name}: copy the repository with its links"
    assert os.readlink(link) == f"../{name}"


def test_no_file_is_longer_than_300_lines() -> None:
    num_lines = {path: len(path.read_text(encoding="utf-8").splitlines()) for path in source_files()}
    assert num_lines, "no source files found"
    long = [f"{path.relative_to(ROOT)}: {n} lines" for path, n in num_lines.items() if n > MAX_LINES]
    assert not long, f"past {MAX_LINES} lines a file is two things; divide it:\n" + "\n".join(long)


def test_no_folder_holds_more_than_ten_files() -> None:
    rooms: dict[Path, list[str]] = {}
    for path in source_files():
        if not path.name.startswith("__"):  # __init__ and __main__ are doors, not rooms
            rooms.setdefault(path.parent, []).append(path.name)
    full = [f"{where.relative_to(ROOT)}: {', '.join(n)}" for where, n in rooms.items() if len(n) > MAX_FILES]
    assert not full, f"past {MAX_FILES} files a folder wants sub-folders:\n" + "\n".join(full)


def test_every_folder_with_code_is_a_package() -> None:
    """Without __init__.py the package finder passes a folder over, and the wheel lacks it."""
    folders = {path.parent for path in source_files()}
    bare = sorted(str(where.relative_to(ROOT)) for where in folders if not (where / "__init__.py").exists())
    assert not bare, f"no __init__.py in {', '.join(bare)}"
