"""What the words of a pin name: nodes, labels and mesh axes of the program and machine at hand."""

from __future__ import annotations

import re
from collections.abc import Sequence
from fnmatch import fnmatchcase

from einsplit.errors import PlanError, advice
from einsplit.graph import Graph, Label, node_labels, node_text
from einsplit.solver.machine import Machine
from einsplit.solver.pins.text import Word
from einsplit.solver.plan.kinds import kind_of, uncounted

MANY = 12  # names that an error lists


def matches(pattern: str, name: str) -> bool:
    """Whether `*` and `?` of the pattern can stand for what the name has; brackets are themselves."""
    return fnmatchcase(name, pattern.replace("[", "[[]"))


def nodes_named(graph: Graph, text: str, word: Word, outputs: bool = False) -> tuple[int, ...]:
    """The nodes of this very name; else those that explain prints in a row of it; else those that it matches.

    `outputs`: names of the graph's outputs count, and are those of the nodes that hand them out. Raises PlanError.
    """
    given = word.text
    every = range(len(graph.nodes))
    own = [at for name, at in graph.outputs if name == given] if outputs else []
    # The first that finds any: a name that is meant literally is not taken for a pattern.
    found: Sequence[int] = (
        own
        or [at for at in every if graph.nodes[at].name == given]
        or [at for at in every if node_text(graph.nodes[at]) == given]
        or [at for at in every if kind_of(graph.nodes[at].name) == given]
        or [at for at in every if any(matches(given, name) for name in _names(graph.nodes[at].name))]
    )
    if not found:
        names = [node.name for node in graph.nodes] + ([name for name, _ in graph.outputs] if outputs else [])
        raise PlanError(f"no node is called {given!r}.", _advice(given, names, "Nodes")).at(text, word.span)
    return tuple(found)


def _names(name: str) -> tuple[str, str]:
    return name, uncounted(name)


def labels_named(graph: Graph, text: str, word: Word) -> frozenset[Label]:
    """The label of this name, or those that it matches. Raises PlanError."""
    every = sorted({label for node in graph.nodes for label in node_labels(node)})
    found = [label for label in every if label == word.text] or [label for label in every if matches(word.text, label)]
    if not found:
        mistake = f"no label is called {word.text!r}."
        raise PlanError(mistake, _advice(word.text, every, "Labels")).at(text, word.span)
    return frozenset(found)


def axes_named(machine: Machine, text: str, words: Sequence[Word]) -> tuple[int, ...]:
    """The mesh axes that the words name, each once; all of them, where there are no words. Raises PlanError."""
    found = [axis for word in words for axis in _axes_named(machine, text, word)]
    return tuple(dict.fromkeys(found)) if words else tuple(range(len(machine.axes)))


def _axes_named(machine: Machine, text: str, word: Word) -> Sequence[int]:
    names, given = [axis.name for axis in machine.axes], word.text
    if given in names:
        return [names.index(given)]
    if ends := re.fullmatch(r"(.*?)([0-9]{1,9})-([0-9]{1,9})", given):
        first, last = int(ends[2]), int(ends[3])
        rows = [f"{ends[1]}{k}" for k in range(first, min(last, first + len(names)) + 1)]
        if rows and all(name in names for name in rows):
            return [names.index(name) for name in rows]
    of_tier = [at for at, name in enumerate(names) if re.fullmatch(re.escape(given) + "[0-9]+", name)]
    found = of_tier or [at for at, name in enumerate(names) if matches(given, name)]
    if not found:
        mistake = f"machine {machine.name!r} has no mesh axis {given!r}."
        raise PlanError(mistake, _advice(given, names, "Mesh axes")).at(text, word.span)
    return found


def _advice(word: str, known: Sequence[str], title: str) -> str:
    found = advice(word, known, title)
    many = len(known) > MANY and found.startswith(title)
    return f"{title}: {' '.join(known[:MANY])} and {len(known) - MANY:,} more." if many else found
