"""Graph: what breaks a law is refused when the graph is built, with the node, what was met, and the way out."""

import re

import pytest

from einsplit.errors import GraphError
from einsplit.graph import Dims, Einsum, Graph, Input, Kernel, Node, Operand
from einsplit.scalar import Expr, index, operand

SIZES = {"i": 2, "j": 3, "rows": 2}
FIRST = operand(0)
X = Input(name="x", dims=(("i",), ("j",)), dtype="float32")


def einsum(
    labels: tuple[str, ...] = ("i", "j"),
    dims: Dims = (("i",),),
    node: int = 0,
    join: Expr = FIRST,
    agg: str = "sum",
) -> Einsum:
    """A node that reads node `node` under `labels`."""
    return Einsum(name="y", operands=(Operand(node, labels),), dims=dims, join=join, agg=agg, dtype="float32")


def kernel(
    dims: Dims,
    brackets: tuple[str, ...],
    zeroed: tuple[str, ...] = (),
    operations: int = 0,
    shared: int = 0,
    agg: str = "sum",
) -> Kernel:
    return Kernel(
        name="y",
        kernel="sort",
        attributes="{}",
        operands=(Operand(0, ("i", "j")),),
        reads=((("i",), ("j",)),),
        dims=dims,
        brackets=brackets,
        dtype="float32",
        agg=agg,
        zeroed=zeroed,
        operations=operations,
        shared=shared,
    )


WHOLE = ((("i",), ("j",)), ("j",))  # dimensions and brackets of a kernel that breaks no law


@pytest.mark.parametrize(
    "node, mistake, advice",
    [
        # labels
        (einsum(dims=(("row",),)), "label 'row' has no size", "Did you mean 'rows'?"),
        (einsum(dims=(("qqq",),)), "label 'qqq' has no size", "Labels with a size: i j rows."),
        (
            einsum(dims=(("i",), ("i",))),
            "a label stands twice in the output i i",
            "Only an operand may repeat a label.",
        ),
        # readings
        (einsum(node=1), "operand 1 is not an earlier node", "Nodes are numbered 0 to 0."),
        (einsum(node=-1), "operand -1 is not an earlier node", "Nodes are numbered 0 to 0."),
        (
            einsum(("j", "i")),
            "reads ('i', 'j') of node 0 as ('j', 'i'): not the same sizes",
            "Sizes (2, 3) are read as (3, 2): one label for each factor, of its size.",
        ),
        # joins and aggregations
        (einsum(agg="summ"), "unknown aggregation 'summ'", "Did you mean 'sum'?"),
        (einsum(join=operand(1)), "the join y has more operands than the node", "The node has 1."),
        (
            einsum(join=index("rows")),
            "the join index(rows) has an index that is no label of the node",
            "Labels here: i j.",
        ),
        # kernels
        (
            kernel((("i",),), ()),
            "label 'j' is read, not written, not whole, and not summed",
            "Name it among `brackets`, or among `summed`.",
        ),
        (kernel(*WHOLE, agg="summ"), "unknown aggregation 'summ'", "Did you mean 'sum'?"),
        (kernel(*WHOLE, zeroed=("rows",)), "label 'rows' is zeroed, and is no label of the node", "Labels here: i j."),
        (
            kernel(*WHOLE, operations=5, shared=6),
            "6 of its 5 operations are shared",
            "Between 0 and 5 of them: those that the call has done for another result.",
        ),
        (
            kernel(*WHOLE, operations=5, shared=-1),
            "-1 of its 5 operations are shared",
            "Between 0 and 5 of them: those that the call has done for another result.",
        ),
    ],
)
def test_a_node_that_breaks_a_law_is_named_and_shown_with_advice(node: Node, mistake: str, advice: str) -> None:
    with pytest.raises(GraphError) as caught:
        Graph((X, node), SIZES, ())
    assert caught.value.mistake == f"node 1 (y): {mistake}"
    assert caught.value.remarks[1:] == (advice,)  # after the node's own text


def test_the_whole_message_of_a_broken_law() -> None:
    with pytest.raises(GraphError) as caught:
        Graph((X, einsum(agg="summ")), SIZES, ())
    assert str(caught.value) == "node 1 (y): unknown aggregation 'summ'\n  i j -> i, x, summ\n  Did you mean 'sum'?"


@pytest.mark.parametrize("at", [2, 100, -1])
def test_an_output_that_is_no_node_is_refused(at: int) -> None:
    text = f"output 'z' is node {at}, and there are 2 nodes\n  Nodes are numbered 0 to 1."
    with pytest.raises(GraphError, match=f"^{re.escape(text)}$"):
        Graph((X, einsum()), SIZES, (("z", at),))


@pytest.mark.parametrize(
    "update, mistake, advice",
    [
        ((0, 2), "there are 2 nodes", "Nodes are numbered 0 to 1."),
        ((2, 0), "there are 2 nodes", "Nodes are numbered 0 to 1."),
        ((0, -1), "there are 2 nodes", "Nodes are numbered 0 to 1."),
        ((-2, 1), "there are 2 nodes", "Nodes are numbered 0 to 1."),
        ((1, 1), "node 1 is no input", "Inputs: x=0."),
        ((0, 1), "factors of sizes (2, 3) and (2,)", "The next value has the factors of the state that it becomes."),
    ],
)
def test_an_update_that_breaks_a_law_is_refused(update: tuple[int, int], mistake: str, advice: str) -> None:
    text = f"update of node {update[0]} by node {update[1]}: {mistake}\n  {advice}"
    with pytest.raises(GraphError, match=f"^{re.escape(text)}$"):
        Graph((X, einsum()), SIZES, (), (update,))


def test_two_inputs_of_one_name_are_refused() -> None:
    with pytest.raises(
        GraphError, match=r"^input 'x' is defined twice\n  Inputs are fed by name: rename one of them\.$"
    ):
        Graph((X, X), SIZES, ())


def test_what_sets_the_price_of_a_kernel_is_in_the_hash() -> None:
    nodes = [kernel(*WHOLE, ("i",)[:zeroed], operations, shared) for zeroed, operations, shared in _PRICES]
    assert len({Graph((X, node), SIZES, (("y", 1),)).hash for node in nodes}) == len(_PRICES)


_PRICES = ((0, 5, 0), (0, 5, 5), (0, 6, 5), (1, 5, 5))  # how many labels are zeroed, operations, shared ones


def test_a_graph_is_printed_as_the_notation_writes_it() -> None:
    single = Input(name="x", dims=(("i",), (), ("i'", "j")), dtype="float32")
    graph = Graph((single, einsum(("i", "i'", "j"))), {**SIZES, "i'": 1}, (("z", 1),))
    assert "%0 x: float32[2, 1, 3] =  data i 1 (i' j)" in repr(graph)
    assert "%1 y: float32[2] = %0  i i' j -> i, x, sum" in repr(graph)
