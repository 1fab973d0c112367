"""Keys that stand twice in a JSON text: plan and machine files are refused for them."""

from __future__ import annotations

import json
from collections.abc import Iterator


def repeated_key(data: bytes) -> str | None:
    """The place of the first key that an object of a JSON text has twice: a decoder would silently take the last.

    Raises ValueError or RecursionError where it is no JSON that can be read.
    """
    # Whole numbers stay texts: Python takes its time to read one of a million digits.
    return next(_repeated_keys(json.loads(data, object_pairs_hook=_Pairs, parse_int=str), "$"), None)


class _Pairs(tuple[tuple[str, object], ...]):
    """A JSON object, as it was written."""

    __slots__ = ()


def _repeated_keys(value: object, place: str) -> Iterator[str]:
    if isinstance(value, _Pairs):
        known: set[str] = set()
        for key, part in value:
            if key in known:
                yield f"{place}.{key}"
            known.add(key)
            yield from _repeated_keys(part, f"{place}.{key}")
    elif isinstance(value, list):
        for number, part in enumerate(value):
            yield from _repeated_keys(part, f"{place}[{number}]")
