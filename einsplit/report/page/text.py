"""What a plan file says, made harmless: it may come from anywhere, and none of its text becomes markup or script."""

from __future__ import annotations

import html
import json

from einsplit.solver.plan.explain import printable, shortened

__all__ = ["MAX_LETTERS", "clean", "json_block", "quoted", "tail"]

MAX_LETTERS = 200  # of any text of the plan that stands on the page

# What could end a script element, begin a comment in it, or end a line in JavaScript.
_UNSAFE = {ord(char): f"\\u{ord(char):04x}" for char in "<>&'\u2028\u2029"}


def clean(text: str, letters: int = MAX_LETTERS) -> str:
    """The text without what cannot be printed (controls, lone surrogates, marks that turn the line), not too long."""
    return shortened(printable(text), letters)


def quoted(text: str, letters: int = MAX_LETTERS) -> str:
    """For the text of an element."""
    return html.escape(clean(text, letters))


def tail(name: str, letters: int) -> str:
    """The end of a name, in whole parts where they fit: `…gate_proj.linear`."""
    name = clean(name)
    if len(name) <= letters:
        return name
    end = name[1 - letters :]
    parts = end[end.find(".") + 1 :].removeprefix("*.")
    return "…" + (parts if len(parts) >= letters // 2 else end)


def json_block(value: object) -> str:
    """JSON for a script element of type application/json."""
    return json.dumps(value, ensure_ascii=True, allow_nan=False, separators=(",", ":")).translate(_UNSAFE)
