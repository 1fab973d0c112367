"""The matrix-multiplication family and the embedding lookup, each as one einsum."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from einsplit.builder import variable_index
from einsplit.builder.views import Value
from einsplit.capture.formulas import Formula
from einsplit.capture.joins import at_key, contract, dtype_of, pointwise, scaled, shape_of
from einsplit.capture.reader import Known, Reader, rule
from einsplit.dtypes import kind
from einsplit.scalar import call, cast, const, operand


def _plus(reader: Reader, product: Value, bias: Known | None, alpha: float = 1, beta: float = 1) -> Value | Formula:
    """`alpha * product + beta * bias`; a bias times 0 is not read."""
    if bias is None or beta == 0:
        return product if alpha == 1 else pointwise(reader, lambda x: scaled(x, alpha), product, dtype=product.dtype)
    return pointwise(reader, lambda x, y: scaled(x, alpha) + scaled(y, beta), product, bias, dtype=product.dtype)


@rule("aten.linear.default")
def linear(reader: Reader, x: Known, weight: Known, bias: Known | None = None) -> Value | Formula:
    """`x weight^T + bias`."""
    text = "...k,ok->...o" if len(shape_of(weight)) == 2 else "...k,k->..."
    return _plus(reader, contract(reader, text, x, weight, part="product" if bias is not None else ""), bias)


@rule("aten.matmul.default", "aten.mm.default", "aten.bmm.default", "aten.mv.default", "aten.dot.default")
def matmul(reader: Reader, x: Known, y: Known) -> Value:
    return _product(reader, x, y)


def _product(reader: Reader, x: Known, y: Known, part: str = "") -> Value:
    """Of matrices, vectors and batches of matrices."""
    left, right = len(shape_of(x)), len(shape_of(y))
    row = "k" if left == 1 else "...ik"
    column = "k" if right == 1 else "...kj"
    out = ("" if left == right == 1 else "...") + ("" if left == 1 else "i") + ("" if right == 1 else "j")
    return contract(reader, f"{row},{column}->{out}", x, y, part=part)


@rule("aten.addmm.default", "aten.baddbmm.default", "aten.addmv.default")
def addmm(reader: Reader, bias: Known, x: Known, y: Known, beta: float = 1, alpha: float = 1) -> object:
    """`beta * bias + alpha * x y`."""
    if kind(dtype_of(x)) == "complex":
        return NotImplemented
    return _plus(reader, _product(reader, x, y, "product"), bias, alpha, beta)


@rule("aten.outer.default")
def outer(reader: Reader, x: Known, y: Known) -> object:
    return contract(reader, "i,j->ij", x, y) if dtype_of(x) == dtype_of(y) != "bool" else NotImplemented


@rule("aten.tensordot.default")
def tensordot(reader: Reader, x: Known, y: Known, left: Sequence[int], right: Sequence[int]) -> Value:
    """Summed over the dimensions `left` of x and `right` of y, pair by pair."""
    count = len(shape_of(x))
    letters = [chr(97 + k) for k in range(count + len(shape_of(y)))]
    own, other = letters[:count], letters[count:]
    for a, b in zip(left, right, strict=True):
        other[b] = own[a]
    out = [letter for letter in own if letter not in other] + [letter for letter in other if letter not in own]
    return contract(reader, f"{''.join(own)},{''.join(other)}->{''.join(out)}", x, y)


@rule("aten.einsum.default")
def einsum(reader: Reader, text: str, operands: Sequence[Known], *_: object, **__: object) -> object:
    """`...` where it leads, and without an arrow: the letters that stand once, in order."""
    read, arrow, written = text.replace(" ", "").partition("->")
    if not arrow:
        count = Counter(read.replace("...", "").replace(",", ""))
        written = ("..." if "..." in read else "") + "".join(sorted(letter for letter in count if count[letter] == 1))
    if any("." in term and (not term.startswith("...") or "." in term[3:]) for term in [*read.split(","), written]):
        return NotImplemented
    if ("..." in read and "..." not in written) or any(dtype_of(x) == "bool" for x in operands):
        return NotImplemented
    return contract(reader, f"{read}->{written}", *operands, dtype=reader.dtype)


@rule("aten.embedding.default")
def embedding(reader: Reader, table: Known, ids: Known, padding: int = -1, scales: bool = False, *_: object) -> object:
    """`sum over v of where(ids == v, table[v], 0)`: cutting `v` is vocabulary parallelism. Row `padding` is constant.

    An id that is no row gives zeros, where torch raises: no device alone can tell it from a row that another holds.
    """
    if scales:
        return NotImplemented  # gradients divided by how often a row is asked for: torch's own
    rows, chosen = reader.value(table), reader.value(ids)
    where = reader.builder.variables(chosen.shape)
    v, d = reader.builder.variables(rows.shape)
    zero = cast(const(0.0), rows.dtype)
    row = operand(1)
    if padding >= 0:
        row = call("where", call("eq", operand(0), const(padding)), call("stop_gradient", row), row)
    join = at_key(operand(0), variable_index(v[0]), row, zero)
    return reader.builder.einsum([(chosen, where), (rows, (v, d))], (*where, d), join, "sum", reader.origin())
