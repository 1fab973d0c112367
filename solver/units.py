"""Figures for people: three digits and a unit."""

import re

from einsplit.errors import PlanError


def bytes_text(count: float) -> str:
    """With a unit of 1000: `1.5 MB`."""
    return _scaled(count, ("B", "kB", "MB", "GB", "TB"))


_BYTES = re.compile(r"(\d{1,9}(?:\.\d{1,9})?) ?(|k|M|G|T)(i?)B", re.IGNORECASE)
_POWERS = ("", "k", "m", "g", "t")


def bytes_of(text: str) -> int:
    """Bytes as a user writes them: `40GB` (of 1000), `40 GiB` (of 1024), `512 B`. Raises PlanError otherwise."""
    found = _BYTES.fullmatch(text.strip())
    if found is None:
        raise PlanError(f"{text!r} is no number of bytes.", "Write it with its unit, such as 40GB or 38.5 GiB.")
    number, prefix, binary = found.groups()
    return int(float(number) * (1024 if binary else 1000) ** _POWERS.index(prefix.lower()))


def rate_text(per_second: float, unit: str) -> str:
    """With a prefix of 1000: `60 GFLOP/s`."""
    return _scaled(per_second, tuple(f"{prefix}{unit}/s" for prefix in ("", "k", "M", "G", "T", "P")))


def seconds_text(seconds: float) -> str:
    """With a unit: `1.9 ms`."""
    sign, seconds = ("-" if seconds < 0 else ""), abs(seconds)
    if seconds == 0:
        return "0 s"
    for scale, unit in ((1.0, "s"), (1e-3, "ms"), (1e-6, "us")):
        if seconds >= 0.9995 * scale:  # rounded to three digits it has reached the unit
            return f"{sign}{_three_digits(seconds / scale)} {unit}"
    return f"{sign}{_three_digits(seconds * 1e9)} ns"


def _scaled(value: float, units: tuple[str, ...]) -> str:
    for unit in units[:-1]:
        if value < 999.5:
            return f"{_three_digits(value)} {unit}"
        value /= 1000
    return f"{_three_digits(value)} {units[-1]}"


def _three_digits(value: float) -> str:
    return f"{value:.3g}" if value < 999.5 else f"{value:,.0f}"
