"""Joins that a key decides: `where(key == index(l), value, 0)` differs from 0 at one index of l only, the key.

Summed over l it is a lookup, `value` read at l = key; summed over the key's own labels, with l in the result, it is a
scatter, every element of `value` added where its key says. What stands along l is never gone through. A key that equals
the index of a composite dimension, `key == index(a) * 4 + index(b)`, is a key for each of its labels.

A factor beside the choice, as in `where(key == index(l), dz, 0) * w`, is taken to be finite: 0 times it is 0.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from einsplit.dtypes import kind
from einsplit.errors import DtypeError
from einsplit.graph import Einsum, Label, aggregated_labels, factors
from einsplit.scalar import (
    Expr,
    call,
    cast,
    const,
    labels_of,
    operand,
    operands_of,
    result_dtype,
    rewrite,
    simplify,
)


@dataclass(frozen=True, slots=True)
class Key:
    """Of a label only the index that equals `expr` counts; `labels` are those that the key itself depends on."""

    label: Label
    expr: Expr
    labels: tuple[Label, ...]


@dataclass(frozen=True, slots=True)
class Keyed:
    """A node whose join is 0 unless every key is met.

    `join` is what it is then: its last operand, numbered after the node's own, says whether the keys are met.
    `product` are the two operands whose product that is, where it is nothing else.
    """

    keys: tuple[Key, ...]
    join: Expr
    product: tuple[int, int] | None


def keyed(node: Einsum, dtypes: Sequence[str], sizes: Mapping[Label, int]) -> Keyed | None:
    """The keys of a sum: of labels it sums over, else of labels of its result; None where it has neither."""
    summed = aggregated_labels(node)
    distinct = all(len(set(row.labels)) == len(row.labels) for row in node.operands)
    if not summed or not distinct or node.agg not in ("sum", "any"):
        return None
    tests, core = _choice(node.join)
    among = [set(summed), set(factors(node))] if node.agg == "sum" else [set(summed)]
    for labels in among:
        met = _met_keys(node, dtypes, sizes, tests, labels)
        found = _keyed(node, dtypes, met, core if len(met) == len(tests) else ()) if met else None
        if found is not None:
            return found
    return None


def is_zero(expr: Expr) -> bool:
    """Whether it is the constant 0 (or false) of any dtype."""
    if expr.op == "cast":
        return is_zero(expr.args[0])
    return expr.op == "const" and expr.value == 0


def _choice(expr: Expr) -> tuple[list[Expr], tuple[Expr, ...]]:
    """Tests without which the expression is 0, and the factors of what it is where they hold."""
    if expr.op == "where":
        test, yes, no = expr.args
        if is_zero(no):
            tests, core = _choice(yes)
            return [*_conjuncts(test), *tests], core
        if is_zero(yes):
            return _choice(no)[0], (expr,)
    if expr.op == "mul":
        left, right = map(_choice, expr.args)
        return [*left[0], *right[0]], (*left[1], *right[1])
    if expr.op in ("neg", "cast", "stop_gradient", "div"):
        return _choice(expr.args[0])[0], (expr,)
    return [], (expr,)


def _conjuncts(test: Expr) -> list[Expr]:
    if test.op == "and":
        return [part for arg in test.args for part in _conjuncts(arg)]
    return [test]


def _met_keys(
    node: Einsum, dtypes: Sequence[str], sizes: Mapping[Label, int], tests: Sequence[Expr], labels: set[Label]
) -> dict[Expr, tuple[Key, ...]]:
    """Tests that are keys of some of `labels`; no key depends on a label that has one."""
    found: dict[Expr, tuple[Key, ...]] = {}
    for test in tests:
        for keys in _readings(node, dtypes, sizes, test):
            own = {key.label for key in keys}
            above = {key for row in found.values() for key in row}
            chained = own & {label for key in above for label in key.labels}
            chained |= {label for key in keys for label in key.labels} & {key.label for key in above}
            if test not in found and own <= labels and not chained and not own & {key.label for key in above}:
                found[test] = keys
    return found


def _readings(node: Einsum, dtypes: Sequence[str], sizes: Mapping[Label, int], test: Expr) -> Iterator[tuple[Key, ...]]:
    """What a test `key == index(l)` says, read either way."""
    if test.op != "eq":
        return
    for side, other in (test.args, test.args[::-1]):
        row = _index_row(side, sizes)
        read = labels_of(other).union(*(node.operands[k].labels for k in operands_of(other)))
        if not row or read & {label for label, _ in row}:
            continue
        try:
            dtype = result_dtype(other, dtypes)
        except DtypeError:
            continue
        of = kind(dtype)
        if len(row) > 1 and dtype != "int64":  # a small dtype may not hold the strides
            other = cast(other, "int64")
        # Beside a number that is no integer, an index is rounded; a plain one is compared exactly.
        if of in ("int", "bool") or (of == "float" and other.op == "operand"):
            order = tuple(sorted(read))
            yield tuple(Key(label, simplify(_digit(other, row, at)), order) for at, (label, _) in enumerate(row))


def _digit(key: Expr, row: Sequence[tuple[Label, int]], at: int) -> Expr:
    """`key // stride % size` of one label of a composite dimension; the slowest tells what is out of range."""
    stride = row[at][1]
    share = call("floordiv", key, const(stride)) if stride != 1 else key
    return call("mod", share, const(row[at - 1][1] // stride)) if at else share


def _index_row(expr: Expr, sizes: Mapping[Label, int]) -> list[tuple[Label, int]]:
    """The labels of which the expression is the composite index, each with its stride, slowest first; else none."""
    row = sorted(_index_terms(expr), key=lambda term: -term[1])
    strides = [stride for _, stride in row]
    wanted = [stride * sizes.get(label, 0) for label, stride in row[1:]]  # what is not known nests nowhere
    nested = strides[:-1] == wanted and strides[-1:] == [1]
    return row if nested and len({label for label, _ in row}) == len(row) else []


def _index_terms(expr: Expr) -> list[tuple[Label, int]]:
    """The (label, stride) of a sum of indices; a stride of 0 where there is anything else in it."""
    if expr.op == "index":
        return [(str(expr.name), 1)]
    if expr.op == "cast" and expr.name == "int64":
        return _index_terms(expr.args[0])
    if expr.op == "add":
        return [term for arg in expr.args for term in _index_terms(arg)]
    if expr.op == "mul":
        for label, factor in (expr.args, expr.args[::-1]):
            if label.op == "index" and factor.op == "const" and type(factor.value) is int:
                return [(str(label.name), factor.value)]
    return [("", 0)]


def _keyed(
    node: Einsum, dtypes: Sequence[str], met: Mapping[Expr, tuple[Key, ...]], core: Sequence[Expr]
) -> Keyed | None:
    """The node under these keys; None where something else of the join asks for the index of a label that has one."""
    keys = tuple(key for row in met.values() for key in row)
    value = simplify(rewrite(node.join, lambda part: const(True) if part in met else part))
    if labels_of(value) & {key.label for key in keys}:
        return None
    dtype = result_dtype(node.join, dtypes)
    if result_dtype(value, dtypes) != dtype:  # it was the zero that gave the dtype
        value = cast(value, dtype)
    zero = const(False) if dtype == "bool" else cast(const(0), dtype)
    join = simplify(call("where", operand(len(node.operands)), value, zero))
    pair = tuple(int(part.value or 0) for part in core if part.op == "operand")
    product = (pair[0], pair[1]) if len(pair) == len(core) == 2 and pair[0] != pair[1] else None
    return Keyed(keys, join, product)
