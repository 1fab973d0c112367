"""What the verbs share: options, a progress line, JSON out."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import click
from rich.console import Console

as_json = click.option("--json", "as_json", is_flag=True, help="Print one JSON object instead of text.")
target_argument = click.argument("target", metavar="FILE.py:NAME")


@contextmanager
def progress(text: str) -> Iterator[None]:
    """A line on the terminal while something works; nothing where standard error is no terminal."""
    console = Console(stderr=True)
    if not console.is_terminal:
        yield
        return
    with console.status(text):
        yield


def print_json(fields: dict[str, object]) -> None:
    json.dump(fields, sys.stdout, indent=2)
    sys.stdout.write("\n")
