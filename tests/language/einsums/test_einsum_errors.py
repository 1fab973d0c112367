"""What einsum says of bad input: one typed error at the door, with the place, what was met, and what to do."""

from collections.abc import Callable

import numpy as np
import pytest
import torch

from einsplit.builder import Builder
from einsplit.einsum import einsum
from einsplit.errors import DtypeError, EinsplitError, GraphError, NotationError, ShapeError
from einsplit.scalar import operand
from einsplit.scalar.trace import exp, index

X = np.ones((2, 3))
Y = np.ones((3, 4))


def message(kind: type[EinsplitError], call: Callable[[], object]) -> str:
    with pytest.raises(kind) as caught:
        call()
    assert type(caught.value) is kind
    return str(caught.value)


def symbolic(*shape: int) -> object:
    return Builder().input("x", shape, "float64")


CASES: dict[str, tuple[type[EinsplitError], Callable[[], object], str]] = {
    "an operand of another rank": (
        ShapeError,
        lambda: einsum("i j, j k -> i k", X[0], Y),
        """operand 0 has 1 dimension, the text names 2.
  i j, j k -> i k
  ^^^
  operands (3,) and (3, 4).""",
    ),
    "sizes that differ": (
        ShapeError,
        lambda: einsum("i j, j k -> i k", X, X),
        """label 'j' has size 3 in operand 0 and 2 in operand 1.
  i j, j k -> i k
       ^
  operands (2, 3) and (2, 3).
  Two dimensions that differ need two labels.""",
    ),
    "a size that numpy would stretch": (
        ShapeError,
        lambda: einsum("i j, i j -> i", X, X[:, :1]),
        """label 'j' has size 3 in operand 0 and 1 in operand 1.
  i j, i j -> i
         ^
  operands (2, 3) and (2, 1).
  A dimension of size 1 is not stretched: write 1 in the place of its label.""",
    ),
    "too few operands": (
        ShapeError,
        lambda: einsum("i j, j k -> i k", X),
        """the text has 2 operands, 1 was given.
  i j, j k -> i k
  ^^^^^^^^
  operand (2, 3).
  Commas part the operands.""",
    ),
    "a label of the output alone": (
        NotationError,
        lambda: einsum("i j, j k -> i q", X, Y),
        """label 'q' stands in the output but in no operand.
  i j, j k -> i q
                ^
  operands (2, 3) and (3, 4). Did you mean 'k'? To broadcast along a new label, give its size: q=...""",
    ),
    "parts of a dimension that cannot be told": (
        ShapeError,
        lambda: einsum("i (h d) -> h i d", X),
        """the sizes of 'h' and 'd' cannot be told from (h d) = 3.
  i (h d) -> h i d
    ^^^^^
  operand (2, 3).
  Give sizes by name: h=..., d=...""",
    ),
    "an unknown function in the join": (
        NotationError,
        lambda: einsum("i j -> i", X, join="sqr(x)"),
        """unknown function 'sqr'.
  sqr(x)
  ^^^
  Did you mean 'sqrt'?""",
    ),
    "an unknown operand in the join": (
        NotationError,
        lambda: einsum("i j -> i", X, join="x + y"),
        """unknown operand 'y'.
  x + y
      ^
  Operands here: x.""",
    ),
    "an unknown label in the join": (
        NotationError,
        lambda: einsum("i j -> i", X, join="x * index(k)"),
        """unknown label 'k'.
  x * index(k)
            ^
  Labels here: i j.""",
    ),
    "an unknown label in a join written as a function": (
        NotationError,
        lambda: einsum("i j -> i", X, join=lambda x: exp(x) * index("jj")),
        """unknown label 'jj'.
  exp(x) * index(jj)
                 ^^
  Did you mean 'j'?
  Labels here: i j.""",
    ),
    "a function of another number of operands": (
        NotationError,
        lambda: einsum("i j -> i", X, join=lambda x, y: x),
        """the join cannot be called with 1 operands: missing a required argument: 'y'.
  It takes one argument for each operand, in order.""",
    ),
    "an expression of more operands": (
        NotationError,
        lambda: einsum("i j -> i", X, join=operand(0) + operand(1)),
        """the join asks for operand 1 of 1.
  x + y""",
    ),
    "a join that is neither text nor function": (
        NotationError,
        lambda: einsum("i j -> i", X, join=3),
        "a join is a text or a function, not int.",
    ),
    "dtypes that do not meet": (
        DtypeError,
        lambda: einsum("i j, j k -> i k", X, Y.astype("int64"), join="abs(x - y)"),
        """'-' does not take float64 and int64 together.
  abs(x - y)
      ^^^^^
  x: float64, y: int64.
  Write cast(y, float64).""",
    ),
    "dtypes that do not meet in a product": (
        DtypeError,
        lambda: einsum("i j, j k -> i k", X, Y.astype("float32")),
        """'*' does not take float64 and float32 together.
  x * y
  ^^^^^
  x: float64, y: float32.
  Write cast(y, float64).""",
    ),
    "an aggregation of another kind of numbers": (
        DtypeError,
        lambda: einsum("i j -> i", X, join="x * 2.0", agg="any"),
        """any does not take float64.
  x * 2.0
  ^^^^^^^
  The join gives float64.
  It takes bool; compare in the join, as in join='x != 0'.""",
    ),
    "an unknown aggregation": (
        NotationError,
        lambda: einsum("i j -> i j", X, agg="summ"),
        """unknown aggregation 'summ'.
  agg='summ'
      ^^^^^^
  Did you mean 'sum'?""",
    ),
    "an aggregation that is no name": (
        NotationError,
        lambda: einsum("i j -> i", X, agg=["sum"]),
        """an aggregation is given by its name, not by list.
  agg=['sum']
      ^^^^^^^
  Did you mean 'sum'?""",
    ),
    "elements that no Graph has": (
        DtypeError,
        lambda: einsum("i j -> i", X.astype("uint16")),
        """operand 0 is of the unknown dtype 'uint16'.
  i j -> i
  ^^^
  Did you mean 'int16'?""",
    ),
    "a text that is none": (
        NotationError,
        lambda: einsum(X, [0, 1]),
        """an einsum begins with its text, not with ndarray.
  As in einsum('i j, j k -> i k', x, y).""",
    ),
    "a tensor beside an array": (
        DtypeError,
        lambda: einsum("i j, j k -> i k", X, torch.ones(3, 4)),
        """operand 1 is a torch tensor, operand 0 a numpy array.
  i j, j k -> i k
       ^^^
  Convert one: torch.as_tensor(...), or .numpy().""",
    ),
    "a number beside a tensor": (
        DtypeError,
        lambda: einsum("i j, -> i k", torch.ones(3, 4), 2.0),
        """operand 1 is of type float, operand 0 a torch tensor.
  i j, -> i k
       ^
  Convert one: torch.as_tensor(...), or .numpy().""",
    ),
    "an array beside a symbolic value": (
        DtypeError,
        lambda: einsum("i j, j k -> i k", symbolic(2, 3), Y),
        """operand 1 is a numpy array, operand 0 a symbolic value.
  i j, j k -> i k
       ^^^
  Make the array an input of the graph: builder.input(...).""",
    ),
    "values of two builders": (
        GraphError,
        lambda: einsum("i j, j k -> i k", symbolic(2, 3), symbolic(3, 4)),
        """operand 1 comes from another builder than operand 0.
  i j, j k -> i k
       ^^^
  A Graph is built by one.""",
    ),
    "tensors on two devices": (
        DtypeError,
        lambda: einsum("i j, j k -> i k", torch.ones(2, 3), torch.ones(3, 4, device="meta")),
        """operand 1 is on meta, operand 0 on cpu.
  i j, j k -> i k
       ^^^
  Write operand.to('cpu').""",
    ),
    "a sparse tensor": (
        DtypeError,
        lambda: einsum("i j -> i", torch.eye(2).to_sparse()),
        """operand 0 is not dense but torch.sparse_coo.
  i j -> i
  ^^^
  Write operand.to_dense().""",
    ),
}


@pytest.mark.parametrize("mistake", CASES)
def test_the_whole_message(mistake: str) -> None:
    kind, call, text = CASES[mistake]
    assert message(kind, call) == text


def test_ragged_lists_are_no_array() -> None:
    shown = message(ShapeError, lambda: einsum("i -> i", [[1], [1, 2]]))
    assert shown.startswith("operand 0 cannot be read as an array.\n  i -> i\n  ^\n  numpy says: ")


@pytest.mark.parametrize(
    "call",
    [
        lambda: einsum("i j -> i -> j", X),
        lambda: einsum("", X),
        lambda: einsum("i j -> i", X, join=""),
        lambda: einsum("i j -> i", X, join=lambda x: None),
        lambda: einsum("i j -> i", X, join=lambda x: x if x > 0 else -x),
        lambda: einsum("i j -> i", X, k=3),
        lambda: einsum("i j -> i", X, i=-1),
        lambda: einsum("i j -> i", X, i=2.5),
        lambda: einsum("i j -> i", None),
        lambda: einsum("i j -> i", {"a": 1}),
        lambda: einsum("i j -> i", "text"),
        lambda: einsum("i j -> i", object()),
        lambda: einsum(None, X),
        lambda: einsum("i j -> i", torch.ones(2, 3, dtype=torch.uint16)),
    ],
)
def test_every_mistake_is_an_einsplit_error(call: Callable[[], object]) -> None:
    with pytest.raises(EinsplitError) as caught:
        call()
    assert type(caught.value) is not EinsplitError and str(caught.value)
