"""A pin is kept: the cheapest plan that obeys is found, by node, by label, by layout and from another plan."""

from __future__ import annotations

from itertools import product
from random import Random

import numpy as np
import pytest

from einsplit.errors import PlanError
from einsplit.graph import Graph, aggregated_labels
from einsplit.solver.machine import cpu
from einsplit.solver.pins import Pin, apart, as_pins, kept_from, limits_of, pinned_tables
from einsplit.solver.plan.write import written
from einsplit.solver.prepare import prepare
from einsplit.solver.problem.memo import Memo
from einsplit.solver.problem.problem import Folded, Problem, Solution
from einsplit.solver.search.certify import certify
from einsplit.solver.search.starts import digit_tables
from einsplit.solver.search.sweep import start, sweep
from einsplit.solver.search.watch import Watch
from einsplit.solver.sharding import Choice, Sharding, choice_text
from tests.doors.graphs import machine, mlp_graph
from tests.solver.test_exactness import tiny
from tests.solver.test_fold import training

ROUNDING = 1e-9
MESHES = [(2,), (2, 2), (3, 2), (2, 4)]


def searched(memo: Memo, pins: tuple[Pin, ...]) -> tuple[Folded, float]:
    """What sweeps and messages find under the pins, and the bound."""
    limits = limits_of(memo, pins)
    memo = apart(memo, limits)
    tables = pinned_tables(memo, pins, digit_tables(memo.graph, memo.machine, memo.classes))
    watch = Watch()
    sweep(memo, watch, tables, limits)
    bound = certify(watch, tables, limits)
    return watch.found, bound


def oracle(memo: Memo, tables: list[dict[str, tuple[int, ...]]], obeys: dict[tuple[int, int], set[Choice]]) -> float:
    """The least price among all plans of a tiny graph that do at these nodes and axes what they are to do."""
    best = np.inf
    for axes_of in tables:
        problem = Problem(memo.graph, memo.machine, memo.tables(axes_of), memo)
        options: list[list[Sharding]] = []
        for node in range(len(memo.graph.nodes)):
            rows = product(*(problem.choices(node, axis) for axis in range(len(memo.machine.axes))))
            options.append([r for r in rows if all(c in obeys.get((node, a), {c}) for a, c in enumerate(r))])
        size = [len(row) for row in options]
        total = np.zeros(size)

        def along(nodes: tuple[int, ...], prices: list[object], size: list[int] = size) -> np.ndarray:
            return np.array(prices).reshape([n if at in nodes else 1 for at, n in enumerate(size)])

        for node, row in enumerate(options):
            total = total + along((node,), [problem.node_price(node, r).seconds for r in row])
        for edge in problem.edges:
            low, high = sorted((edge.writer, edge.reader))
            if low == high:
                continue
            pairs = product(options[low], options[high])
            ordered = (pair if low == edge.writer else pair[::-1] for pair in pairs)
            total = total + along((low, high), [problem.edge_price(edge, w, r).seconds for w, r in ordered])
        for call in problem.pairs:
            nodes = (call.first, call.further)
            low, high = sorted(nodes)
            pairs = product(options[low], options[high])
            ordered = (pair if low == call.first else pair[::-1] for pair in pairs)
            total = total + along(nodes, [problem.pair_seconds(call, a, b) for a, b in ordered])
        best = min(best, float(total.min()))
    return best


def test_of_60_tiny_graphs_the_plan_found_is_the_cheapest_that_obeys_random_pins() -> None:
    random = Random(11)
    dearer = 0
    for _ in range(60):
        graph, device = tiny(random, random.choice(MESHES), 20_000)
        memo = Memo(graph, device)
        legal = Problem(graph, device, memo.tables(random.choice(digit_tables(graph, device))), memo)
        pinned: dict[tuple[int, int], set[Choice]] = {}
        texts = []
        for node, axis in random.sample(
            list(product(range(len(graph.nodes)), range(len(device.axes)))), random.randint(1, 3)
        ):
            if sum(row.name == graph.nodes[node].name for row in graph.nodes) > 1:
                continue  # by its name it cannot be pinned alone
            choice = random.choice(legal.choices(node, axis))
            texts.append(f"{graph.nodes[node].name}={device.axes[axis].name}:{choice_text(choice)}")
            pinned[node, axis] = {choice}
        pins = as_pins(texts)
        found, bound = searched(memo, pins)
        shardings = found.spread().shardings
        for (node, axis), wanted in pinned.items():
            assert shardings[node][axis] in wanted, texts
        tables = pinned_tables(memo, pins, digit_tables(graph, device))
        own = {of: found.problem.tables[of].axes for of in tables[0]}
        best = oracle(memo, [*tables, own], pinned)
        assert bound <= best * (1 + ROUNDING) and found.seconds == pytest.approx(best, rel=1e-6), texts
        dearer += best > searched(memo, ())[0].seconds * (1 + 1e-6)
    assert dearer > 12  # else pins ask for nothing that would not be so anyway


def test_a_pin_is_kept_where_no_digit_table_of_the_search_has_it() -> None:
    """8 columns over two axes of 4 that are alike: a search tries the first."""
    graph, device = prepare(mlp_graph()), machine(4, 4)
    memo = Memo(graph, device)
    free = digit_tables(graph, device, memo.classes)
    of = memo.classes["f"]
    assert [table[of] for table in free] == [(0,)] * len(free)
    pins = as_pins(["x=axis1:f"])
    assert [table[of] for table in pinned_tables(memo, pins, free)] == [(1,)] * len(free)
    assert searched(memo, pins)[0].spread().shardings[graph.inputs["x"]][1] == "f"


def test_a_table_that_allows_the_pins_is_left_as_it_is() -> None:
    memo = Memo(prepare(mlp_graph()), machine(2, 2))
    free = digit_tables(memo.graph, memo.machine, memo.classes)
    assert pinned_tables(memo, as_pins(["x=axis1:f", "@h=whole"]), free) == free


def pinned_plan(graph: Graph, device_sizes: tuple[int, ...], *texts: str) -> tuple[Memo, tuple[Sharding, ...]]:
    memo = Memo(graph, machine(*device_sizes))
    return memo, searched(memo, as_pins(list(texts)))[0].spread().shardings


def test_a_label_pin_cuts_the_label_wherever_it_stands_and_another_never_does() -> None:
    memo, shardings = pinned_plan(prepare(mlp_graph(hidden=16)), (2, 2), "@h=axis0", "@b=whole")
    for at, row in enumerate(shardings):
        assert (row[0] == "h") == ("h" in memo.labels[at])
        assert "b" not in row
    assert any(row[0] == "h" for row in shardings)


@pytest.mark.parametrize(
    "text, expected",
    [
        ("[w1]=whole, axis0", ("h", None)),
        ("[w1]=axis1, axis0", ("h", "f")),
        ("[w1]=axis axis1, whole", ("f", "f")),
        ("[w1]=whole,whole", (None, None)),
        ("w1=axis0-1:h", ("h", "h")),
        ("w1=axis0,axis1:f", ("f", "f")),
        ("w1=axis0:h axis1:whole", ("h", None)),
        ("w?=axis:h", ("h", "h")),
        ("w1=axis*:[h]", None),
        ("w1=whole", (None, None)),
    ],
)
def test_each_form_of_a_pin_means_what_it_says(text: str, expected: Sharding | None) -> None:
    graph = prepare(mlp_graph(hidden=16))
    if expected is None:
        with pytest.raises(PlanError, match="cannot be"):
            pinned_plan(graph, (2, 2), text)
        return
    _, shardings = pinned_plan(graph, (2, 2), text)
    assert shardings[graph.inputs["w1"]] == expected


def test_a_layout_is_that_of_the_tensor_at_rest_also_of_an_output_and_of_a_product() -> None:
    graph = prepare(mlp_graph(batch=8))
    _, shardings = pinned_plan(graph, (2, 2), "[y]=axis0, whole", "[x]=*, axis1")
    outputs = dict(graph.outputs)
    assert shardings[outputs["y"]] == ("b", None)
    assert shardings[graph.inputs["x"]][1] == "f" and shardings[graph.inputs["x"]][0] in ("b", None)
    product_at = next(at for at, node in enumerate(graph.nodes) if aggregated_labels(node) == ("h",))
    name, dims = graph.nodes[product_at].name, len(graph.nodes[product_at].dims)
    _, shardings = pinned_plan(graph, (2, 2), f"[{name}]={','.join(['whole'] * dims)}")
    assert shardings[product_at] == (None, None)


def test_a_plan_kept_from_another_is_that_plan() -> None:
    random = Random(12)
    for _ in range(20):
        graph, device = tiny(random, random.choice(MESHES), 20_000)
        memo = Memo(graph, device)
        legal = Problem(graph, device, memo.tables(random.choice(digit_tables(graph, device))), memo)
        axes = range(len(device.axes))
        rows = tuple(tuple(random.choice(legal.choices(n, a)) for a in axes) for n in range(len(graph.nodes)))
        plan = written("0" * 64, "search", "given", Solution(legal, rows, legal.price(rows).seconds), None)
        found, _ = searched(memo, (kept_from(plan),))
        assert found.spread().shardings == rows


def test_kept_nodes_are_those_of_the_pattern_and_the_others_are_free() -> None:
    graph, device = prepare(mlp_graph(batch=8)), machine(2, 2)
    memo = Memo(graph, device)
    whole = start(memo, {}).spread()
    plan = written("0" * 64, "whole", "given", whole, None)
    limits = limits_of(memo, (kept_from(plan, "w*"),))
    assert {graph.nodes[at].name.split(".")[0] for at in limits} == {"w1", "w2"}


def test_layers_pinned_one_by_one_are_not_folded_and_layers_pinned_alike_are() -> None:
    graph, device = training(4), cpu(2)
    memo = Memo(graph, device)
    weights = {name: at for name, at in graph.inputs.items() if name.endswith(".up.weight")}
    labels = {name: tuple(dim[0] for dim in graph.nodes[at].dims) for name, at in weights.items()}
    second, third = sorted(weights)[1:3]
    assert memo.folding.variable[weights[second]] == memo.folding.variable[weights[third]]

    parted = begun(memo, as_pins([f"{second}=cpu:{labels[second][0]}", f"{third}=cpu:{labels[third][1]}"]))
    assert parted[weights[second]] == (labels[second][0],) and parted[weights[third]] == (labels[third][1],)

    alike = as_pins(["[*.up.weight]=cpu, whole"])
    assert len(apart(memo, limits_of(memo, alike)).folding.members) == len(memo.folding.members)
    together = begun(memo, alike)
    assert len(weights) == 4 and all(together[at] == (labels[name][0],) for name, at in weights.items())


def begun(memo: Memo, pins: tuple[Pin, ...]) -> tuple[Sharding, ...]:
    """What a search under the pins begins with."""
    limits = limits_of(memo, pins)
    memo = apart(memo, limits)
    tables = pinned_tables(memo, pins, digit_tables(memo.graph, memo.machine, memo.classes))
    return start(memo, tables[0], limits).spread().shardings
