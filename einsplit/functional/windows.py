"""Windows that slide: convolution, max_pool. A window is index arithmetic in a join.

Element `h` stands in window `p` at place `y` where `h = stride p + dilation y - padding`; padding is where no h does.
As a sum over h this takes h steps for each element of a window where a loop over windows takes one; dimension by
dimension, so that the steps of several add and do not multiply. The convolution itself then is a matrix
multiplication, which is nearly all of its work where channels are many.
"""

from __future__ import annotations

from collections.abc import Sequence

from einsplit.einsum import einsum
from einsplit.functional.operands import X, check_shapes, each_dimension, refuse_shape, shape_of

_CONVOLUTIONS = {  # by the number of dimensions that windows slide along
    1: "b (g c) h, (g o) c y -> b (g o) p",
    2: "b (g c) h w, (g o) c y x -> b (g o) p q",
    3: "b (g c) h w l, (g o) c y x z -> b (g o) p q r",
}
_OF_WINDOWS = {
    1: "b (g c) p y, (g o) c y -> b (g o) p",
    2: "b (g c) p y q x, (g o) c y x -> b (g o) p q",
    3: "b (g c) p y q x r z, (g o) c y x z -> b (g o) p q r",
}


def convolution(
    x: X,
    weight: X,
    bias: X | None = None,
    *,
    stride: int | Sequence[int] = 1,
    padding: int | Sequence[int] = 0,
    dilation: int | Sequence[int] = 1,
    groups: int = 1,
) -> X:
    """`z_bopq = bias_o + sum over c, y, x of X_bc[stride p + dilation y - padding, stride q + ...] weight_ocyx`.

    Shapes: `x` `b (g c) h w`, `weight` `(g o) c y x`, `bias` `(g o)`, g being `groups`; the result `b (g o) p q`. One
    to three dimensions may follow the channels; stride, padding and dilation are one number for all of them, or one
    for each. p counts the windows that fit: `(h + 2 padding - dilation (y - 1) - 1) // stride + 1`. As in torch the
    weight is not turned round: a cross-correlation.

    Cost: the matrix multiplication's `2 b p q g o c y x`; `b g c h p y w` comparisons for the first dimension and
    `b g c p y w q x` for the second; memory for the windows, `b g c p y q x`.
    """
    num_dimensions = len(shape_of(weight)) - 2
    if num_dimensions not in _CONVOLUTIONS:
        mistake = f"the weight has {num_dimensions + 2} dimensions."
        refuse_shape(_CONVOLUTIONS[2], 1, mistake, "Channels out and in, then one to three of a window.")
    text = _CONVOLUTIONS[num_dimensions]
    if len(shape_of(x)) != num_dimensions + 2:
        mistake = f"x has {len(shape_of(x))} dimensions, the weight {num_dimensions + 2}."
        refuse_shape(text, 0, mistake, "As many: batch, channels, then those that the window slides along.")
    strides = each_dimension("stride", stride, num_dimensions, 1)
    paddings = each_dimension("padding", padding, num_dimensions, 0)
    dilations = each_dimension("dilation", dilation, num_dimensions, 1)
    sizes = shape_of(weight)[2:]
    lengths = zip(shape_of(x)[2:], sizes, strides, paddings, dilations, strict=True)
    num_windows = [_num_windows(text, *row) for row in lengths]
    check_shapes(text, (x, weight), {"g": groups, **dict(zip("pqr", num_windows, strict=False))})
    windows = x
    for k, size in enumerate(sizes):
        stands = f"index(h) == index(p) * {strides[k]} + index(y) * {dilations[k]} - {paddings[k]}"
        join = f"where({stands}, x, 0)"
        # The dimension goes, and its windows follow all others: after the last one they stand in order.
        windows = einsum("b c h ... -> b c ... p y", windows, join=join, p=num_windows[k], y=size)
    found = einsum(_OF_WINDOWS[num_dimensions], windows, weight, g=groups)
    return found if bias is None else einsum("b o ..., o -> b o ...", found, bias, join="x + y")


def max_pool(
    x: X,
    window: int | Sequence[int],
    *,
    stride: int | Sequence[int] | None = None,
    padding: int | Sequence[int] = 0,
    dilation: int | Sequence[int] = 1,
) -> X:
    """`z_pq = max over y, x of X[stride p + dilation y - padding, stride q + dilation x - padding]`.

    Shapes: `x` `... h w`, the window `(y, x)`: the last dimensions, as many as the window has numbers, and two where
    it is one number; the result `... p q`, with p as in convolution. The stride is the window unless given. Padding is
    -inf. Where the largest element stands twice in a window its gradient is shared evenly (torch gives it to the
    first). Cost: a maximum of one dimension is taken after the other, `h p w` comparisons and `p w q`.
    """
    num_dimensions = len(window) if isinstance(window, Sequence) else 2
    windows = each_dimension("window", window, num_dimensions, 1)
    names = [f"h{k}" for k in range(num_dimensions)]
    text = f"... {' '.join(names)} -> ... {' '.join(f'p{k}' for k in range(num_dimensions))}"
    if not 0 < num_dimensions <= len(shape_of(x)):
        refuse_shape(text, 0, f"x has shape {shape_of(x)}, the window {num_dimensions} dimensions.")
    strides = each_dimension("stride", windows if stride is None else stride, num_dimensions, 1)
    paddings = each_dimension("padding", padding, num_dimensions, 0)
    dilations = each_dimension("dilation", dilation, num_dimensions, 1)
    lengths = shape_of(x)[len(shape_of(x)) - num_dimensions :]
    found = x
    for k, size in enumerate(windows):
        num_windows = _num_windows(text, lengths[k], size, strides[k], paddings[k], dilations[k])
        rest = " ".join(names[k + 1 :] + [f"p{done}" for done in range(k)])
        place = f"(index(h) - index(p) * {strides[k]} + {paddings[k]})"
        inside = f"({place} >= 0) & ({place} < {size * dilations[k]}) & ({place} % {dilations[k]} == 0)"
        join = f"where({inside}, x, -inf)"
        found = einsum(f"... h {rest} -> ... {rest} p", found, join=join, agg="max", p=num_windows)
    return found


def _num_windows(text: str, length: int, size: int, stride: int, padding: int, dilation: int) -> int:
    """How many windows of `size` fit into a padded dimension. Raises ShapeError where none does."""
    reach = dilation * (size - 1) + 1
    if reach > length + 2 * padding:
        room = f"{length}, padded by {padding} on both sides"
        refuse_shape(text, 0, f"a window that reaches over {reach} elements does not fit into {room}.")
    return (length + 2 * padding - reach) // stride + 1
