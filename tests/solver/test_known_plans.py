"""Plans that people have found are in the space, and are the optimum where they should be."""

from __future__ import annotations

from collections.abc import Collection

import numpy as np
import pytest
import torch

from einsplit.builder import Builder, Origin, variable_index
from einsplit.builder.views import Value
from einsplit.capture import capture
from einsplit.graph import Graph, Label
from einsplit.scalar import call, const, operand
from einsplit.solver.machine import Machine, MeshAxis
from einsplit.solver.prepare import prepare
from einsplit.solver.program import Program
from einsplit.solver.search import sweep as search
from einsplit.solver.search.problem import Problem, Solution
from einsplit.solver.search.starts import digit_tables
from einsplit.solver.sharding import PARTIAL, Sharding, Sum, cuttable_labels, extent_classes, make_tables, output_layout
from tests.support.cuttings import Cutting, run_local
from tests.support.meaning import meaning
from tests.support.prices import program_seconds
from tests.support.searches import swept, whole
from tests.support.spelled import spelled

ITEMSIZE = 4  # float32
BATCH, SEQUENCE, WIDTH = 2, 8, 32


def machine(*sizes: int, bytes_per_second: float = 1e9, latency_seconds: float = 1e-6) -> Machine:
    axes = tuple(MeshAxis(f"axis{k}", n, bytes_per_second, latency_seconds) for k, n in enumerate(sizes))
    return Machine(
        name="one link",
        axes=axes,
        flops_per_second=1e10,
        memory_bytes_per_second=1e10,
        memory_bytes=1e9,
        launch_seconds=1e-7,
    )


def program_of(found: Solution | Cutting) -> Program:
    return Cutting(found.problem, found.shardings).program


# ------------------------------------------------------------------------------------------------ Megatron


@pytest.fixture(scope="module")
def llama():
    """A decoder of one layer with its embedding and head: 4 heads over 2 key/value heads, 48 hidden units."""
    transformers = pytest.importorskip("transformers")
    config = transformers.LlamaConfig(
        vocab_size=128,
        hidden_size=WIDTH,
        intermediate_size=48,
        num_hidden_layers=1,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=64,
        use_cache=False,
    )
    torch.manual_seed(0)
    model = transformers.LlamaForCausalLM(config).eval()
    ids = torch.randint(0, 128, (BATCH, SEQUENCE))
    captured = capture(model, (ids,), {})
    feeds = {name: tensor.detach().numpy() for name, tensor in captured.tensors.items()}
    feeds |= dict.fromkeys(captured.feeds, ids.numpy())
    with torch.no_grad():
        logits = model(ids).logits.numpy()
    return prepare(captured.graph), feeds, logits


def cut_by(graph: Graph, labels: Collection[Label]) -> list[Sharding]:
    """One axis: each node is cut by whichever of the labels it has, and whole where it has none."""
    return [(next((own for own in cuttable_labels(node) if own in labels), None),) for node in graph.nodes]


def megatron(graph: Graph) -> Cutting:
    """Attention cut by key/value heads, the perceptron by hidden units (Shoeybi et al. 2019), on one axis of 2."""
    weight = {name.removeprefix("model.layers.0."): graph.nodes[at] for name, at in graph.inputs.items()}
    heads, hidden = weight["self_attn.k_proj.weight"].dims[0][0], weight["mlp.gate_proj.weight"].dims[0][0]
    tables = make_tables(graph, (2,), dict.fromkeys(set(extent_classes(graph).values()), (0,)))
    problem = Problem(graph, machine(2), tables)
    shardings = cut_by(graph, (heads, hidden))
    assert all(choice in problem.choices(at, 0) for at, (choice,) in enumerate(shardings))
    return Cutting(problem, tuple(shardings))


def with_addends_in_the_residual(cutting: Cutting) -> Cutting:
    """The same, but the partial results of a block are added to the residual before they are reduced."""
    graph, shardings = cutting.problem.graph, list(cutting.shardings)
    left = [output_layout(node, sharding) for node, sharding in zip(graph.nodes, shardings, strict=True)]
    for at, node in enumerate(graph.nodes):
        if any(left[o.node] == (PARTIAL,) for o in node.operands):
            assert Sum((0, 1)) in cutting.problem.choices(at, 0)
            shardings[at] = (Sum((0, 1)),)
    return Cutting(cutting.problem, tuple(shardings))


@pytest.mark.parametrize("variant", [lambda cutting: cutting, with_addends_in_the_residual], ids=["whole", "addends"])
def test_megatron_moves_two_all_reduces_of_the_activation(llama, variant):
    graph, feeds, logits = llama
    cutting = variant(megatron(graph))
    program = cutting.program
    activation = BATCH * SEQUENCE * WIDTH * ITEMSIZE
    assert [c.kind for c in program.collectives] == ["all_reduce", "all_reduce"]
    assert [program.predicted_bytes(c) for c in program.collectives] == [activation, activation]
    price = cutting.problem.price(cutting.shardings)
    assert price.bytes_sent == 2 * activation
    assert price.seconds == pytest.approx(program_seconds(program, cutting.problem.machine), rel=1e-9)
    found = run_local(program, feeds)
    np.testing.assert_allclose(found["output"], logits, atol=1e-5)


def test_addends_do_flow_through_the_residual(llama):
    cutting = with_addends_in_the_residual(megatron(llama[0]))
    chosen = [choice for (choice,) in cutting.shardings if isinstance(choice, Sum)]
    assert len(chosen) == 2  # the additions after attention and after the perceptron
    reduced = [cutting.program.buffers[c.source] for c in cutting.program.collectives]
    assert all(buffer.partial == (0,) for buffer in reduced)


def test_megatron_is_no_cheaper_than_the_plan_that_is_found(llama):
    cutting = megatron(llama[0])
    price = cutting.problem.price(cutting.shardings).seconds
    assert swept(llama[0], cutting.problem.machine).seconds <= price * (1 + 1e-9)


# -------------------------------------------------------------------------------- vocabulary-parallel embedding

TOKENS, FEATURES = 8, 5  # an odd number of features: no axis of 2 or 4 may cut them


def vocabulary_graph() -> Graph:
    """Rows of a big table that is itself computed: who does not cut its rows computes all of them."""
    builder = Builder()
    ids = builder.input("ids", (TOKENS,), "int64", labels=["s"])
    left = builder.input("left", (4096, 63), "float64", labels=["v", "k"])
    right = builder.input("right", (63, FEATURES), "float64", labels=["k", "d"])
    table = spelled("v k, k d -> v d", left, right)
    s, v, d = (builder.variable(n) for n in (TOKENS, *table.shape))
    join = call("where", call("eq", operand(0), variable_index(v)), operand(1), const(0.0))
    reads = [(ids, ((s,),)), (table, ((v,), (d,)))]
    rows = builder.einsum(reads, ((s,), (d,)), join, "sum", Origin("rows"))
    return prepare(builder.build({"rows": rows}))


def without(graph: Graph, mesh: Machine, label: Label) -> float:
    """The price of the best plan on one axis in which no node cuts the label's class."""
    gone = extent_classes(graph)[label]
    tables = [{**table, gone: ()} for table in digit_tables(graph, mesh) if table[gone]]
    assert tables, f"{label} could not be cut anyway"
    starts = [whole(graph, mesh, table) for table in tables]
    return min(search._solve(start, (0,)).seconds for start in starts)


@pytest.mark.parametrize("size", [2, 4])
def test_a_vocabulary_parallel_embedding_is_the_optimum_of_its_graph(size):
    graph, mesh = vocabulary_graph(), machine(size)
    found = swept(graph, mesh)
    program = program_of(found)
    (reduced,) = program.collectives  # one, and of the few rows that were asked for, never of the table
    assert reduced.kind in ("all_reduce", "reduce_scatter")
    assert program.buffers[reduced.source].shape == (TOKENS, FEATURES)
    assert program.buffers[reduced.source].partial == (0,)
    assert without(graph, mesh, "v") > 1.5 * found.seconds
    random = np.random.default_rng(0)
    feeds = {
        "ids": random.integers(0, 4096, TOKENS),
        "left": random.normal(size=(4096, 63)),
        "right": random.normal(size=(63, FEATURES)),
    }
    rows = run_local(program, feeds)["rows"]
    np.testing.assert_allclose(rows, (feeds["left"] @ feeds["right"])[feeds["ids"]], atol=1e-12)


# --------------------------------------------------------------------------------- sequence to heads (Ulysses)

LENGTH, MODEL, HEADS, HEAD = 256, 63, 4, 3  # neither model nor head width can be cut by 4


def attention_graph() -> Graph:
    """One sequence: a layer for each token, attention over heads, a layer for each token."""
    builder = Builder()

    def give(name: str, shape: tuple[int, ...]) -> Value:
        return builder.input(name, shape, "float64", role="parameter")

    x = builder.input("x", (LENGTH, MODEL), "float64", labels=["s", "a"])
    first = spelled("s a, a b -> s b", x, give("w_in", (MODEL, MODEL)))
    u = spelled("s b -> s b", first, join=call("tanh", operand(0)))
    projected = [spelled("s b, b h e -> s h e", u, give(f"w_{n}", (MODEL, HEADS, HEAD)), name=n) for n in "qkv"]
    scores = spelled("i h e, j h e -> h i j", projected[0], projected[1], name="scores")
    total = spelled("h i j -> h i", scores, join=operand(0), agg="logsumexp")
    weights = spelled("h i j, h i -> h i j", scores, total, join=call("exp", operand(0) - operand(1)))
    mixed = spelled("h i j, j h e -> i h e", weights, projected[2], name="mixed")
    y = spelled("s h e, h e b -> s b", mixed, give("w_o", (HEADS, HEAD, MODEL)))
    z = spelled("s b, b c -> s c", y, give("w_out", (MODEL, MODEL)))
    return builder.build({"z": spelled("s c -> s c", z, join=call("tanh", operand(0)))})


def test_an_all_to_all_from_sequence_to_heads_is_the_optimum_of_its_graph():
    graph = attention_graph()
    prepared, mesh = prepare(graph), machine(4, bytes_per_second=1e8, latency_seconds=1e-7)
    found = swept(prepared, mesh)
    program = program_of(found)
    assert [c.kind for c in program.collectives] == ["all_to_all"] * 4  # q, k, v, and what attention gives
    block = LENGTH * HEADS * HEAD * 8 // 4
    assert [program.predicted_bytes(c) for c in program.collectives] == [block * 3 // 4] * 4
    random = np.random.default_rng(0)
    feeds = {name: random.normal(size=graph.shape(at)) / 4 for name, at in graph.inputs.items()}
    meant = meaning(graph, feeds)["z"]
    assert (np.abs(run_local(program, feeds)["z"] - meant.value) <= 1e-12 * meant.scale).all()


@pytest.mark.parametrize("name, dimension", [("w_q", 1), ("x", 0)], ids=["heads", "sequence"])
def test_attention_is_dearer_where_heads_or_sequence_may_not_be_cut(name, dimension):
    graph, mesh = prepare(attention_graph()), machine(4, bytes_per_second=1e8, latency_seconds=1e-7)
    dims = graph.nodes[graph.inputs[name]].dims
    assert without(graph, mesh, dims[dimension][0]) > 1.02 * swept(graph, mesh).seconds
