"""The adjoints of a kernel's operands: for each kernel the kernel of its gradient, or torch's own for its operators."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import msgspec

from einsplit.draft import Draft, Origin
from einsplit.errors import GradientError
from einsplit.graph import Dims, Kernel, Label, Operand, dims_shape
from einsplit.scalar import operand

Presented = tuple[Operand, Dims]  # a reading, and the dimensions that the kernel sees it in


def kernel_adjoints(draft: Draft, at: int, adjoint: int, wanted: Sequence[int]) -> Iterator[tuple[int, int]]:
    """(operand, position of what its node's adjoint gets) for the operands in `wanted`.

    `at` is a Kernel node, `adjoint` has its dims. Raises GradientError where the kernel has no gradient.
    """
    node = draft.nodes[at]
    assert isinstance(node, Kernel)
    call = Call(draft, node, adjoint)
    for k in wanted:
        found = RULES[node.kernel](call, k)
        if found is not None:
            presented = Operand(found, flat(node.reads[k]))
            yield k, draft.adjoint([presented], node.operands[k], operand(0), call.origin)


@dataclass(frozen=True, slots=True)
class Call:
    """A kernel node whose operands' adjoints are wanted."""

    draft: Draft
    node: Kernel
    adjoint: int

    @property
    def origin(self) -> Origin:
        return Origin(f"{self.node.name}.grad", self.node.source)

    @property
    def attributes(self) -> dict[str, object]:
        return msgspec.json.decode(self.node.attributes, type=dict[str, object])

    def number(self, name: str) -> int:
        value = self.attributes[name]
        assert isinstance(value, int), (name, value)
        return value

    def shape(self, dims: Dims) -> tuple[int, ...]:
        return dims_shape(dims, self.draft.sizes)

    @property
    def bar(self) -> Presented:
        """The adjoint."""
        return value(self.adjoint, self.node.dims)

    def given(self, k: int) -> Presented:
        """Operand k, read as the node reads it: turned, along a diagonal, or repeated."""
        return self.node.operands[k], self.node.reads[k]

    def apply(self, kernel: str, attributes: dict[str, object], operands: Sequence[Presented], dims: Dims) -> int:
        """Another kernel over the same labels, those that are whole for the node whole; of the adjoint's dtype."""
        reads = tuple(presented for _, presented in operands)
        met = {label for row in (*reads, dims) for label in flat(row)}
        return self.draft.add(
            Kernel(
                name=self.origin.name,
                kernel=kernel,
                attributes=msgspec.json.encode(attributes, order="deterministic").decode(),
                operands=tuple(row for row, _ in operands),
                reads=reads,
                dims=dims,
                brackets=tuple(label for label in self.node.brackets if label in met),
                dtype=self.draft.nodes[self.adjoint].dtype,
                source=self.node.source,
            )
        )


def flat(dims: Dims) -> tuple[Label, ...]:
    return tuple(label for dim in dims for label in dim)


def value(at: int, dims: Dims) -> Presented:
    """The value of node `at`, which has these dims or dims of the same sizes, under these labels."""
    return Operand(at, flat(dims)), dims


def _reshape(call: Call, k: int) -> int:
    return call.apply("reshape", {}, [call.bar], call.node.reads[k])


def _slice(call: Call, k: int) -> int:
    return call.apply("place", call.attributes, [call.bar], call.node.reads[k])


def _place(call: Call, k: int) -> int:
    return call.apply("slice", call.attributes, [call.bar], call.node.reads[k])


def _cat(call: Call, k: int) -> int:
    dim = call.number("dim")
    start = sum(call.shape(dims)[dim] for dims in call.node.reads[:k])
    attributes: dict[str, object] = {"dim": dim, "start": start, "step": 1}
    return call.apply("slice", attributes, [call.bar], call.node.reads[k])


def _ordered(call: Call, k: int) -> int:
    """Every element back to where it came from: the kernel's own second result says where."""
    order = call.draft.add(msgspec.structs.replace(call.node, output=1, dtype="int64"))
    operands = [call.bar, value(order, call.node.dims)]
    return call.apply("scatter", {"dim": call.number("dim")}, operands, call.node.reads[k])


def _scatter(call: Call, k: int) -> int | None:
    attributes: dict[str, object] = {"dim": call.number("dim")}
    return call.apply("gather", attributes, [call.bar, call.given(1)], call.node.reads[0]) if k == 0 else None


def _gather(call: Call, k: int) -> int | None:
    attributes: dict[str, object] = {"dim": call.number("dim")}
    return call.apply("scatter", attributes, [call.bar, call.given(1)], call.node.reads[0]) if k == 0 else None


def _cumsum(call: Call, k: int) -> int:
    """The sum of what follows: a cumulative sum from behind."""
    dim, dims = call.number("dim"), call.node.dims
    backwards: dict[str, object] = {"dim": dim, "start": call.shape(dims)[dim] - 1, "step": -1}
    turned = call.apply("slice", backwards, [call.bar], dims)
    summed = call.apply("cumsum", {"dim": dim}, [value(turned, dims)], dims)
    return call.apply("slice", backwards, [value(summed, dims)], call.node.reads[k])


def _aten(call: Call, k: int) -> int:
    """What torch.func.vjp makes of the operator, or of its gradient; asked here whether it makes anything of it."""
    # The way to torch, taken only by who has a node of torch's: `import einsplit` stays light.
    from einsplit.kernels.aten import missing_gradient

    node, given = call.node, call.attributes
    above = given["wrt"] if node.kernel == "aten_vjp" else []
    assert isinstance(above, list)
    attributes = {"of": node.output, **given, "wrt": [*above, k]}
    operands = [*map(call.given, range(len(node.operands))), call.bar]
    fault = missing_gradient(
        attributes, [(call.shape(dims), call.draft.nodes[row.node].dtype) for row, dims in operands]
    )
    if fault:
        advice = "Register one (torch.library.register_autograd), or detach what it is given."
        raise GradientError(f"{node.name} has no gradient in torch: {fault}", advice, node.source)
    return call.apply("aten_vjp", attributes, operands, node.reads[k])


RULES: dict[str, Callable[[Call, int], int | None]] = {
    "reshape": _reshape,
    "slice": _slice,
    "place": _place,
    "cat": _cat,
    "top_k": _ordered,
    "sort": _ordered,
    "scatter": _scatter,
    "gather": _gather,
    "cumsum": _cumsum,
    "aten": _aten,
    "aten_vjp": _aten,
}
