"""What does not fit is one error that points at the place, before anything large is computed."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch

from einsplit import functional as F
from einsplit.builder import Builder
from einsplit.errors import DtypeError, EinsplitError, NotationError, ShapeError

ones = np.ones


def whole(*shape: int) -> np.ndarray:
    return np.zeros(shape, int)


CASES: dict[str, tuple[Callable[[], object], type[EinsplitError], str]] = {
    # -------------------------------------------------------------------------------------- found by einsum
    "softmax of a number": (
        lambda: F.softmax(ones(())),
        ShapeError,
        """\
operand 0 has 0 dimensions, the text names 1 or more.
  ... k -> ...
  ^^^^^
  operand ().""",
    ),
    "softmax of integers": (
        lambda: F.softmax(whole(3)),
        DtypeError,
        """\
'exp' does not take int64.
  exp(x - stop_gradient(y))
  ^^^^^^^^^^^^^^^^^^^^^^^^^
  x: int64, y: int64.
  Cast to a float: exp(cast(x - stop_gradient(y), float32)).""",
    ),
    "a weight of another width": (
        lambda: F.rms_norm(ones((2, 3)), ones(4)),
        ShapeError,
        """\
label 'k' has size 3 in operand 0 and 4 in operand 2.
  ... k, ..., k -> ... k
              ^
  operands (2, 3), (2,) and (4,).
  Two dimensions that differ need two labels.""",
    ),
    "heads that are no multiple of the groups": (
        lambda: F.attention(ones((3, 2, 4)), ones((2, 2, 4)), ones((2, 2, 4))),
        ShapeError,
        """\
(g r) = 3 in operand 0 is no multiple of 2.
  ... (g r) i d, ... g j d -> ... (g r) i j
      ^^^^^
  operands (3, 2, 4) and (2, 2, 4).
  g = 2 in operand 1.""",
    ),
    "a mask to be stretched": (
        lambda: F.attention(ones((2, 2, 4)), ones((2, 5, 4)), ones((2, 5, 4)), mask=ones((1, 2, 5))),
        ShapeError,
        """\
dimension 0 from the right under '...' has size 2 in operand 0 and 1 in operand 1.
  ... i j, ... i j -> ... i j
           ^^^
  operands (2, 2, 5) and (1, 2, 5).
  A dimension of size 1 is not stretched: drop it, or name it.""",
    ),
    "an odd number of features to be rotated": (
        lambda: F.rotary_embedding(ones((2, 3))),
        ShapeError,
        """\
(g d) = 3 in operand 0 is no multiple of 2.
  ... s (g d) -> ... s (h d)
        ^^^^^
  operand (2, 3).
  g = 2 as given.""",
    ),
    "two kinds of operands": (
        lambda: F.embedding(whole(2), torch.ones(3, 4)),
        DtypeError,
        """\
operand 1 is a torch tensor, operand 0 a numpy array.
  ..., v d -> ... d
       ^^^
  Convert one: torch.as_tensor(...), or .numpy().""",
    ),
    "matrices that do not follow each other": (
        lambda: F.matrix_chain(ones((2, 3)), ones((2, 3))),
        ShapeError,
        """\
label 'n1' has size 3 in operand 0 and 2 in operand 1.
  n0 n1, n1 n2 -> n0 n2
         ^^
  operands (2, 3) and (2, 3).
  Two dimensions that differ need two labels.""",
    ),
    "more neighbours than points": (
        lambda: F.k_nearest(ones((2, 3)), ones((2, 3)), 5),
        ShapeError,
        """\
top_k gives 5 elements of 2.
  i [j] -> i [k], i [k]
           ^^^^^
  There are not so many.""",
    ),
    # ---------------------------------------------------------------------------- found before it is written
    "targets that are probabilities": (
        lambda: F.cross_entropy(ones((2, 3)), ones(2)),
        DtypeError,
        """\
targets are integers, not float64.
  ..., ... v -> ...
  ^^^
  Cast them to int64.""",
    ),
    "ids that are floats": (
        lambda: F.embedding(torch.ones(2), torch.ones(3, 4)),
        DtypeError,
        """\
ids are integers, not float32.
  ..., v d -> ... d
  ^^^
  Cast them to int64.""",
    ),
    "an unknown reduction": (
        lambda: F.cross_entropy(ones((2, 3)), whole(2), reduction="summ"),
        NotationError,
        """\
unknown reduction 'summ'.
  Did you mean 'sum'?""",
    ),
    "a query without heads": (
        lambda: F.attention(ones((2, 3)), ones((2, 3)), ones((2, 3))),
        ShapeError,
        """\
the query has shape (2, 3).
  ... (g r) i d, ... g j d -> ... (g r) i j
  ^^^^^^^^^^^^^
  It has heads, positions and features.""",
    ),
    "channels of another number": (
        lambda: F.convolution(ones((1, 2, 3, 3)), ones((1, 3, 2, 2))),
        ShapeError,
        """\
(g c) has size 3, and operand 0 has 2 there.
  b (g c) h w, (g o) c y x -> b (g o) p q
    ^^^^^
  operands (1, 2, 3, 3) and (1, 3, 2, 2).
  g = 1 as given, c = 3 in operand 1.""",
    ),
    "a weight of four dimensions for three": (
        lambda: F.convolution(ones((1, 2, 3)), ones((1, 2, 2, 2))),
        ShapeError,
        """\
x has 3 dimensions, the weight 4.
  b (g c) h w, (g o) c y x -> b (g o) p q
  ^^^^^^^^^^^
  As many: batch, channels, then those that the window slides along.""",
    ),
    "a weight without a window": (
        lambda: F.convolution(ones((1, 2)), ones((1, 2))),
        ShapeError,
        """\
the weight has 2 dimensions.
  b (g c) h w, (g o) c y x -> b (g o) p q
               ^^^^^^^^^^^
  Channels out and in, then one to three of a window.""",
    ),
    "a window that does not fit": (
        lambda: F.convolution(ones((1, 1, 3, 3)), ones((1, 1, 2, 2)), dilation=3),
        ShapeError,
        """\
a window that reaches over 4 elements does not fit into 3, padded by 0 on both sides.
  b (g c) h w, (g o) c y x -> b (g o) p q
  ^^^^^^^^^^^""",
    ),
    "a window of more dimensions": (
        lambda: F.max_pool(ones(3), 2),
        ShapeError,
        """\
x has shape (3,), the window 2 dimensions.
  ... h0 h1 -> ... p0 p1
  ^^^^^^^^^""",
    ),
    "strides for another number of dimensions": (
        lambda: F.max_pool(ones((3, 3)), 2, stride=(1, 2, 1)),
        EinsplitError,
        """\
stride=(1, 2, 1) has 3 numbers for 2 dimensions.
  Give one number, or 2.""",
    ),
    "a stride of 0": (
        lambda: F.convolution(ones((1, 1, 3)), ones((1, 1, 2)), stride=0),
        EinsplitError,
        """\
stride=0.
  It is 1 or more.""",
    ),
    "half a stride": (
        lambda: F.convolution(ones((1, 1, 3)), ones((1, 1, 2)), stride=0.5),
        EinsplitError,
        """\
stride=0.5.
  Give an integer, or one for each dimension.""",
    ),
    "an unknown norm": (
        lambda: F.all_pairs_distances(ones((2, 3)), ones((2, 3)), p=3),
        EinsplitError,
        """\
p=3 is no norm here.
  Known: 1 2 inf.""",
    ),
    "no matrices": (lambda: F.matrix_chain(), ShapeError, "a chain of no matrices has no shape.\n  Give one or more."),
    "a factor missing": (
        lambda: F.mttkrp(ones((2, 3)), [ones((2, 3))], 0),
        ShapeError,
        """\
mode 0 with 1 factors of a tensor of shape (2, 3).
  There is a factor for each of two or more dimensions, and mode is the number of one.""",
    ),
    "a list that is no tensor": (
        lambda: F.cross_entropy(ones((2, 3)), [[1], [1, 2]]),
        ShapeError,
        "",
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_a_mistake_is_one_error_that_points(name: str) -> None:
    call, kind, text = CASES[name]
    with pytest.raises(EinsplitError) as caught:
        call()
    assert type(caught.value) is kind
    assert str(caught.value) == text or not text


def test_symbolic_values_of_the_wrong_shape_are_refused_where_they_are_written() -> None:
    builder = Builder()
    x, table = builder.input("x", (2, 3), "float32"), builder.input("table", (4, 5), "float32")
    with pytest.raises(ShapeError, match="label 'n1' has size 3 in operand 0 and 4 in operand 1"):
        F.matrix_chain(x, table)
    with pytest.raises(DtypeError, match="ids are integers, not float32"):
        F.embedding(x, table)
