"""Why no label can cut a node, and where in the user's code it comes from."""

from __future__ import annotations

import json
import linecache
from collections.abc import Mapping
from pathlib import Path

from einsplit.graph import Kernel, Label, Node, node_labels
from einsplit.notation.dims import dims_shape
from einsplit.solver.sharding import cuttable_labels

# By kernel; {operator}, {shapes} and {kernel} are filled in.
_WHY = {
    "aten": "einsplit knows no way to cut {operator} here",
    "aten_vjp": "einsplit knows no way to cut the gradient of {operator} here",
    "reshape": "no labels express the view {shapes}",
}
_WHY_OTHERWISE = "{kernel} needs each of its labels whole"
SINGLE = "a single number"


def runs_whole(node: Node, sizes: Mapping[Label, int]) -> bool:
    """Whether the node has labels that are long enough to be cut, and none of them may be."""
    free = any(sizes[label] > 1 for label in cuttable_labels(node))
    return not free and any(sizes[label] > 1 for label in node_labels(node))


def why_whole(node: Node, sizes: Mapping[Label, int]) -> str:
    """Why nothing cuts the node; empty where a label can."""
    if any(sizes[label] > 1 for label in cuttable_labels(node)):
        return ""
    if not isinstance(node, Kernel) or not runs_whole(node, sizes):
        return SINGLE
    operator = str(json.loads(node.attributes).get("op", node.kernel))
    shapes = " -> ".join(" x ".join(map(str, dims_shape(dims, sizes))) for dims in (*node.reads[:1], node.dims))
    return _WHY.get(node.kernel, _WHY_OTHERWISE).format(operator=operator, shapes=shapes, kernel=node.kernel)


def line_text(source: str, short: bool = False) -> str:
    """`at model.py:14: y = torch.linalg.svd(x)`; empty where the line is not known.

    `short` leaves out what folders a terminal's reader knows: the working directory, and where packages are installed.
    """
    file, _, number = source.rpartition(":")
    if not file or not number.isdigit():
        return ""
    code = linecache.getline(file, int(number)).strip()
    shown = _short(file) if short else file
    return f"at {shown}:{number}" + (f": {code}" if code else "")


def _short(file: str) -> str:
    path = Path(file)
    if path.is_relative_to(Path.cwd()):
        return str(path.relative_to(Path.cwd()))
    _, installed, rest = file.rpartition("/site-packages/")
    return rest if installed else file
