"""The user's own line, in a stack of calls that is mostly other people's."""

from __future__ import annotations

import inspect
import sys
import sysconfig
from collections.abc import Callable
from contextlib import AbstractContextManager
from functools import cache
from pathlib import Path
from types import FrameType

import torch
from torch.fx import Node
from torch.fx.traceback import annotate

from einsplit.capture.calls import EveryCall
from einsplit.errors import CaptureError

_OTHERS = tuple(f"{folder}/" for folder in (Path(torch.__file__).parent, Path(__file__).parent.parent))
_STANDARD = sysconfig.get_path("stdlib") + "/"
_TRACING = str(Path(__file__).parent / "export" / "tracing.py")  # which calls the user's function
_KEY = "einsplit.line"


class RecordedLines(EveryCall):
    """Inside, every operator that torch.export records is told the user's line that called it.

    torch itself records the lines of methods that are named `forward`, and no others.
    """

    def around(self, func: Callable[..., object]) -> AbstractContextManager[object]:
        return annotate({_KEY: _line_of_frame(sys._getframe(1))})


def line_of_node(node: Node) -> str:
    """`file:line` of the user's call that recorded the operator; empty where it is not known."""
    return str((node.meta.get("custom") or {}).get(_KEY, ""))


def line_of_error(error: BaseException) -> str:
    """`file:line` of the innermost call under an exception that is neither torch's nor einsplit's."""
    line = ""
    trace = error.__traceback__
    while trace is not None:
        if _is_users(trace.tb_frame.f_code.co_filename):
            line = f"{trace.tb_frame.f_code.co_filename}:{trace.tb_lineno}"
        trace = trace.tb_next
    return line


def line_of_class(written: type) -> str:
    """`file:line` where a class is written; empty where its source is not at hand."""
    try:
        return f"{inspect.getsourcefile(written)}:{inspect.getsourcelines(written)[1]}"
    except (OSError, TypeError):  # typed at a prompt, or written in C
        return ""


def _line_of_frame(frame: FrameType | None) -> str:
    """The innermost of the user's lines under the traced call; above that are those of who asked for the tracing."""
    while frame is not None and not _is_users(frame.f_code.co_filename):
        frame = None if frame.f_code.co_filename == _TRACING else frame.f_back
    return f"{frame.f_code.co_filename}:{frame.f_lineno}" if frame is not None else ""


@cache
def _is_users(file: str) -> bool:
    is_standard = file.startswith(_STANDARD) and "site-packages" not in file
    return not file.startswith(_OTHERS) and not is_standard and Path(file).is_file()


def capture_error(mistake: str, line: str, advice: str) -> CaptureError:
    """What is wrong, and as remarks the user's line, where there is one, and what to change."""
    return CaptureError(mistake, f"at {line}" if line else "", advice)
