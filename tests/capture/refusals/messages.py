"""The message with which a function is refused, held against the one in its docstring."""

from __future__ import annotations

import inspect
from collections.abc import Callable

import pytest

from einsplit.capture import capture
from einsplit.errors import CaptureError


def functions_of(table: type) -> dict[str, Callable[..., object]]:
    """The static methods of a class, by name."""
    return {name: part.__func__ for name, part in vars(table).items() if isinstance(part, staticmethod)}


def message_of(function: Callable[..., object], *args: object) -> str:
    """Of an error that keeps what is wrong, where, and what to change apart."""
    with pytest.raises(CaptureError) as caught:
        capture(function, args, {})
    parts = (caught.value.mistake, *caught.value.remarks)
    assert len(parts) > 1 and not any("\n" in part for part in parts)
    return str(caught.value)


def expected_of(function: Callable[..., object]) -> str:
    """The message in the docstring: what is wrong; indented by two, where (the marked line), and what to change."""
    lines, start = inspect.getsourcelines(function)
    number = next((start + k for k, line in enumerate(lines) if line.endswith("# here\n")), 0)
    text = "\n  ".join(line.strip() for line in (function.__doc__ or "").splitlines())
    return text.replace("{here}", f"{inspect.getsourcefile(function)}:{number}")
