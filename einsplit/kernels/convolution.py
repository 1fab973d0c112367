"""Convolutions over 1, 2, 3 or more spatial dimensions, and the adjoints of their two operands; in numpy.

All three kernels are sums of the same products. Along each spatial dimension the input `x[h]`, the weight `w[y]` and
the output `z[p]` meet where

    h = p * stride + y * dilation - padding

and what lies outside of the input is zero. How long the three are, their shapes say: so padding at the far end,
`output_padding` of a transposed convolution, and inputs whose last elements no window reaches need no attribute.

    convolution         b (g c) [h w], (g o) c [y x] -> b (g o) [p q]; sum c
    convolution_input   b (g o) [p q], (g o) c [y x] -> b (g c) [h w]; sum o
    convolution_weight  b (g c) [h w], b (g o) [p q] -> (g o) c [y x]; sum b

`g` counts groups: its number is that of the shapes at hand, so that a shard finds its own. The three are closed under
gradients, and a transposed convolution is `convolution_input`.
Source: Dumoulin and Visin 2016, arXiv 1603.07285.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import prod
from types import EllipsisType

import numpy as np
from numpy.typing import NDArray

from einsplit.kernels.rows import Attributes, Reference
from einsplit.monoid import Array

Numbers = NDArray[np.float64]
Index = tuple[EllipsisType | slice | int, ...]


@dataclass(frozen=True, slots=True)
class Windows:
    """How windows lie on the input: elements per step, zeros before the first element, elements between taps."""

    stride: tuple[int, ...]  # one for each spatial dimension, as of all three
    padding: tuple[int, ...]
    dilation: tuple[int, ...]

    def spans(self, num_outputs: Sequence[int], taps: Sequence[int]) -> list[int]:
        """Elements from the first that the first window covers to the last that the last one covers."""
        rows = zip(num_outputs, taps, self.stride, self.dilation, strict=True)
        return [(p - 1) * stride + (y - 1) * dilation + 1 for p, y, stride, dilation in rows]


def windows(attributes: Attributes) -> Windows:
    """The attributes of a convolution, or of one of its adjoints."""
    return Windows(*(_numbers(attributes[name]) for name in ("stride", "padding", "dilation")))


def _numbers(value: object) -> tuple[int, ...]:
    assert isinstance(value, list), value
    return tuple(int(part) for part in value)


def _convolution(attributes: Attributes, operands: Sequence[Array], shape: tuple[int, ...]) -> Sequence[Array]:
    """`z[b, g, o, p] = sum over c, y of x[b, g, c, h] * w[g, o, c, y]`."""
    x, w, z = _grouped(operands[0], operands[1], np.zeros(shape))
    for y, h, p in _meetings(windows(attributes), x.shape[3:], w.shape[3:], z.shape[3:]):
        z[p] += np.einsum("bgc...,goc->bgo...", x[h], w[y])
    return [z.reshape(shape).astype(operands[0].dtype)]


def _convolution_input(attributes: Attributes, operands: Sequence[Array], shape: tuple[int, ...]) -> Sequence[Array]:
    """`x[b, g, c, h] = sum over o, y, p of z[b, g, o, p] * w[g, o, c, y]`."""
    x, w, z = _grouped(np.zeros(shape), operands[1], operands[0])
    for y, h, p in _meetings(windows(attributes), x.shape[3:], w.shape[3:], z.shape[3:]):
        x[h] += np.einsum("bgo...,goc->bgc...", z[p], w[y])
    return [x.reshape(shape).astype(operands[0].dtype)]


def _convolution_weight(attributes: Attributes, operands: Sequence[Array], shape: tuple[int, ...]) -> Sequence[Array]:
    """`w[g, o, c, y] = sum over b, p of x[b, g, c, h] * z[b, g, o, p]`."""
    x, w, z = _grouped(operands[0], np.zeros(shape), operands[1])
    for y, h, p in _meetings(windows(attributes), x.shape[3:], w.shape[3:], z.shape[3:]):
        met_x, met_z = (met.reshape(*met.shape[:3], prod(met.shape[3:])) for met in (x[h], z[p]))
        w[y] = np.einsum("bgcp,bgop->goc", met_x, met_z)
    return [w.reshape(shape).astype(operands[0].dtype)]


def _grouped(x: Array, w: Array, z: Array) -> tuple[Numbers, Numbers, Numbers]:
    """The three with their groups as dimensions, `b g c h`, `g o c y`, `b g o p`; what is summed is in float64."""
    groups = x.shape[1] // w.shape[1]
    return (
        x.reshape(x.shape[0], groups, w.shape[1], *x.shape[2:]).astype(np.float64),
        w.reshape(groups, w.shape[0] // groups, *w.shape[1:]).astype(np.float64),
        z.reshape(z.shape[0], groups, w.shape[0] // groups, *z.shape[2:]).astype(np.float64),
    )


def _meetings(
    placed: Windows, inputs: Sequence[int], taps: Sequence[int], outputs: Sequence[int]
) -> Iterator[tuple[Index, Index, Index]]:
    """For each place `y` in the weight: it, and the places in the input and in the output that meet there, in step."""
    for tap in np.ndindex(*taps):
        h: list[slice] = []
        p: list[slice] = []
        rows = zip(tap, inputs, outputs, placed.stride, placed.padding, placed.dilation, strict=True)
        for y, size, num_outputs, stride, padding, dilation in rows:
            shift = y * dilation - padding
            first = max(0, -(shift // stride))  # the least p with p * stride + shift >= 0
            stop = max(first, min(num_outputs, (size - 1 - shift) // stride + 1))
            start = first * stride + shift
            h.append(slice(start, start + (stop - first) * stride, stride))
            p.append(slice(first, stop))
        yield (..., *tap), (..., *h), (..., *p)


REFERENCES: dict[str, Reference] = {
    "convolution": _convolution,
    "convolution_input": _convolution_input,
    "convolution_weight": _convolution_weight,
}
