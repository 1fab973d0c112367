"""The rate of a node: hand-computed numbers for the law of thin matrices, per form, kernel and dtype."""

from __future__ import annotations

import msgspec
import pytest
import torch
from torch.nn.functional import conv2d, scaled_dot_product_attention

from einsplit.autodiff import grad
from einsplit.builder import Builder
from einsplit.capture import capture
from einsplit.einsum import einsum
from einsplit.graph import Graph, Kernel, factors
from einsplit.passes import tidy
from einsplit.solver.machine import Machine, MeshAxis
from einsplit.solver.prepare import prepare
from einsplit.solver.pricing.calls import further_seconds
from einsplit.solver.pricing.forms import form
from einsplit.solver.pricing.price import node_seconds
from einsplit.solver.pricing.rates import operations_per_second
from einsplit.solver.sharding import Shape, make_tables
from tests.support.attention import differentiated

MACHINE = Machine(
    name="m",
    axes=(MeshAxis("a", 4, 1e9, 0.0),),
    flops_per_second=1e3,
    matmul_flops_per_second={"float32": 1e6, "bfloat16": 4e6},
    half_size=8.0,
    memory_bytes_per_second=1e30,
    memory_bytes=1e9,
    launch_seconds=0.5,
)


def product(m: int, n: int, k: int, dtype: str = "float32", text: str = "m k, k n -> m n") -> Graph:
    builder = Builder()
    sizes = {"m": m, "n": n, "k": k, "b": 3}
    left, right = (part.split() for part in text.partition("->")[0].split(","))
    x = builder.input("x", tuple(sizes[label] for label in left), dtype, labels=left)
    y = builder.input("y", tuple(sizes[label] for label in right), dtype, labels=right)
    return builder.build({"z": einsum(text, x, y)})


def rate_and_seconds(graph: Graph, machine: Machine = MACHINE, cut: str | None = None) -> tuple[float, float]:
    """Of the last node but those that compute nothing."""
    tables = make_tables(graph, machine.sizes, {cut: (0,)} if cut else {})
    node = next(node for node in reversed(graph.nodes) if node.operands)
    dtypes = [graph.nodes[row.node].dtype for row in node.operands]
    found = form(node, dtypes, graph.sizes)
    local = {label: size // (4 if label == cut else 1) for label, size in graph.sizes.items()}
    shapes = tuple(Shape(tuple(tables[label] for label in factors(graph.nodes[row.node])), 4) for row in node.operands)
    rate = operations_per_second(node, found, local, tables, machine)
    return rate, node_seconds(node, found, (cut,), shapes, tables, machine)


@pytest.mark.parametrize(
    "m, n, k, dtype, rate",
    [
        # s / (s + 8) of a million, by the least of the three
        (24, 24, 24, "float32", 750_000.0),
        (8, 24, 24, "float32", 500_000.0),
        (24, 8, 24, "float32", 500_000.0),
        (24, 24, 8, "float32", 500_000.0),
        (24, 24, 2, "float32", 200_000.0),
        (24, 1, 24, "float32", 1e6 / 9),
        (8, 24, 24, "bfloat16", 2e6),
        # A dtype that is not listed runs at the scalar rate, thin as it is.
        (8, 24, 24, "float64", 500.0),
    ],
)
def test_a_thin_matrix_is_multiplied_at_a_part_of_the_rate(m, n, k, dtype, rate):
    found, seconds = rate_and_seconds(product(m, n, k, dtype))
    assert found == pytest.approx(rate)
    assert seconds == pytest.approx(0.5 + 2 * m * n * k / rate)


def test_it_is_the_local_sizes_that_count():
    assert rate_and_seconds(product(32, 64, 64), cut="m")[0] == pytest.approx(500_000.0)
    assert rate_and_seconds(product(32, 64, 64), cut="n")[0] == pytest.approx(1e6 * 16 / 24)


def test_a_label_of_all_three_makes_many_small_multiplications():
    assert rate_and_seconds(product(24, 24, 24, text="b m k, b k n -> b m n"))[0] == pytest.approx(750_000.0)


@pytest.mark.parametrize("join", ["x + y", "x * y"])
def test_what_multiplies_no_matrices_runs_at_the_scalar_rate(join):
    builder = Builder()
    x, y = builder.input("x", (24,), "float32"), builder.input("y", (24,), "float32")
    graph = builder.build({"z": einsum("i, i -> i", x, y, join=join)})
    assert rate_and_seconds(graph) == (1e3, pytest.approx(0.5 + 24 / 1e3))


def test_a_machine_without_the_fields_prices_as_before():
    plain = msgspec.structs.replace(MACHINE, matmul_flops_per_second={}, half_size=0.0)
    assert rate_and_seconds(product(8, 24, 24), plain) == (1e3, 0.5 + 2 * 8 * 24 * 24 / 1e3)


def rates_of_kernels(graph: Graph, machine: Machine = MACHINE) -> dict[str, float]:
    """By kernel and result."""
    tables = make_tables(graph, machine.sizes, {})
    return {
        f"{node.kernel} {node.output}": operations_per_second(
            node, form(node, [graph.nodes[row.node].dtype for row in node.operands]), graph.sizes, tables, machine
        )
        for node in graph.nodes
        if isinstance(node, Kernel)
    }


def test_a_convolution_is_a_multiplication_of_windows_by_weights():
    """7 channels of output are the least; of the gradients, 5 of input, or as many."""

    def convolved(x: torch.Tensor, w: torch.Tensor) -> torch.Tensor:
        return conv2d(x, w)

    graph = capture(convolved, (torch.zeros(6, 5, 9, 9), torch.zeros(7, 5, 3, 3)), {}).graph
    assert rates_of_kernels(graph) == {"convolution 0": pytest.approx(1e6 * 7 / 15)}  # 6*7*7 x 5*3*3, 5*3*3 x 7
    total = capture(lambda x, w: conv2d(x, w).sum(), (torch.zeros(6, 5, 9, 9), torch.zeros(7, 5, 3, 3)), {})
    rates = rates_of_kernels(grad(total.graph, "output", total.feeds))
    assert rates["convolution_input 0"] == pytest.approx(1e6 * 5 / 13)  # 6*9*9 x 7*3*3, 7*3*3 x 5
    assert rates["convolution_weight 0"] == pytest.approx(1e6 * 7 / 15)  # 5*3*3 x 6*7*7, 6*7*7 x 7


def test_attention_multiplies_queries_by_keys_in_the_dtype_of_the_queries():
    """Two heads for each head of keys: 2 * 6 queries, 8 keys, 4 features."""
    found = prepare(tidy(capture(attended, tuple(torch.zeros(s, dtype=torch.bfloat16) for s in SHAPES), {}).graph))
    rates = rates_of_kernels(found)
    assert rates and set(rates.values()) == {4e6 * 4 / 12}
    rates = rates_of_kernels(differentiated(*SHAPES, SHAPES[0]))
    assert {name.split()[0] for name in rates} == {"attention", "attention_values", "attention_gradient"}
    assert set(rates.values()) == {1e3 * 4 / 12}  # float64 has no rate of its own


SHAPES = ((4, 4, 6, 4), (4, 2, 8, 4), (4, 2, 8, 4))


def attended(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
    return scaled_dot_product_attention(q, k, v, enable_gqa=True)


def test_a_kernel_that_multiplies_nothing_runs_at_the_scalar_rate():
    graph = capture(lambda x: torch.topk(x, 2, -1), (torch.zeros(4, 6),), {}).graph
    assert set(rates_of_kernels(graph).values()) == {1e3}


def test_further_results_of_a_call_are_priced_at_the_rate_of_multiplications():
    """Ten times the rate of multiplications makes what a further gradient adds ten times cheaper."""
    graph = differentiated(*SHAPES, SHAPES[0])
    node = next(n for n in graph.nodes if isinstance(n, Kernel) and n.kernel == "attention_gradient" and n.output == 2)
    tables = make_tables(graph, (4,), {})
    slow = msgspec.structs.replace(MACHINE, matmul_flops_per_second={"float64": 1e3}, half_size=0.0)
    fast = msgspec.structs.replace(slow, matmul_flops_per_second={"float64": 1e4})
    seconds = [further_seconds(node, (None,), tables, machine) for machine in (slow, fast)]
    assert seconds[0] == pytest.approx(10 * seconds[1]) and seconds[1] > 0


def test_a_grouped_multiplication_has_the_rows_of_one_index():
    """48 rows over 4 experts are 12 each, of 16 features in and 32 out."""
    builder = Builder()
    x = builder.input("x", (48, 16), "float32", labels=["t", "i"])
    w = builder.input("w", (4, 16, 32), "float32", labels=["e", "i", "o"])
    which = builder.input("which", (48,), "int64", labels=["t"])
    z = einsum("t i, e i o, t -> t o", x, w, which, join="where(z == index(e), x * y, 0)")
    graph = builder.build({"z": z})
    node = graph.nodes[3]
    assert form(node, ["float32", "float32", "int64"], graph.sizes).kind == "grouped"
    assert rate_and_seconds(graph)[0] == pytest.approx(1e6 * 12 / 20)
