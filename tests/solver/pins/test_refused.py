"""A pin that cannot be kept is refused by name: what is wrong, where in its text, and what there is instead."""

from __future__ import annotations

from itertools import product
from random import Random

import pytest

from einsplit.errors import PlanError
from einsplit.solver.pins import as_pins, kept_from, limits_of, pinned_tables
from einsplit.solver.planner import make_plan
from einsplit.solver.prepare import prepare
from einsplit.solver.problem.memo import Memo
from einsplit.solver.problem.problem import Problem
from einsplit.solver.search.starts import AxesOf, digit_tables
from einsplit.solver.sharding import choice_text
from tests.doors.graphs import machine, mlp_graph
from tests.solver.test_exactness import tiny

SIZES = (2, 4)  # axis0, axis1


def tables(*texts: str, batch: int = 6, hidden: int = 16) -> list[AxesOf]:
    """The digit tables under which the pins of texts are kept."""
    memo = Memo(prepare(mlp_graph(batch, hidden)), machine(*SIZES))
    pins = as_pins(list(texts))
    limits_of(memo, pins)
    return pinned_tables(memo, pins, digit_tables(memo.graph, memo.machine, memo.classes))


def refused(*texts: str, **shape: int) -> str:
    with pytest.raises(PlanError) as caught:
        tables(*texts, **shape)
    return str(caught.value)


@pytest.mark.parametrize(
    "text, pointed, told",
    [
        # the text itself
        ("w1", "", "a pin says what it keeps after '='."),
        ("", "", "a pin says what it keeps after '='."),
        ("=axis0:h", "", "a node is missing."),
        ("w1=", "", "what the node does is missing."),
        ("@=axis0", "", "a label is missing."),
        ("@h=", "", "what cuts the label is missing."),
        ("[]=axis0", "", "a tensor is missing."),
        ("[w1]=axis0,", "", "what cuts this dimension: mesh axes, whole or * is missing."),
        ("w1=axis0:", "", "a label, whole or sum is missing."),
        ("w1=:h", "", "a mesh axis is missing."),
        ("w1=h", "h", "'h' does not say which mesh axis does what."),
        ("w1=axis0:f whole:h", "whole", "`whole` is no mesh axis, and stands alone."),
        ("@h=axis0:f", "f", "after the colon stands only `whole`: the label has been named."),
        # what it names
        ("w3=axis0:h", "w3", "no node is called 'w3'.|Nodes: x x.use w1 w2 "),
        ("zzz*=axis0:h", "zzz*", "no node is called 'zzz*'.|Nodes: "),
        ("[total2]=", "total2", "no node is called 'total2'.|Did you mean 'total'?"),
        ("@hh=axis0", "hh", "no label is called 'hh'.|Did you mean 'h'?"),
        ("w1=axes0:h", "axes0", "machine 'test' has no mesh axis 'axes0'.|Did you mean 'axis0'?"),
        ("w1=axis0-9:h", "axis0-9", "has no mesh axis 'axis0-9'."),
        ("w1=axis1-0:h", "axis1-0", "has no mesh axis 'axis1-0'."),
        ("w1=axis7-999999999:h", "axis7-999999999", "has no mesh axis"),
        # what cannot be
        ("w1=axis0:b", "b", "node 'w1' cannot be b.|It can be whole, f, h."),
        ("w1=axis0:sum", "sum", "node 'w1' cannot be sum.|It can be whole, f, h."),
        ("x=axis0:sum(x0)", "sum(x0)", "node 'x' cannot be sum(x0)."),
        ("*=axis0:h", "h", "cannot be h."),
        ("[w1]=axis0", "axis0", "node 'w1' has 2 dimensions, and 1 are pinned.|It is f h."),
        ("[w1]=", "", "node 'w1' has 2 dimensions, and 0 are pinned.|It is f h."),
        ("[total]=axis0", "axis0", "has 0 dimensions, and 1 are pinned.|It is one number."),
        ("[w1]=axis0, axis0-1", "axis0, axis0-1", "mesh axis 'axis0' cuts one dimension of a tensor, and stands at"),
    ],
)
def test_a_pin_that_means_nothing_here_is_shown_with_its_place(text: str, pointed: str, told: str) -> None:
    message = refused(text)
    for part in told.split("|"):
        assert part in message
    lines = message.splitlines()
    assert lines[1] == f"  {text}"
    assert lines[2].strip() == "^" * max(1, len(pointed))
    at = lines[2].index("^") - 2
    assert text[at : at + len(pointed)] == pointed


@pytest.mark.parametrize(
    "texts, told",
    [
        (
            ["w1=axis0:h", "w1=axis0:f"],
            "two pins contradict each other: node 'w1' has one choice on mesh axis 'axis0'.",
        ),
        (
            ["@b=axis0", "x=axis0:whole"],
            "two pins contradict each other: node 'x' has one choice on mesh axis 'axis0'.",
        ),
        (["@h=axis1", "@f=axis1"], "two pins contradict each other: node 'w1' has one choice on mesh axis 'axis1'."),
        (["[w1]=whole, axis0", "w1=axis0:f"], "two pins contradict each other: node 'w1'"),
        (["w1=axis0:h axis0:f"], "a pin contradicts itself: node 'w1' has one choice on mesh axis 'axis0'."),
        (["@h=axis0 axis0:whole"], "a pin contradicts itself: node"),
        (["x=axis0:*", "@b=axis0:whole", "@f=axis0:whole"], "3 pins contradict each other: node 'x'"),
    ],
)
def test_pins_that_contradict_are_named_and_only_those(texts: list[str], told: str) -> None:
    agreeing = ["[total]=", "*1=axis:*"]  # the one of another node, the other satisfied by whatever cuts w1
    message = refused(*agreeing, *texts)
    assert message.startswith(told)
    assert all(repr(text) in message for text in texts) and not any(repr(text) in message for text in agreeing)


@pytest.mark.parametrize(
    "texts, shape, told",
    [
        (["w1=axis:h"], {"hidden": 4}, "its 4 elements cannot be cut into 8 pieces"),
        (["w1=axis0:h", "w2=axis1:h"], {"hidden": 4}, "its 4 elements cannot be cut into 8 pieces"),
        (
            ["@h=axis1"],
            {"hidden": 9},
            "cut into 4 pieces its 9 elements are padded to 12, 33.3 % more, and at most 12.5 %",
        ),
        (["w1=axis1:*", "@f=axis1:whole"], {"hidden": 3}, "its 3 elements cannot be cut into 4 pieces"),
    ],
)
def test_axes_that_do_not_fit_a_label_are_told_with_the_figures(
    texts: list[str], shape: dict[str, int], told: str
) -> None:
    message = refused("x=axis0:b", *texts, **shape)
    assert told in message and "'h' on mesh axes axis" in message
    assert all(repr(text) in message for text in texts) and "'x=axis0:b'" not in message


def test_a_label_padded_by_an_eighth_may_be_pinned() -> None:
    assert all(1 in table["h"] for table in tables("@h=axis1", hidden=15))


def test_random_pins_are_kept_or_refused_by_name() -> None:
    """Of choices that each node has, taken at random: what remains may contradict, or not fit, and nothing else."""
    random = Random(21)
    kept = contradicting = unfitting = 0
    for _ in range(150):
        graph, device = tiny(random, random.choice([(2, 2), (2, 4), (4, 4)]), 20_000)
        memo = Memo(graph, device)
        texts: list[str] = []
        asked: dict[tuple[str, int], set[str]] = {}
        for _ in range(random.randint(1, 6)):
            at, axis = random.randrange(len(graph.nodes)), random.randrange(len(device.axes))
            choices = [None, *memo.labels[at], *memo.sums[at]]
            every = [row for row, node in enumerate(graph.nodes) if node.name == graph.nodes[at].name]
            if len(every) > 1:
                continue
            word = choice_text(random.choice(choices))
            texts.append(f"{graph.nodes[at].name}={device.axes[axis].name}:{word}")
            asked.setdefault((graph.nodes[at].name, axis), set()).add(word)
        clash = any(len(words) > 1 for words in asked.values())
        pins = as_pins(texts)
        try:
            limits = limits_of(memo, pins)
            found = pinned_tables(memo, pins, digit_tables(graph, device, memo.classes))
        except PlanError as error:
            named = [
                text for text in texts if repr(text) in error.remarks or any(repr(text) in r for r in error.remarks)
            ]
            assert named, error
            assert clash == ("contradict" in error.mistake)
            contradicting, unfitting = contradicting + clash, unfitting + (not clash)
            continue
        assert not clash
        kept += 1
        for table in found:
            problem = Problem(graph, device, memo.tables(table), memo, limits)
            assert all(
                problem.choices(at, axis) for at, axis in product(range(len(graph.nodes)), range(len(device.axes)))
            )
    assert min(kept, contradicting, unfitting) > 5


def test_patterns_that_take_forever_elsewhere_are_answered_at_once() -> None:
    refused("*a*a*a*a*a*a*a*a*a*a*a*a*a*a*a*a*a*a*a*a*b=axis0:h")
    with pytest.raises(PlanError, match="2,000 are the most"):
        as_pins(["w" * 3000 + "=axis0:h"])


@pytest.mark.parametrize(
    "given, told",
    [
        ("w1=axis0:h", "pins are a list of texts or pins, not str."),
        (7, "pins are a list of texts or pins, not int."),
        ([7], "a pin is a text or what parse_pin or kept_from give, not int."),
    ],
)
def test_what_is_no_list_of_pins_is_told(given: object, told: str) -> None:
    with pytest.raises(PlanError) as caught:
        as_pins(given)
    assert str(caught.value).startswith(told)


def test_what_cannot_be_kept_from_a_plan_is_told(tmp_path) -> None:
    plan = make_plan(mlp_graph(), machine(2, 2))
    plan.save(tmp_path / "plan.json")
    file = str(tmp_path / "plan.json")
    other = Memo(prepare(mlp_graph()), machine(2))
    same = Memo(prepare(mlp_graph()), machine(2, 2))
    cases = [
        (other, kept_from(file), "the plan cuts by mesh axis 'axis1', which machine 'test' lacks."),
        (same, kept_from(f"{file}:nothing*"), "no node of the plan is one of this graph and matches 'nothing*'"),
    ]
    for memo, pin, told in cases:
        with pytest.raises(PlanError) as caught:
            limits_of(memo, (pin,))
        assert str(caught.value).startswith(pin.text) and told in str(caught.value)
    for wrong, told in ((tmp_path / "none.json", "cannot be read"), (7, "a Plan or a plan file, not int")):
        with pytest.raises(PlanError, match=told):
            kept_from(wrong)
