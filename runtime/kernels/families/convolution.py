"""Convolutions and the adjoints of their operands by torch's own; `einsplit.kernels.convolution` says what they mean.

torch's are told of as many zeros at the far end as at the near one. Where the shapes say otherwise, the input is padded
(or cut off) before or after.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import prod

import torch.nn.functional as F
from torch import Tensor
from torch.nn.grad import conv1d_weight, conv2d_weight, conv3d_weight

from einsplit.kernels.convolution import Windows, windows
from einsplit.kernels.rows import Attributes
from einsplit.runtime.kernels.families.rows import Declared, Run, Wanted, shape_of

# By the number of spatial dimensions.
_FORWARD: dict[int, Callable[..., Tensor]] = {1: F.conv1d, 2: F.conv2d, 3: F.conv3d}
_INPUT: dict[int, Callable[..., Tensor]] = {1: F.conv_transpose1d, 2: F.conv_transpose2d, 3: F.conv_transpose3d}
_WEIGHT: dict[int, Callable[..., Tensor]] = {1: conv1d_weight, 2: conv2d_weight, 3: conv3d_weight}


def _convolution(attributes: Attributes, operands: Sequence[Tensor], wanted: Wanted) -> Sequence[Tensor]:
    shape = shape_of(wanted)
    x, w = operands
    placed = windows(attributes)
    groups = x.shape[1] // w.shape[1]
    x, padding = _fitted(x, placed, placed.spans(shape[2:], w.shape[2:]))
    return [_FORWARD[len(padding)](x, w, None, placed.stride, padding, placed.dilation, groups)]


def _convolution_input(attributes: Attributes, operands: Sequence[Tensor], wanted: Wanted) -> Sequence[Tensor]:
    shape = shape_of(wanted)
    z, w = operands
    placed = windows(attributes)
    groups = shape[1] // w.shape[1]
    run = _INPUT[len(placed.stride)]
    rows = list(zip(shape[2:], placed.spans(z.shape[2:], w.shape[2:]), placed.padding, strict=True))
    beyond = [size + 2 * padding - span for size, span, padding in rows]
    steps = zip(beyond, placed.stride, placed.dilation, strict=True)
    if all(0 <= extra < max(stride, dilation) for extra, stride, dilation in steps):
        return [run(z, w, None, placed.stride, placed.padding, beyond, groups, placed.dilation)]
    covered = run(z, w, None, placed.stride, 0, 0, groups, placed.dilation)
    return [_padded(covered, [(-padding, size + padding - span) for size, span, padding in rows])]


def _convolution_weight(attributes: Attributes, operands: Sequence[Tensor], wanted: Wanted) -> Sequence[Tensor]:
    shape = shape_of(wanted)
    x, z = operands
    placed = windows(attributes)
    groups = x.shape[1] // shape[1]
    x, padding = _fitted(x, placed, placed.spans(z.shape[2:], shape[2:]))
    return [_WEIGHT[len(padding)](x, shape, z, placed.stride, padding, placed.dilation, groups)]


def _fitted(x: Tensor, placed: Windows, spans: Sequence[int]) -> tuple[Tensor, tuple[int, ...]]:
    """The input, and the zeros on both sides of it, of which torch makes as many outputs as there are."""
    rows = list(zip(x.shape[2:], spans, placed.padding, strict=True))
    unread = [size + 2 * padding - span for size, span, padding in rows]
    if all(0 <= count < stride for count, stride in zip(unread, placed.stride, strict=True)):
        return x, placed.padding
    return _padded(x, [(padding, span - size - padding) for size, span, padding in rows]), (0,) * len(rows)


def _padded(x: Tensor, around: Sequence[tuple[int, int]]) -> Tensor:
    """With zeros before and behind each spatial dimension; where there are fewer than none, cut off."""
    widths = [width for pair in reversed(around) for width in pair]
    # In this order: of what is cut off behind, some may be zeros that are put in front.
    return F.pad(F.pad(x, [max(width, 0) for width in widths]), [min(width, 0) for width in widths])


def _around(x: Sequence[int], z: Sequence[int], w: Sequence[int], placed: Windows, itemsize: int) -> int:
    """Bytes of the input as windows span it, once cut off and once before; `x`, `z` and `w` are shapes."""
    spans = placed.spans(z[2:], w[2:])
    reached = [max(size + padding, span) for size, padding, span in zip(x[2:], placed.padding, spans, strict=True)]
    return itemsize * x[0] * x[1] * (prod(spans) + prod(reached))


def _declared(attributes: Attributes, operands: Sequence[Tensor], wanted: Wanted) -> int:
    x, w = operands
    return _around(x.shape, shape_of(wanted), w.shape, windows(attributes), x.element_size())


def _declared_input(attributes: Attributes, operands: Sequence[Tensor], wanted: Wanted) -> int:
    z, w = operands
    return _around(shape_of(wanted), z.shape, w.shape, windows(attributes), z.element_size())


def _declared_weight(attributes: Attributes, operands: Sequence[Tensor], wanted: Wanted) -> int:
    x, z = operands
    return _around(x.shape, z.shape, shape_of(wanted), windows(attributes), x.element_size())


DECLARED: dict[str, Declared] = {
    "convolution": _declared,
    "convolution_input": _declared_input,
    "convolution_weight": _declared_weight,
}
KERNELS: dict[str, Run] = {
    "convolution": _convolution,
    "convolution_input": _convolution_input,
    "convolution_weight": _convolution_weight,
}
