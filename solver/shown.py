"""Texts of files as messages show them: plan and machine files may be from anybody."""

from __future__ import annotations

MOST = 600  # characters


def shown(text: str) -> str:
    """The text without what a terminal would obey, and without the middle of what would fill it."""
    if len(text) > MOST:
        text = f"{text[: MOST // 2]} ... {text[-MOST // 2 :]}"
    return "".join(char if char.isprintable() or char == "\n" else "?" for char in text)
