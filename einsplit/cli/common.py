"""What the verbs share: options, a progress line, JSON out."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stdout

import click
from rich.console import Console
from rich.markup import escape

as_json = click.option("--json", "as_json", is_flag=True, help="Print one JSON object instead of text.")
target_argument = click.argument("target", metavar="FILE.py:NAME")


@contextmanager
def progress(text: str) -> Iterator[Callable[[str], None]]:
    """A line on the terminal while something works, and a function that changes it.

    Nothing is written where standard error is no terminal.
    """
    console = Console(stderr=True)
    if not console.is_terminal:
        yield lambda changed: None
        return
    with console.status(escape(text)) as status:
        yield lambda changed: status.update(escape(changed))


@contextmanager
def users_code() -> Iterator[None]:
    """What the user's own code prints goes to the error output: ours is for results, and may be JSON."""
    with redirect_stdout(sys.stderr):
        yield


def print_json(fields: dict[str, object]) -> None:
    """One JSON object on standard output, indented."""
    click.echo(json.dumps(fields, indent=2))
