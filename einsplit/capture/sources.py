"""The user's own line, in a list of calls that is mostly other people's."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path
from types import TracebackType

import torch

_OTHERS = tuple(f"{folder}/" for folder in (Path(torch.__file__).parent, Path(__file__).parent.parent))


def line_of_trace(text: str) -> str:
    """`file:line` of the innermost call, in a printed stack, that is neither torch's nor einsplit's."""
    return _innermost(re.findall(r'File "([^"]+)", line (\d+)', text))


def line_of_error(error: BaseException) -> str:
    """`file:line` of the innermost call under an exception that is neither torch's nor einsplit's."""
    calls = []
    trace: TracebackType | None = error.__traceback__
    while trace is not None:
        calls.append((trace.tb_frame.f_code.co_filename, str(trace.tb_lineno)))
        trace = trace.tb_next
    return _innermost(calls)


def _innermost(calls: Iterable[tuple[str, str]]) -> str:
    own = [f"{file}:{line}" for file, line in calls if not file.startswith(_OTHERS) and Path(file).is_file()]
    return own[-1] if own else ""


def mistake(text: str, place: str, advice: str) -> str:
    """A finished message: what is wrong, the user's line, what to change."""
    return f"{text}\n" + (f"  at {place}\n" if place else "") + f"  {advice}"
