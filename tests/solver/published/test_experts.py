"""What experts would write down: each plan is what its name says, by its collectives; and ours is never dearer."""

from __future__ import annotations

from collections import Counter
from functools import cache
from math import prod
from random import Random

import numpy as np
import pytest

from einsplit.builder.views import Value
from einsplit.evaluate import evaluate
from einsplit.graph import Einsum, Graph
from einsplit.optim import SGD, AdamW
from einsplit.scalar import to_text
from einsplit.solver.plan import realise
from einsplit.solver.plan.write import check_choices, written
from einsplit.solver.planner import make_plan
from einsplit.solver.prepare import computed, prepare
from einsplit.solver.problem import fold as folding
from einsplit.solver.problem.memo import Memo
from einsplit.solver.problem.problem import Solution
from einsplit.solver.program import Collective, Program
from einsplit.solver.program.lower import lower
from einsplit.solver.published.experts import EXPERTS, Suited, Unsuited, expert_plans
from tests.solver.published.nets import (
    BATCH,
    HEAD,
    HEADS,
    HIDDEN,
    ITEMSIZE,
    SEQ,
    WIDTH,
    Net,
    decoder,
    experts,
    feeds_of,
    machine,
    perceptron,
    random_net,
)
from tests.support.cuttings import MESHES, random_machine, run_local

ACTIVATION = (BATCH, SEQ, WIDTH)
TRAINED = ("data-parallel", "zero-1", "zero-2", "zero-3", "megatron", "megatron-sequence", "ulysses", "2d", "2d-zero-1")


@cache
def inference(name: str, *options: int) -> Graph:
    net = Net()
    return net.inference(NETS[name](net, *options))


@cache
def training(name: str, *options: int, clip_norm: float | None = None) -> Graph:
    net = Net()
    return net.training(NETS[name](net, *options), AdamW(lr=0.1), clip_norm)


def product(net: Net) -> Value:
    """Nothing is fed."""
    return net.weight("w", 4, 4)


NETS = {"perceptron": perceptron, "decoder": decoder, "experts": experts, "nothing fed": product}


def suited(graph: Graph, name: str, *mesh: int) -> Suited:
    return EXPERTS[name].best(Memo(prepare(graph), machine(*mesh)))


def planned(graph: Graph, name: str, *mesh: int) -> Solution:
    return suited(graph, name, *mesh).plan.spread()


def moved(found: Solution) -> Counter[tuple[str, tuple[int, ...]]]:
    """How often each kind of collective is over a tensor that is, put together again, of this shape."""
    program = lower(found)
    return Counter((step.kind, whole_shape(program, step)) for step in program.collectives)


def whole_shape(program: Program, step: Collective) -> tuple[int, ...]:
    """Of a gather its result's, of what is scattered its source's; an all-to-all's, of what one device holds."""
    return program.buffers[step.output if step.kind == "all_gather" else step.source].shape


def num_bytes(found: Solution) -> int:
    return found.problem.price(found.shardings).bytes_sent


def cut_inputs(found: Solution, role: str) -> dict[str, bool]:
    graph = found.problem.graph
    rows = {name: at for name, at in graph.inputs.items() if graph.nodes[at].role == role and graph.shape(at)}
    return {name: any(choice is not None for choice in found.shardings[at]) for name, at in rows.items()}


# ------------------------------------------------------------------------------------------------ data parallel, ZeRO

UP, DOWN = (WIDTH, HIDDEN), (HIDDEN, 12)
GRADIENTS = (prod(UP) + prod(DOWN)) * ITEMSIZE
LOSS = ("all_reduce", ())


@pytest.mark.parametrize("size", [2, 4])
def test_data_parallel_reduces_each_gradient_once_and_nothing_else(size: int) -> None:
    found = planned(training("perceptron"), "data-parallel", size)
    assert moved(found) == {("all_reduce", UP): 1, ("all_reduce", DOWN): 1, LOSS: 1}
    assert cut_inputs(found, "data") == {"x": True}
    assert not any(cut_inputs(found, "parameter").values()) and not any(cut_inputs(found, "state").values())


@pytest.mark.parametrize("name", ["zero-1", "zero-2"])
@pytest.mark.parametrize("size", [2, 4])
def test_zero_scatters_gradients_and_gathers_parameters_in_the_bytes_of_an_all_reduce(name: str, size: int) -> None:
    graph = training("perceptron")
    found = planned(graph, name, size)
    each = {(kind, shape): 1 for kind in ("reduce_scatter", "all_gather") for shape in (UP, DOWN)}
    assert moved(found) == {**each, LOSS: 1}
    assert num_bytes(found) == num_bytes(planned(graph, "data-parallel", size))
    assert all(cut_inputs(found, "state").values()) and not any(cut_inputs(found, "parameter").values())


def test_where_gradients_are_clipped_zero_1_makes_them_whole_and_zero_2_does_not() -> None:
    graph = training("perceptron", clip_norm=1.0)
    first, second = (moved(planned(graph, name, 2)) for name in ("zero-1", "zero-2"))
    assert first["all_reduce", UP] == 1 and first["reduce_scatter", UP] == 0
    assert second["all_reduce", UP] == 0 and second["reduce_scatter", UP] == 1


@pytest.mark.parametrize("size", [2, 4])
def test_zero_3_gathers_each_parameter_for_use_and_scatters_its_gradient(size: int) -> None:
    found = planned(training("perceptron"), "zero-3", size)
    met = moved(found)
    assert all(cut_inputs(found, "parameter").values()) and all(cut_inputs(found, "state").values())
    for shape in (UP, DOWN):
        assert met["all_gather", shape] in (1, 2)  # for the backward part it is held, or gathered again
        assert met["reduce_scatter", shape] == 1 and met["all_reduce", shape] == 0


def test_weights_of_inference_are_gathered_too() -> None:
    met = moved(planned(inference("perceptron"), "zero-3", 2))
    assert met == {("all_gather", UP): 1, ("all_gather", DOWN): 1}


# ------------------------------------------------------------------------------------------------ Megatron, Ulysses


def of_a_layer(make, name: str, size: int) -> Counter[tuple[str, tuple[int, ...]]]:
    """What a third layer moves besides what two do."""
    three, two = (moved(planned(make("decoder", layers), name, size)) for layers in (3, 2))
    three.subtract(two)
    return Counter({key: number for key, number in three.items() if number})


@pytest.mark.parametrize("make, number", [(inference, 2), (training, 4)])
def test_megatron_reduces_the_activation_twice_in_a_layer_and_twice_more_in_its_gradient(make, number: int) -> None:
    assert of_a_layer(make, "megatron", 2) == {("all_reduce", ACTIVATION): number}


def test_megatron_cuts_heads_and_hidden_units() -> None:
    found = planned(inference("decoder", 1), "megatron", 4)
    graph = found.problem.graph
    sizes = {n: graph.sizes[found.shardings[at][0]] for n, at in graph.inputs.items() if found.shardings[at] != (None,)}
    assert sizes == {"0.q": HEADS, "0.k": HEADS, "0.v": HEADS, "0.o": HEADS, "0.up": HIDDEN, "0.down": HIDDEN}


@pytest.mark.parametrize("size", [2, 4])
def test_sequence_parallel_moves_the_bytes_of_the_all_reduces_in_halves(size: int) -> None:
    met = of_a_layer(inference, "megatron-sequence", size)
    assert met == {("all_gather", ACTIVATION): 2, ("reduce_scatter", ACTIVATION): 2}
    graphs = [inference("decoder", layers) for layers in (3, 2)]
    a, b = ([num_bytes(planned(g, name, size)) for g in graphs] for name in ("megatron", "megatron-sequence"))
    assert a[0] - a[1] == b[0] - b[1] > 0


def test_between_products_sequence_parallel_holds_a_part_of_the_sequence() -> None:
    found = planned(inference("decoder", 2), "megatron-sequence", 2)
    graph = found.problem.graph
    added = [at for at, n in enumerate(graph.nodes) if isinstance(n, Einsum) and to_text(n.join) == "x + y"]
    assert len(added) == 4 and all(graph.sizes[found.shardings[at][0]] == SEQ for at in added)


@pytest.mark.parametrize("size", [2, 4])
def test_ulysses_goes_from_sequence_to_heads_around_attention_alone(size: int) -> None:
    found = planned(inference("decoder", 2), "ulysses", size)
    held = (BATCH, SEQ // size, HEADS, HEAD), (BATCH, SEQ, HEADS // size, HEAD)
    assert moved(found) == {("all_to_all", held[0]): 2 * 3, ("all_to_all", held[1]): 2}
    assert not any(cut_inputs(found, "parameter").values())


# ------------------------------------------------------------------------------------------------ experts, two axes


def test_expert_parallel_sends_tokens_to_experts_and_back() -> None:
    found = planned(inference("experts"), "expert-parallel", 4)
    met = moved(found)
    assert {kind for kind, _ in met} == {"all_to_all"}
    tokens = 2 * BATCH * WIDTH  # of an expert, over the whole batch
    assert sorted(prod(shape) for _, shape in met)[-2:] == [tokens, tokens]
    assert all(cut_inputs(found, "parameter").values()) and cut_inputs(found, "data")["x"]


def test_of_two_axes_one_reduces_gradients_and_the_other_activations() -> None:
    one = suited(training("decoder", 2), "2d", 2, 2)
    over = {part.split(" over ")[0]: int(part[-1]) for part in one.how.split(", ")}
    found = one.plan.spread()
    program = lower(found)
    assert over.keys() == {"data", "tensor"}
    for step in program.collectives:
        is_of_activation = whole_shape(program, step) == (BATCH // 2, SEQ, WIDTH)
        assert step.axes == (over["tensor"],) if is_of_activation else over["data"] in step.axes
    assert {step.axes for step in program.collectives} >= {(0,), (1,)}


def test_zero_over_data_axes_makes_a_plan_of_two_axes_cheaper_to_hold() -> None:
    graph = training("decoder", 1)
    first, third = (planned(graph, name, 2, 2) for name in ("2d-zero-1", "2d-zero-3"))
    assert all(cut_inputs(first, "state").values()) and all(cut_inputs(third, "state").values())
    assert all(cut_inputs(third, "parameter").values())


def test_axes_that_the_batch_is_too_small_for_are_said_to_be_idle() -> None:
    assert suited(inference("decoder", 1), "data-parallel", 2, 4).how in (
        "data over axis1, axis0 idle",
        "data over axis0, axis1 idle",
    )


# ------------------------------------------------------------------------------------------------ what has no such plan


@pytest.mark.parametrize(
    "name, net, mesh, why",
    [
        ("data-parallel", "nothing fed", (2,), "it has no batch that a mesh axis could cut"),
        ("data-parallel", "perceptron", (16,), "it has no batch that a mesh axis could cut"),
        ("zero-1", "perceptron", (2,), "it has no optimizer state that a mesh axis could cut"),
        ("zero-2", "perceptron", (2,), "it has no optimizer state that a mesh axis could cut"),
        ("megatron", "perceptron", (64,), "its products have no heads, hidden units or the like to cut"),
        ("megatron-sequence", "perceptron", (2,), "it has no residual stream of a sequence that a mesh axis could cut"),
        ("ulysses", "perceptron", (2,), "it has no attention over a sequence that a mesh axis could cut"),
        ("expert-parallel", "perceptron", (2,), "it has no experts that a mesh axis could cut"),
        ("2d", "perceptron", (2,), "the machine has one mesh axis"),
    ],
)
def test_an_expert_who_has_no_plan_for_a_graph_says_why(name: str, net: str, mesh: tuple[int, ...], why: str) -> None:
    with pytest.raises(Unsuited) as caught:
        EXPERTS[name](Memo(prepare(inference(net)), machine(*mesh)))
    assert caught.value.mistake == f"{name}: {why}"


def test_zero_without_state_has_no_plan() -> None:
    net = Net()
    graph = net.training(perceptron(net), SGD(lr=0.1))
    found = expert_plans(Memo(prepare(graph), machine(2)))
    assert isinstance(found["zero-1"], Unsuited) and isinstance(found["zero-3"], Suited)


# ------------------------------------------------------------------------------------------------ as any plan


@pytest.mark.parametrize("name", EXPERTS)
def test_what_experts_write_down_runs_and_means_the_same(name: str) -> None:
    graph = training("decoder", 1) if name in TRAINED else inference("experts")
    if name == "2d-zero-3":
        graph = training("perceptron")
    found = planned(graph, name, *((2, 2) if name.startswith("2d") else (2,)))
    feeds = feeds_of(graph)
    wanted = evaluate(graph, feeds)
    results = run_local(lower(found), feeds)
    assert {f"{n}'" if n in graph.inputs else n for n in results} == wanted.keys()
    for key, value in results.items():
        meant = wanted[f"{key}'" if key in graph.inputs else key]
        np.testing.assert_allclose(value, meant, rtol=1e-9, atol=1e-9 * np.abs(meant).max(), err_msg=key)


def test_plans_of_experts_are_legal_and_free_to_be_improved() -> None:
    graph = training("perceptron")
    for name, found in expert_plans(Memo(prepare(graph), machine(2, 2))).items():
        if isinstance(found, Suited):
            solution = found.plan.spread()
            assert not solution.problem.limits
            check_choices(solution.problem, solution.shardings)
            plan = written(computed(graph).hash, name, "given", solution, None)  # which prices it anew
            assert realise(plan, graph).seconds == plan.seconds


def test_repeated_layers_that_are_folded_get_the_same_plans(monkeypatch: pytest.MonkeyPatch) -> None:
    graph, mesh = prepare(training("decoder", 3)), machine(2)
    plain = expert_plans(Memo(graph, mesh))
    monkeypatch.setattr(folding, "MIN_NODES", 0)
    memo = Memo(graph, mesh)
    assert len(memo.folding.members) < 0.8 * len(graph.nodes)
    for name, found in expert_plans(memo).items():
        if isinstance(found, Suited):
            solution, other = found.plan.spread(), plain[name]
            check_choices(solution.problem, solution.shardings)
            assert isinstance(other, Suited)
            assert found.plan.seconds == pytest.approx(other.plan.seconds, rel=0.02)


QUICK = [seed for seed in range(12) if len(MESHES[seed % len(MESHES)]) < 3]


@pytest.mark.parametrize(
    "seed", [*QUICK, *(pytest.param(k, marks=pytest.mark.slow) for k in range(60) if k not in QUICK)]
)
def test_no_expert_is_cheaper_than_a_search(seed: int) -> None:
    random = Random(seed)
    graph, mesh = random_net(random), random_machine(random, MESHES[seed % len(MESHES)])
    ours = make_plan(graph, mesh)
    found = [f for f in expert_plans(Memo(prepare(graph), mesh)).values() if isinstance(f, Suited)]
    assert found and all(ours.seconds <= each.plan.seconds * (1 + 1e-9) for each in found)
