"""`kernel`: a registered kernel by name, on arrays, tensors and symbolic values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NoReturn

from einsplit.builder import Origin
from einsplit.builder.views import Value
from einsplit.einsum.kinds import as_arrays, as_tensors, as_values, owner_of, tensor_dtype
from einsplit.errors import NotationError, Place, ShapeError, Span, advice
from einsplit.kernels.along import ALONG
from einsplit.kernels.registry import reference
from einsplit.kernels.rows import Along
from einsplit.notation import Dims, Label, Spec, bind, dims_shape, dims_text, flat, parse_signature


def kernel(name: str, signature: str, /, *operands: object, output: int | None = None, **attributes: int) -> object:
    """A result of the registered kernel `name`, under a label signature whose brackets name the whole dimension.

        kernel("top_k", "b s [k] -> b s [n]", x, n=5)                       the five largest, in order
        kernel("top_k", "b s [k] -> b s [n]", x, n=5, output=1)             and where they stand
        kernel("sort", "[k] b -> [k] b, [k] b", x, descending=True)         both results
        kernel("cumsum", "b [k] -> b [k]", x)

    A signature of several outputs gives all results as a tuple, unless `output` picks one; a signature of one gives
    the first. The further arguments are the kernel's own (`largest` of top_k, `descending` of sort) and sizes of
    labels. NaN counts as the largest number; of equal elements the first one comes first.

    Operands are of one kind, as in `einsum`, and so is the result. Raises NotationError, ShapeError, DtypeError.
    """
    row = _row(name)
    spec = parse_signature(signature)
    owner = owner_of(spec, operands)
    options = {key: _option(name, key, attributes.pop(key, default)) for key, default in row.options.items()}
    if owner == "symbolic":
        values = as_values(spec, operands)
        call = _bind(row, spec, [value.shape for value in values], attributes)
        return call.chosen(output, _symbolic(call, values[0], options))
    if owner == "torch":
        # The way from the core to a door, taken only by who has loaded torch: `import einsplit` stays light.
        from einsplit.eager import kernel_tensors

        tensors = as_tensors(spec, operands)
        call = _bind(row, spec, [tuple(tensor.shape) for tensor in tensors], attributes)
        row.results(tensor_dtype(tensors[0]))
        return call.chosen(output, kernel_tensors(name, {**options, "dim": call.dim}, tensors, call.shape))
    arrays = as_arrays(spec, operands)
    call = _bind(row, spec, [array.shape for array in arrays], attributes)
    row.results(arrays[0].dtype.name)
    return call.chosen(output, reference(name)({**options, "dim": call.dim}, arrays, call.shape))


def _row(name: str) -> Along:
    """The kernel that users call by that name. Raises NotationError."""
    if name not in ALONG:
        raise NotationError(f"unknown kernel {name!r}.", advice(name, ALONG))
    return ALONG[name]


def _option(name: str, key: str, value: int) -> bool:
    """`value`, given as `key` of kernel `name`. Raises NotationError for anything but True and False."""
    if not isinstance(value, bool):
        raise NotationError(f"{key} of {name} is True or False, not {value!r}.")
    return value


@dataclass(frozen=True, slots=True)
class _Call:
    """A kernel that met its operand: it works along dimension `dim` of `operand`, and every result has `out`."""

    row: Along
    spec: Spec
    operand: Dims
    out: Dims
    dim: int
    sizes: Mapping[Label, int]

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of every result."""
        return dims_shape(self.out, self.sizes)

    def chosen(self, output: int | None, results: Sequence[object]) -> object:
        """What the user asked for of all results. Raises NotationError where there is no such one."""
        if output is None:
            return tuple(results) if len(self.spec.outputs) > 1 else results[0]
        if not 0 <= output < len(results):
            raise NotationError(f"{self.row.name} has {len(results)} results, numbered from 0, and no {output!r}.")
        return results[output]


def _bind(row: Along, spec: Spec, shapes: Sequence[tuple[int, ...]], sizes: Mapping[Label, int]) -> _Call:
    """The kernel bound to operands of these shapes.

    Raises NotationError or ShapeError where the signature is not the kernel's, or not the operand's.
    """
    bound = bind(spec, shapes, sizes)
    if len(bound.operands) != 1:
        _refuse(row, spec, (0, len(spec.text)), f"{row.name} takes one operand.")
    if len(bound.outputs) > row.num_results:
        _refuse(row, spec, spec.outputs[row.num_results].span, f"{row.name} has {row.num_results} results.")
    (operand,), out = bound.operands, bound.outputs[0]
    dim = _whole(row, spec, operand, bound.brackets, 0)
    for position, dims in enumerate(bound.outputs):
        term = spec.outputs[position]
        at = _whole(row, spec, dims, bound.brackets, 1 + position)
        if at != dim or dims[:at] + dims[at + 1 :] != operand[:dim] + operand[dim + 1 :]:
            _refuse(row, spec, term.span, f"{row.name} keeps the dimensions outside the brackets as they are.")
        if row.keeps and dims[at] != operand[dim]:
            _refuse(row, spec, term.span, f"{row.name} keeps the dimension in brackets: {dims_text((operand[dim],))}.")
        if dims[at] != out[dim]:
            _refuse(row, spec, term.span, f"all results of {row.name} have the same dimensions.")
    length, kept = (dims_shape((dims[dim],), bound.sizes)[0] for dims in (operand, out))
    if kept > length:
        mistake = f"{row.name} gives {kept} elements of {length}."
        raise ShapeError(mistake, "There are not so many.", place=Place(spec.text, spec.outputs[0].span))
    return _Call(row, spec, operand, out, dim, bound.sizes)


def _whole(row: Along, spec: Spec, dims: Dims, brackets: frozenset[str], position: int) -> int:
    """Which of the dims of the operand, or of an output, is in brackets. Raises NotationError unless it is one."""
    term = (*spec.operands, *spec.outputs)[position]
    labels = flat(dims)
    whole = [k for k, dim in enumerate(dims) if brackets & set(dim)]
    if len(whole) != 1 or not brackets.issuperset(dims[whole[0]]):
        _refuse(row, spec, term.span, f"{row.name} works along one dimension, all of it in brackets.")
    if len(set(labels)) < len(labels):
        _refuse(row, spec, term.span, f"{row.name} takes no diagonal.")
    return whole[0]


def _refuse(row: Along, spec: Spec, span: Span, mistake: str) -> NoReturn:
    raise NotationError(mistake, f"As in {row.example!r}.", place=Place(spec.text, span))


def _symbolic(call: _Call, value: Value, options: Mapping[str, bool]) -> tuple[Value, ...]:
    """A node for each result; the dimension in brackets is whole wherever it runs, the others are free."""
    builder = value.builder
    variables = {label: builder.variable(size, label) for label, size in call.sizes.items()}
    reads, dims = (tuple(tuple(variables[label] for label in dim) for dim in dims) for dims in (call.operand, call.out))
    whole = frozenset(variables[label] for dims in (call.operand, call.out) for label in dims[call.dim])
    return builder.kernel(
        call.row.name,
        [(value, reads)],
        [(dims, dtype) for dtype in call.row.results(value.dtype)],
        Origin(call.row.name),
        brackets=whole,
        attributes={**options, "dim": call.dim},
    )
