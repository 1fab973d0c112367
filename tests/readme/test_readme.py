"""Every snippet of the README runs, and prints what the README says it prints.

A `python` block is the file that its first line names; `pycon` blocks are doctests; a `console` block is commands, each
with its output, run beside the files. `...` in an output stands for anything: times differ from run to run.
"""

import doctest
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).resolve().parents[2]
TEXT = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```(\w*)\n(.*?)^```$", TEXT, re.MULTILINE | re.DOTALL)
PROGRAMS = {"python": [sys.executable], "einsplit": [sys.executable, "-m", "einsplit"]}


def blocks(language: str) -> list[str]:
    return [text for found, text in BLOCKS if found == language]


def commands() -> list[tuple[str, str]]:
    """Every command of the console blocks and its output, in order."""
    found: list[tuple[str, str]] = []
    for text in blocks("console"):
        for part in re.split(r"^\$ ", text, flags=re.MULTILINE)[1:]:
            command, _, output = part.partition("\n")
            found.append((command, output))
    return found


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """The README's files, as a reader would have saved them."""
    where = tmp_path_factory.mktemp("reader")
    for text in blocks("python"):
        name = re.match(r"# (\w+\.py)\n", text)
        assert name, f"a python block must say its file name:\n{text}"
        (where / name[1]).write_text(text, encoding="utf-8")
    return where


def test_every_command_prints_what_the_readme_says(folder):
    """One test, because commands use files of those before them."""
    assert commands()
    for command, expected in commands():
        program, *arguments = shlex.split(command)
        done = subprocess.run(
            [*PROGRAMS[program], *arguments],
            cwd=folder,
            env=os.environ | {"PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert done.returncode == 0, f"$ {command}\n{done.stdout}{done.stderr}"
        same = doctest.OutputChecker().check_output(expected, done.stdout, doctest.ELLIPSIS)
        assert same, f"$ {command}\n{done.stdout}\nand the README says\n{expected}"


@pytest.mark.parametrize("text", blocks("pycon"))
def test_every_session_answers_what_the_readme_says(text):
    example = doctest.DocTestParser().get_doctest(text, {}, "README.md", "README.md", 0)
    said: list[str] = []
    with np.printoptions(precision=8, floatmode="maxprec"):
        failed = doctest.DocTestRunner().run(example, out=said.append).failed
    assert not failed, "".join(said)


def test_every_target_that_the_readme_names_is_in_the_makefile():
    named = set(re.findall(r"(?:^|`)make (\w+)", TEXT, re.MULTILINE))
    targets = re.findall(r"^(\w+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
    assert {"demo", "test"} <= named <= set(targets)


def test_every_link_into_the_repository_leads_somewhere():
    for target in re.findall(r"\]\((?!https?:)([^)#]+)\)", TEXT):
        assert (ROOT / target).exists(), target
