"""Expr -> typed steps: every operation once, each in its dtype, in an order that can be run.

Weak values get their dtype here, from what they meet. Integers among themselves are computed in int64, and
only their result is converted; a float constant is made in the dtype wanted at once.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

from einsplit.dtypes import check_dtype, int_range, kind
from einsplit.scalar.analysis import integer_value
from einsplit.scalar.expr import Expr
from einsplit.scalar.operators import OPERATORS, Number
from einsplit.scalar.typed.rules import WEAK_FLOAT, WEAK_INT, Typing, is_weak, natural


@dataclass(frozen=True, slots=True)
class Step:
    """One scalar operation: `op` of the results of earlier steps, giving `dtype`.

    const and operand have a value, index a label as name (and int64), cast its source as only argument.
    """

    op: str
    args: tuple[int, ...]  # positions of earlier steps
    dtype: str
    value: Number | None = None
    name: str | None = None


def result_dtype(expr: Expr, operand_dtypes: Sequence[str]) -> str:
    """The dtype of the join. Raises DtypeError, which names the operands and what they should be cast to."""
    return typed_steps(expr, operand_dtypes)[-1].dtype


def typed_steps(expr: Expr, operand_dtypes: Sequence[str]) -> tuple[Step, ...]:
    """The steps that compute `expr`, each once, the last one giving the result. Raises DtypeError."""
    emitter = _Emitter(Typing(expr, tuple(check_dtype(dtype) for dtype in operand_dtypes)))
    emitter.emit(expr, None)
    return tuple(emitter.steps)


@dataclass(slots=True)
class _Emitter:
    """The steps made so far, and where each part stands among them, by the dtype it was asked for in."""

    typing: Typing
    emitted: dict[tuple[Expr, str], int] = field(default_factory=dict)
    steps: list[Step] = field(default_factory=list)

    def emit(self, expr: Expr, wanted: str | None) -> int:
        """The position of the step that gives `expr` in the dtype `wanted`; in its natural one for None."""
        found = self.typing.type_of(expr)
        dtype = wanted if wanted is not None and is_weak(found) else natural(found)
        key = (expr, dtype)
        if key not in self.emitted:
            self.emitted[key] = self._add(self._step(expr, found, dtype))
        return self.emitted[key]

    def _add(self, step: Step) -> int:
        self.steps.append(step)
        return len(self.steps) - 1

    def _step(self, expr: Expr, found: str, dtype: str) -> Step:
        """The step that gives `expr`, of the type `found`, in `dtype`; its arguments are emitted before it."""
        if found == WEAK_INT and (value := integer_value(expr)) is not None:
            if kind(dtype) == "int" and not int_range(dtype)[0] <= value <= int_range(dtype)[1]:
                self.typing.fail(expr, f"the constant {value} does not fit into {dtype}.", "Cast the operand first.")
            return Step("const", (), dtype, value=value)
        if found == WEAK_INT and dtype != "int64":
            # Integers among themselves are exact; only their result takes the dtype that it meets.
            return Step("cast", (self.emit(expr, "int64"),), dtype, name=dtype)
        if expr.op in ("const", "operand", "index"):
            return Step(expr.op, (), dtype, value=expr.value, name=expr.name)
        return Step(expr.op, self._arguments(expr, dtype), dtype, name=expr.name)

    def _arguments(self, expr: Expr, dtype: str) -> tuple[int, ...]:
        """The steps of the arguments, each in the dtype that an operation giving `dtype` wants it in."""
        family = OPERATORS[expr.op].family if expr.op != "cast" else "cast"
        if family == "cast":
            # A float constant is made in the dtype asked for, or exactly enough to be truncated.
            source = dtype if kind(dtype) in ("float", "complex") else "float64"
            return (self.emit(expr.args[0], source if self.typing.type_of(expr.args[0]) == WEAK_FLOAT else None),)
        if family == "compare":
            dtype = natural(self.typing.meet(expr, 0, 1))
            if kind(dtype) == "int" and any(is_weak(self.typing.type_of(arg)) for arg in expr.args):
                # An index or constant beyond the range of a small dtype must not wrap and then seem equal.
                return tuple(self._emit_int64(arg) for arg in expr.args)
        if family == "where":
            return (self.emit(expr.args[0], None), *(self.emit(arg, dtype) for arg in expr.args[1:]))
        if family == "random":
            return tuple(self._emit_int64(arg) for arg in expr.args)
        return tuple(self.emit(arg, dtype) for arg in expr.args)

    def _emit_int64(self, expr: Expr) -> int:
        """An integer expression of any dtype, in int64."""
        step = self.emit(expr, "int64")
        if self.steps[step].dtype == "int64":
            return step
        key = (expr, "int64")
        if key not in self.emitted:
            self.emitted[key] = self._add(Step("cast", (step,), "int64", name="int64"))
        return self.emitted[key]
