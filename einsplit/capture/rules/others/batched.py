"""Operators that treat some labels independently: as kernels of torch's own, with those labels free.

A row is a label signature in the notation, or makes one of the operator's arguments. What stands in brackets is whole,
all else free; the arguments that are recorded speak of dimensions in brackets alone, and so hold on every shard. All
`...` of a row stand for the same dimensions: where torch would broadcast them, the operator runs whole.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass

from einsplit.errors import ShapeError
from einsplit.notation import Dims, Label, bind, parse_signature

Shape = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Call:
    """An operator's arguments, and the shapes of its tensors and of its results."""

    args: Sequence[object]
    kwargs: Mapping[str, object]
    operands: Sequence[Shape]
    results: Sequence[Shape]

    def given(self, position: int, name: str, default: object) -> object:
        return self.args[position] if len(self.args) > position else self.kwargs.get(name, default)


Row = str | Callable[[Call], str | None]  # None: all is whole


@dataclass(frozen=True, slots=True)
class Signature:
    """A row that met its shapes: the labels of tensors and of results, their sizes, and those that are whole."""

    operands: tuple[Dims, ...]
    results: tuple[Dims, ...]
    sizes: Mapping[Label, int]
    brackets: frozenset[Label]


def signature(operator: str, call: Call) -> Signature | None:
    """How labels of the operator may be cut; None where it has no row, or its row does not fit these shapes."""
    row = ROWS.get(operator)
    text = row(call) if callable(row) else row
    if text is None:
        return None
    reads, writes = text.split(" -> ")
    # Read as if the results were given too: so all sizes are known, and held against each other.
    spec = parse_signature(f"{reads}, {writes} -> {writes}")
    shapes = (*call.operands, *call.results)
    hidden = {
        len(shape) - len(term.dims)
        for term, shape in zip(spec.operands, shapes, strict=False)
        if term.ellipsis is not None
    }
    if len(hidden) > 1:
        return None
    try:
        bound = bind(spec, shapes, {})
    except ShapeError:
        return None
    count = len(call.operands)
    return Signature(bound.operands[:count], bound.operands[count:], bound.sizes, bound.brackets)


def _along(position: int, default: object = None, name: str = "dim") -> Row:
    """Works along the dimensions that an argument names."""

    def row(call: Call) -> str | None:
        dims = call.given(position, name, default)
        named = [dims] if isinstance(dims, int) else dims
        if not isinstance(named, (list, tuple)) or not named:
            return None  # along all of them, as one
        return _outside(call, [dim for dim in named if isinstance(dim, int)])

    return row


def _last(call: Call) -> str | None:
    """Works along the last dimensions, as many as there are pairs in the second argument: the widths of padding."""
    widths = call.given(1, "pad", ())
    assert isinstance(widths, (list, tuple)), widths
    return _outside(call, [-1 - k for k in range(len(widths) // 2)])


def _outside(call: Call, named: Sequence[int]) -> str | None:
    """`d0 [k1] d2 -> d0 [n1] d2`: those named are whole. A result may have lost them, or have one more at its end."""
    ndim = len(call.operands[0])
    if not ndim or any(len(shape) != ndim for shape in call.operands):
        return None
    whole = {dim % ndim for dim in named}
    reads = [" ".join(_terms(ndim, whole, f"k{at}")) for at in range(len(call.operands))]
    writes = []
    for at, shape in enumerate(call.results):
        terms = _terms(ndim, whole, f"n{at}")
        if len(shape) < ndim:
            terms = [term for k, term in enumerate(terms) if k not in whole]
        writes.append(" ".join([*terms, *("[ more ]" for _ in range(len(shape) - ndim))]))
    return f"{', '.join(reads)} -> {', '.join(writes)}"


def _terms(ndim: int, whole: Collection[int], name: str) -> list[str]:
    return [f"[ {name}_{k} ]" if k in whole else f"d{k}" for k in range(ndim)]


def _recurrent(call: Call) -> str | None:
    """Free along the batch: `x, states [l] b [h], weights -> y, states`, where `batch_first` says where x has it."""
    if len(call.operands[0]) != 3:
        return None
    series = "b [ {0}t ] [ {0}f ]" if call.given(8, "batch_first", False) is True else "[ {0}t ] b [ {0}f ]"
    reads = [series.format("x")]
    for at, shape in enumerate(call.operands[1:]):
        dims = [f"[ p{at}_{k} ]" for k in range(len(shape))]
        if len(shape) == 3:
            dims[1] = "b"
        reads.append(" ".join(dims))
    states = [f"[ l{at} ] b [ h{at} ]" for at in range(len(call.results) - 1)]
    return f"{', '.join(reads)} -> {', '.join([series.format('y'), *states])}"


def _searched(call: Call) -> str:
    """Values in sorted sequences: one for all, or one for each row."""
    return "[n], ... -> ..." if len(call.operands[0]) == 1 else "... [n], ... [m] -> ... [m]"


def _spatial(count: int, name: str) -> str:
    """`[n0 n1]`: dimensions of pictures."""
    return f"[{' '.join(f'{name}{k}' for k in range(count))}]"


def _pictures(num_dims: Sequence[int], names: Sequence[str], num_results: int = 1) -> dict[str, Row]:
    """Operators on the last dimensions; `{}` in a name is their number."""
    return {
        name.format(n): f"... {_spatial(n, 'x')} -> "
        + ", ".join(f"... {_spatial(n, f'z{k}_')}" for k in range(num_results))
        for name in names
        for n in num_dims
    }


def _each(text: Row, *names: str) -> dict[str, Row]:
    return dict.fromkeys((f"aten.{name}" for name in names), text)


_MATRIX = "... [m n] -> ... [p q]"

# Where a free label is padded, these are given identity matrices: they raise for singular ones, and for NaN.
LINEAR_ALGEBRA: dict[str, Row] = {
    **_each(_MATRIX, "linalg_cholesky.default", "cholesky.default", "cholesky_inverse.default"),
    **_each(_MATRIX, "linalg_inv.default", "inverse.default", "linalg_matrix_exp.default", "matrix_exp.default"),
    **_each(_MATRIX, "linalg_pinv.default", "linalg_pinv.atol_rtol_float", "linalg_pinv.atol_rtol_tensor"),
    **_each(_MATRIX, "linalg_matrix_power.default", "matrix_power.default"),
    **_each("... [m n] -> ... [p q], ... [r s]", "linalg_qr.default", "qr.default"),
    **_each("... [m n] -> ... [k], ... [p q]", "linalg_eigh.default", "_linalg_eigh.default", "linalg_eig.default"),
    **_each("... [m n] -> ... [k]", "linalg_eigvalsh.default", "linalg_eigvals.default", "linalg_svdvals.default"),
    **_each("... [m n] -> ... [p q], ... [k], ... [r s]", "linalg_svd.default", "_linalg_svd.default", "svd.default"),
    **_each("... [m n] -> ...", "linalg_det.default", "det.default", "logdet.default"),
    **_each("... [m n] -> ..., ...", "linalg_slogdet.default", "slogdet.default"),
    **_each("... [m n], ... [p q] -> ... [r s]", "linalg_solve.default", "linalg_solve_triangular.default"),
    **_each("... [m n], ... [p q] -> ... [r s]", "cholesky_solve.default"),
}

_RESAMPLED = (
    "aten.upsample_nearest{0}d",
    "aten._upsample_nearest_exact{0}d",
    *("aten.upsample_linear1d", "aten.upsample_bilinear2d", "aten.upsample_trilinear3d", "aten.upsample_bicubic2d"),
    *("aten._upsample_bilinear2d_aa", "aten._upsample_bicubic2d_aa"),
)

PICTURES: dict[str, Row] = {
    **_pictures(
        (1, 2, 3), ["aten.max_pool{}d.default", "aten.avg_pool{}d.default", "aten.adaptive_avg_pool{}d.default"]
    ),
    **_pictures((2, 3), ["aten._adaptive_avg_pool{}d.default"]),
    **_pictures(
        (1, 2, 3), ["aten.max_pool{}d_with_indices.default", "aten.adaptive_max_pool{}d.default"], num_results=2
    ),
    **{
        row: text
        for n in (1, 2, 3)
        for name in _RESAMPLED
        if "{0}" in name or f"{n}d" in name
        for overload in ("vec", "default")
        for row, text in _pictures((n,), [f"{name}.{overload}"]).items()
    },
    **_each("n c [h w], n [p q two] -> n c [r s]", "grid_sampler.default", "grid_sampler_2d.default"),
    **_each("n c [d h w], n [o p q three] -> n c [r s t]", "grid_sampler_3d.default"),
    **_each("... c [h w] -> ... (c [k]) [l]", "im2col.default"),
    **_each("... (c [k]) [l] -> ... c [h w]", "col2im.default"),
    **_each(_last, "pad.default", "constant_pad_nd.default"),
    **_each(_last, *(f"{kind}_pad{n}d.default" for kind in ("reflection", "replication") for n in (1, 2, 3))),
}

ALONG: dict[str, Row] = {
    **_each(_along(1), "cumsum.default", "cumprod.default", "cummax.default", "cummin.default", "logcumsumexp.default"),
    **_each(_along(1, -1), "sort.default", "argsort.default", "median.dim", "nanmedian.dim", "mode.default"),
    **_each(_along(2, -1), "sort.stable", "argsort.stable", "topk.default", "kthvalue.default", "linalg_cross.default"),
    **_each(_along(2, None, "dims"), "roll.default"),
    **_each(_along(1, None, "dimension"), "unfold.default"),
    **_each(_along(2, -1), *(f"fft_{name}.default" for name in ("fft", "ifft", "rfft", "irfft", "hfft", "ihfft"))),
    **_each(_along(2, (-2, -1)), *(f"fft_{name}.default" for name in ("fft2", "ifft2", "rfft2", "irfft2"))),
    **_each(_along(2), *(f"fft_{name}.default" for name in ("fftn", "ifftn", "rfftn", "irfftn"))),
    **_each(_along(1), "fft_fftshift.default", "fft_ifftshift.default", "_fft_c2c.default", "_fft_r2c.default"),
    **_each(_along(1), "_fft_c2r.default"),
}

OTHERS: dict[str, Row] = {
    **_each(_recurrent, "lstm.input", "gru.input", "rnn_tanh.input", "rnn_relu.input"),
    **_each("..., [n] -> ...", "bucketize.Tensor"),
    **_each(_searched, "searchsorted.Tensor"),
    **_each(_MATRIX, "tril.default", "triu.default"),
}

ROWS: dict[str, Row] = {**LINEAR_ALGEBRA, **PICTURES, **ALONG, **OTHERS}
