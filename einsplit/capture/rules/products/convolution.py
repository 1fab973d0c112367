"""Convolutions, as kernels that are cut by batch, channels of the output, channels of the input (summed) and groups.

With them what else is done to pictures and needs no kernel: a mean over places, channels that become places.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

from einsplit.builder.settle import VariableDims
from einsplit.builder.views import Value, drop, insert, permute
from einsplit.capture.joins import dtype_of, elementwise, in_dtype, reduce_dims, refuse_mixed, widened
from einsplit.capture.reader import Known, Reader, rule
from einsplit.dtypes import kind
from einsplit.scalar import operand

Numbers = int | Sequence[int]  # one for all spatial dimensions, or one for each


@rule(
    "aten.conv1d.default",
    "aten.conv2d.default",
    "aten.conv3d.default",
    "aten.conv1d.padding",
    "aten.conv2d.padding",
    "aten.conv3d.padding",
)
def convolution(
    reader: Reader,
    x: Known,
    weight: Known,
    bias: Known | None = None,
    stride: Numbers = 1,
    padding: Numbers | str = 0,
    dilation: Numbers = 1,
    groups: int = 1,
) -> object:
    """`b (g c) [h w], (g o) c [y x] -> b (g o) [p q]; sum c`.

    Of padding "same", `dilation * (taps - 1)` zeros in all, torch puts the odd one behind.
    """
    kernel, spread = reader.value(weight), _numbers(dilation, reader.value(weight))
    if isinstance(padding, str):
        taps = kernel.shape[2:]
        padding = [step * (y - 1) // 2 if padding == "same" else 0 for step, y in zip(spread, taps, strict=True)]
    attributes = _attributes(kernel, stride, padding, spread)
    return _recorded(reader, "convolution", x, kernel, bias, attributes, groups)


@rule("aten.conv_transpose1d.default", "aten.conv_transpose2d.input", "aten.conv_transpose3d.input")
def transposed(
    reader: Reader,
    x: Known,
    weight: Known,
    bias: Known | None = None,
    stride: Numbers = 1,
    padding: Numbers = 0,
    output_padding: Numbers = 0,
    groups: int = 1,
    dilation: Numbers = 1,
) -> object:
    """The adjoint of a convolution by its input; what `output_padding` adds is in the shape of the result."""
    kernel = reader.value(weight)
    attributes = _attributes(kernel, stride, padding, dilation)
    return _recorded(reader, "convolution_input", x, kernel, bias, attributes, groups)


@rule("aten.convolution.default")
def either(
    reader: Reader,
    x: Known,
    weight: Known,
    bias: Known | None,
    stride: Numbers,
    padding: Numbers,
    dilation: Numbers,
    is_transposed: bool,
    output_padding: Numbers,
    groups: int,
) -> object:
    """One of the above."""
    if is_transposed:
        return transposed(reader, x, weight, bias, stride, padding, output_padding, groups, dilation)
    return convolution(reader, x, weight, bias, stride, padding, dilation, groups)


def _numbers(given: Numbers, weight: Value) -> list[int]:
    """One for each spatial dimension."""
    found = [given] if isinstance(given, int) else list(given)
    return found * (weight.ndim - 2) if len(found) == 1 else found


def _attributes(weight: Value, stride: Numbers, padding: Numbers, dilation: Numbers) -> dict[str, object]:
    given = {"stride": stride, "padding": padding, "dilation": dilation}
    return {name: _numbers(numbers, weight) for name, numbers in given.items()}


def _recorded(
    reader: Reader, kernel: str, x: Known, weight: Value, bias: Known | None, attributes: dict[str, object], groups: int
) -> object:
    """The kernel node, and the sum with the bias; whole where a dimension has no element, or numbers are not real.

    Raises CaptureError where dtypes are mixed. (Of a transposed one, torch takes some biases of another dtype, by how
    it was built.)
    """
    refuse_mixed(reader, x, weight, bias)
    value, shape = reader.value(x), reader.shape
    if 0 in (*value.shape, *weight.shape, *shape) or kind(value.dtype) != "float":
        return NotImplemented
    is_single = value.ndim == weight.ndim - 1  # one image, without a batch
    if is_single:
        value, shape = insert(value, 0), (1, *shape)
    found = _kernel(reader, kernel, value, weight, shape, attributes, groups)
    found = drop(found, [0]) if is_single else found
    if bias is None:
        return found
    column = reader.value(bias)
    for _ in shape[2:]:
        column = insert(column, column.ndim)
    return elementwise(reader, operand(0) + operand(1), found, column, part="bias")


def _kernel(
    reader: Reader,
    kernel: str,
    x: Value,
    weight: Value,
    shape: Sequence[int],
    attributes: dict[str, object],
    groups: int,
) -> Value:
    """`x` is what the kernel reads first, be it the input of the convolution or, transposed, its output."""
    builder = reader.builder
    group, batch = builder.variable(groups), builder.variable(shape[0])
    # Channels of a group as the weight has them: behind the groups, and in its second dimension.
    behind, second = builder.variable(weight.shape[0] // groups), builder.variable(weight.shape[1])
    read, written = (behind, second) if kernel == "convolution_input" else (second, behind)
    taps, around, inside = (builder.variables(sizes) for sizes in (weight.shape[2:], x.shape[2:], shape[2:]))
    of_x: VariableDims = ((batch,), (group, read), *around)
    of_weight: VariableDims = ((group, behind), (second,), *taps)
    result: VariableDims = ((batch,), (group, written), *inside)
    # A product for each tap, each place in the output and each pair of channels of one group.
    places = prod(x.shape[2:] if kernel == "convolution_input" else shape[2:])
    products = shape[0] * places * prod(weight.shape)
    return builder.kernel(
        kernel,
        [(x, of_x), (weight, of_weight)],
        [(result, x.dtype)],
        reader.origin(),
        brackets=frozenset(variable for (variable,) in (*taps, *around, *inside)),
        attributes=attributes,
        summed=frozenset({read}),
        operations=2 * products,
    )[0]


@rule("aten.adaptive_avg_pool1d.default", "aten.adaptive_avg_pool2d.default", "aten.adaptive_avg_pool3d.default")
def averaged(reader: Reader, x: Known, sizes: Sequence[int]) -> object:
    """The mean over all places, where one is left."""
    if any(size != 1 for size in sizes) or kind(dtype_of(x)) != "float":
        return NotImplemented
    last = range(-len(sizes), 0)
    return in_dtype(reader, reduce_dims(reader, x, last, True, "mean", widened(0, dtype_of(x))), reader.dtype)


@rule("aten.pixel_shuffle.default")
def pixel_shuffle(reader: Reader, x: Known, factor: int) -> Value:
    """`(c i j) h w -> c (h i) (w j)`."""
    value = reader.value(x)
    *front, channels, height, width = value.shape
    opened = (*front, channels // factor**2, factor, factor, height, width)
    return _dealt_anew(reader, value, opened, (0, 3, 1, 4, 2))


@rule("aten.pixel_unshuffle.default")
def pixel_unshuffle(reader: Reader, x: Known, factor: int) -> Value:
    """`c (h i) (w j) -> (c i j) h w`."""
    value = reader.value(x)
    *front, channels, height, width = value.shape
    opened = (*front, channels, height // factor, factor, width // factor, factor)
    return _dealt_anew(reader, value, opened, (0, 2, 4, 1, 3))


@rule("aten.channel_shuffle.default")
def channel_shuffle(reader: Reader, x: Known, groups: int) -> Value:
    """`b (g c) -> b (c g)`."""
    value = reader.value(x)
    batch, channels, *places = value.shape
    opened = reader.builder.reshape(value, (batch, groups, channels // groups, *places), reader.origin())
    order = (0, 2, 1, *range(3, opened.ndim))
    return reader.builder.reshape(permute(opened, order), reader.shape, reader.origin())


def _dealt_anew(reader: Reader, value: Value, opened: Sequence[int], last: Sequence[int]) -> Value:
    """The value with its dimensions split as `opened`, the last five in the order `last`, and joined again."""
    parts = reader.builder.reshape(value, opened, reader.origin())
    front = parts.ndim - len(last)
    turned = permute(parts, (*range(front), *(front + k for k in last)))
    return reader.builder.reshape(turned, reader.shape, reader.origin())
