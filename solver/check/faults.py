"""What a check finds: a verdict, and every fault with its place in the plan file."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Verdict = Literal["ok", "wrong", "not checked"]


@dataclass(frozen=True, slots=True)
class Fault:
    """A place in the plan file, the node that stands there if one does, and what is wrong."""

    place: str
    node: str
    mistake: str

    def __str__(self) -> str:
        return f"{self.place}{f' ({self.node})' if self.node else ''}: {self.mistake}"


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that must hold; `about` says what was found, or why nothing was looked for."""

    name: str
    verdict: Verdict
    about: str
    faults: tuple[Fault, ...] = ()
