"""Bytes that a device holds over a step, between instructions, as a function of what classes of nodes choose.

    live(t) = sum over nodes v whose own span has t of bytes(v)
              + sum over aliases u whose moved span has t, and whose edge moves something, of bytes(u)

bytes(v) are those of v's value in the layout that its choice leaves. What an instruction takes besides while it runs
is not part of it, so live(t) is never above what the Program holds (`einsplit.solver.program.memory`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from einsplit.solver.contraction.tropical import PriceTable
from einsplit.solver.pricing.repartition import repartition
from einsplit.solver.problem.memo import Edge
from einsplit.solver.sharding import Sharding

if TYPE_CHECKING:
    from einsplit.solver.problem.problem import Problem  # which prices what is held where memory is short

Bytes = npt.NDArray[np.float64]


def live_bytes(problem: Problem, chosen: Sequence[Sharding]) -> npt.NDArray[np.int64]:
    """live(t) for every time of the step, given the choice of each class."""
    memo, spans = problem.memo, problem.memo.liveness
    size = np.array([_value_bytes(problem, number, sharding) for number, sharding in enumerate(chosen)], dtype=np.int64)
    of_node = size[memo.variables]
    change = np.zeros(spans.num_times + 2, dtype=np.int64)
    _stand(change, spans.own_first, spans.own_last, of_node)
    aliases = memo.aliases.tolist()
    of = [_between(problem, at) for at in aliases]
    moved = {(w, r) for w, r in set(of) if _moving(problem, w, r, (chosen[w],), (chosen[r],)).item()}
    rows = np.array([at for at, pair in zip(aliases, of, strict=True) if pair in moved], dtype=np.int64)
    _stand(change, spans.moved_first[rows], spans.moved_last[rows], of_node[rows])
    return np.cumsum(change)[1 : spans.num_times + 1]


def live_tables(problem: Problem, options: Sequence[Sequence[Sharding]], time: int) -> list[PriceTable]:
    """Tables whose sum is live(time), over the options of each class."""
    memo, spans = problem.memo, problem.memo.liveness
    sizes: dict[int, Bytes] = {}

    def size(number: int) -> Bytes:
        if number not in sizes:
            row = [_value_bytes(problem, number, sharding) for sharding in options[number]]
            sizes[number] = np.array(row, dtype=np.float64)
        return sizes[number]

    own = Counter(memo.variables[spans.own_at(time)].tolist())
    found = [PriceTable((number,), count * size(number)) for number, count in sorted(own.items())]
    moved = Counter(_between(problem, int(at)) for at in np.flatnonzero(spans.moved_at(time)))
    for (writer, reader), count in sorted(moved.items()):
        if writer != reader:
            moves = _moving(problem, writer, reader, options[writer], options[reader])
            found.append(PriceTable((writer, reader), count * moves * size(reader)))
    return found


def _stand(
    change: npt.NDArray[np.int64], first: npt.NDArray[np.int64], last: npt.NDArray[np.int64], of: npt.NDArray[np.int64]
) -> None:
    """Add bytes over the spans that are not empty; time -1, before the step, is at place 0 of `change`."""
    real = last >= first
    np.add.at(change, first[real] + 1, of[real])
    np.add.at(change, last[real] + 2, -of[real])


def _value_bytes(problem: Problem, number: int, sharding: Sharding) -> int:
    """Of the value of a class's node, on one device."""
    first = problem.memo.folding.members[number][0]
    shape = problem.shape(first)
    return shape.elements(problem.left(first, sharding)) * shape.itemsize


def _between(problem: Problem, at: int) -> tuple[int, int]:
    """The class of what an alias reads, and its own."""
    stands, variable = problem.memo.stands[at], problem.memo.folding.variable
    return variable[problem.graph.nodes[stands].operands[0].node], variable[stands]


def _moving(
    problem: Problem, writer: int, reader: int, left: Sequence[Sharding], wanted: Sequence[Sharding]
) -> npt.NDArray[np.bool_]:
    """Whether what an alias's class reads of another class is moved, by the choice of either."""
    memo = problem.memo
    of_writer, of_reader = (memo.folding.members[number][0] for number in (writer, reader))
    edge, agg = Edge(of_writer, of_reader, 0), memo.aggs[of_writer]
    rows = [problem.left(of_writer, sharding) for sharding in left]
    columns = [problem.wanted(edge, sharding) for sharding in wanted]
    tiers = problem.machine.tiers
    return np.array([[bool(repartition(row, column, agg, tiers)) for column in columns] for row in rows])
