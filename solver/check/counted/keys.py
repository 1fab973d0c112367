"""Joins that are 0 but where tests `key == index(label)` hold: what they read and add stands where the key says.

A sum over such a label reads one index of it (a lookup); a sum over what the key depends on, with the label in the
result, writes to one index of it (a scatter). `key == index(a) * 4 + index(b)` with 4 indices along b is a key for a
and one for b.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from einsplit.dtypes import kind
from einsplit.errors import DtypeError
from einsplit.graph import Einsum, Label, aggregated_labels, factors
from einsplit.scalar import Expr, call, cast, const, labels_of, operand, operands_of, result_dtype, rewrite, simplify


@dataclass(frozen=True, slots=True)
class Key:
    """The index along `label`, computed for each element along the labels `over`."""

    label: Label
    index: Expr
    over: frozenset[Label]


@dataclass(frozen=True, slots=True)
class Keyed:
    """The keys; what is computed for each element, given whether they are met; operands that are merely multiplied."""

    keys: tuple[Key, ...]
    value: Expr
    multiplied: tuple[int, int] | None

    @property
    def labels(self) -> frozenset[Label]:
        return frozenset(key.label for key in self.keys)

    @property
    def over(self) -> frozenset[Label]:
        return frozenset().union(*(key.over for key in self.keys))


def keyed(node: Einsum, dtypes: Sequence[str], sizes: Mapping[Label, int]) -> Keyed | None:
    """The keys of what is summed over or, failing that, of what is written; None where there is none."""
    summed = frozenset(aggregated_labels(node))
    is_diagonal = any(len(set(row.labels)) < len(row.labels) for row in node.operands)
    if is_diagonal or not summed or node.agg not in ("sum", "any"):
        return None
    tests, body = needed(node.join)
    sides = [summed, frozenset(factors(node))] if node.agg == "sum" else [summed]
    for allowed in sides:
        met: dict[Expr, tuple[Key, ...]] = {}
        for test in tests:
            for keys in _keys_of(node, dtypes, sizes, test):
                if test not in met and _fits(keys, [key for row in met.values() for key in row], allowed):
                    met[test] = keys
        found = _under(node, dtypes, met, body if len(met) == len(tests) else []) if met else None
        if found is not None:
            return found
    return None


def is_nothing(expr: Expr) -> bool:
    """Whether it is the constant 0 or false."""
    while expr.op == "cast":
        (expr,) = expr.args
    return expr.op == "const" and expr.value == 0


def needed(expr: Expr) -> tuple[list[Expr], list[Expr]]:
    """Tests of which each must hold for the expression not to be 0; and the factors that it is where they all do."""
    if expr.op == "where" and is_nothing(expr.args[2]):
        tests, body = needed(expr.args[1])
        return [*_all_of(expr.args[0]), *tests], body
    if expr.op == "where" and is_nothing(expr.args[1]):
        return needed(expr.args[2])[0], [expr]
    if expr.op == "mul":
        (left, of_left), (right, of_right) = map(needed, expr.args)
        return left + right, of_left + of_right
    if expr.op in ("neg", "cast", "stop_gradient", "div"):
        return needed(expr.args[0])[0], [expr]
    return [], [expr]


def _all_of(test: Expr) -> list[Expr]:
    return [part for arg in test.args for part in _all_of(arg)] if test.op == "and" else [test]


def _fits(keys: Sequence[Key], others: Sequence[Key], allowed: frozenset[Label]) -> bool:
    """Whether the keys are of allowed labels that have none yet, and no key is needed to compute another."""
    own, known = {key.label for key in keys}, {key.label for key in others}
    needs_known = any(key.over & known for key in keys)
    is_needed = any(key.over & own for key in others)
    return own <= allowed and not own & known and not needs_known and not is_needed


def _keys_of(node: Einsum, dtypes: Sequence[str], sizes: Mapping[Label, int], test: Expr) -> Iterator[tuple[Key, ...]]:
    """The keys that the test is, taking either side for the index."""
    for side in (0, 1) if test.op == "eq" else ():
        strides, key = _strides(test.args[side], sizes), test.args[1 - side]
        over = labels_of(key).union(*(node.operands[k].labels for k in operands_of(key)))
        if not strides or over & set(strides):
            continue
        try:
            dtype = result_dtype(key, dtypes)
        except DtypeError:
            continue
        # Floats are compared exactly only with an operand: of what is computed, the index is rounded first.
        if kind(dtype) == "complex" or (kind(dtype) == "float" and key.op != "operand"):
            continue
        if len(strides) > 1 and dtype != "int64":
            key = cast(key, "int64")
        found, above = [], 0
        for label, stride in strides.items():
            own = call("floordiv", key, const(stride)) if stride > 1 else key
            own = call("mod", own, const(above // stride)) if above else own
            found.append(Key(label, simplify(own), over))
            above = stride
        yield tuple(found)


def _strides(expr: Expr, sizes: Mapping[Label, int]) -> dict[Label, int]:
    """By label, slowest first, how far apart its indices are in what the expression counts; empty where it does not."""
    terms = _terms(expr)
    if terms is None or len({label for label, _ in terms}) < len(terms):
        return {}
    ordered = sorted(terms, key=lambda term: term[1], reverse=True)
    expected = 1
    for label, stride in reversed(ordered):
        if stride != expected:
            return {}
        expected = stride * sizes[label]
    return dict(ordered)


def _terms(expr: Expr) -> list[tuple[Label, int]] | None:
    """The labels, each with its factor, if the expression is a sum of such."""
    if expr.op == "index" and expr.name is not None:
        return [(expr.name, 1)]
    if expr.op == "cast" and expr.name == "int64":
        return _terms(expr.args[0])
    if expr.op == "add":
        left, right = map(_terms, expr.args)
        return None if left is None or right is None else left + right
    if expr.op == "mul":
        for at, by in (expr.args, expr.args[::-1]):
            if at.op == "index" and at.name is not None and by.op == "const" and type(by.value) is int:
                return [(at.name, by.value)]
    return None


def _under(
    node: Einsum, dtypes: Sequence[str], met: Mapping[Expr, tuple[Key, ...]], body: Sequence[Expr]
) -> Keyed | None:
    """The node where these tests hold; None where what is left of the join still asks for the index of such a label."""
    keys = tuple(key for row in met.values() for key in row)
    value = simplify(rewrite(node.join, lambda part: const(True) if part in met else part))
    if labels_of(value) & {key.label for key in keys}:
        return None
    dtype = result_dtype(node.join, dtypes)
    if result_dtype(value, dtypes) != dtype:
        value = cast(value, dtype)
    nothing = const(False) if dtype == "bool" else cast(const(0), dtype)
    whole = simplify(call("where", operand(len(node.operands)), value, nothing))
    numbers = [part.value for part in body if part.op == "operand" and isinstance(part.value, int)]
    is_pair = len(body) == len(numbers) == len(set(numbers)) == 2
    return Keyed(keys, whole, (numbers[0], numbers[1]) if is_pair else None)
