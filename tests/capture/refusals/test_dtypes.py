"""Dtypes that torch does not mix, and arguments of kinds and dtypes that no Graph has, are refused by name."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tests.capture.refusals.messages import expected_of, message_of
from tests.capture.tensors import real

X = real(4, 6)
BF16, F64 = torch.bfloat16, torch.float64
MIXED: dict[str, tuple[str, Callable[..., object], tuple[object, ...], str]] = {  # operator, call, and dtypes
    "linear": ("linear.default", nn.Linear(6, 6, dtype=BF16), (X,), "float32 and bfloat16"),
    # With a bias, torch refuses convolutions while it traces them.
    "convolution": (
        "conv2d.default",
        nn.Conv2d(3, 4, 3, bias=False, dtype=BF16),
        (real(2, 3, 5, 5),),
        "float32 and bfloat16",
    ),
    "wider weight": ("conv1d.default", nn.Conv1d(4, 5, 2, bias=False), (X.to(BF16),), "bfloat16 and float32"),
    "padded convolution": (
        "conv1d.padding",
        nn.Conv1d(4, 5, 3, padding="same", bias=False, dtype=F64),
        (X,),
        "float32 and float64",
    ),
    "transposed convolution": (
        "conv_transpose1d.default",
        nn.ConvTranspose1d(4, 4, 2, dtype=BF16),
        (X,),
        "float32 and bfloat16",
    ),
    "bias of a transposed convolution": (
        "conv_transpose1d.default",
        F.conv_transpose1d,
        (real(2, 3, 5), real(3, 4, 2), real(4, dtype=BF16)),
        "float32 and bfloat16",
    ),
    "layer norm": ("layer_norm.default", nn.LayerNorm(6, dtype=BF16), (X,), "float32 and bfloat16"),
    "bias of a layer norm": (
        "layer_norm.default",
        F.layer_norm,
        (X.to(BF16), (6,), X[0].to(BF16), X[0]),
        "bfloat16 and float32",
    ),
    "group norm": ("group_norm.default", nn.GroupNorm(2, 6, dtype=F64), (X,), "float32 and float64"),
    "batch norm": ("batch_norm.default", nn.BatchNorm1d(6, dtype=BF16).eval(), (X,), "float32 and bfloat16"),
}


@pytest.mark.parametrize("name", MIXED)
def test_dtypes_that_torch_does_not_mix_are_not_mixed(name: str) -> None:
    operator, call, args, dtypes = MIXED[name]

    def function(*args: object) -> object:
        return call(*args)  # here

    function.__doc__ = f"""aten.{operator} is given tensors of {dtypes}, and takes one dtype, as in torch
        at {{here}}
        Cast one of them, x.to(weight.dtype), or run under torch.autocast."""
    with pytest.raises(RuntimeError):
        function(*args)
    assert message_of(function, *args) == expected_of(function)


DENSE = "and only dense ones are cut over devices.\n  Pass x.to_dense()."
ARGUMENTS: dict[str, tuple[Callable[[], Tensor], str]] = {
    "sparse": (lambda: X.to_sparse(), f"argument 'x' is a sparse_coo tensor, {DENSE}"),
    "compressed": (lambda: X.to_sparse_csr(), f"argument 'x' is a sparse_csr tensor, {DENSE}"),
    "conjugate": (
        lambda: torch.view_as_complex(real(3, 2)).conj(),
        "argument 'x' is a conjugate that is not computed yet.\n  Pass x.resolve_conj().resolve_neg().",
    ),
    "uint16": (
        lambda: torch.zeros(3, dtype=torch.uint16),
        "tensors of uint16 are not supported.\n  Use one of bool, uint8, int8, int16, int32, int64, float16, bfloat16, "
        "float32, float64, complex64, complex128.",
    ),
}


@pytest.mark.filterwarnings("ignore:Sparse CSR tensor support is in beta")
@pytest.mark.parametrize("name", ARGUMENTS)
def test_an_argument_that_cannot_be_cut_is_named(name: str) -> None:
    make, message = ARGUMENTS[name]
    assert message_of(lambda x: x * 1, make()) == message
