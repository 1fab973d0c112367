"""A memo's Graph -> the plan of every expert, or why there is none.

    permitted(node, axis) = what the rule of the axis lets it do there       (rules)
    plan                  = the cheapest that sweeps find inside that        (settled)
    expert's plan         = the cheapest of its variants on the mesh         (variants)

So what is compared is never a clumsy plan of a kind: nobody who plans by hand in that way finds a cheaper one by
changing what one mesh axis does.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from einsplit.errors import PlanError
from einsplit.solver.problem.memo import Memo
from einsplit.solver.problem.problem import Folded, Problem
from einsplit.solver.published.experts.roles import Roles
from einsplit.solver.published.experts.rules import WHOLE, At, Permitted, Rule
from einsplit.solver.published.experts.variants import EVERY, Variant, Variants
from einsplit.solver.search.starts import AxesOf
from einsplit.solver.search.sweep import settled, start, without_idle_digits


class Unsuited(PlanError):
    """A kind of plan that a graph has nothing for."""


@dataclass(frozen=True, slots=True)
class Suited:
    """An expert's plan, and what its mesh axes do: `data over node, tensor over gpu`."""

    plan: Folded
    how: str


@dataclass(frozen=True, slots=True)
class Expert:
    """Somebody who plans in one way."""

    name: str
    kinds: tuple[Variants, ...]

    def __call__(self, memo: Memo) -> Folded:
        """The cheapest plan of its kind. Raises Unsuited."""
        return self.best(memo).plan

    def best(self, memo: Memo) -> Suited:
        """Likewise, with what mesh axes do in it."""
        return self.suited(Roles(memo))

    def suited(self, roles: Roles) -> Suited:
        """The cheapest plan of the first kind that suits, given what the graph's nodes are for. Raises Unsuited."""
        obstacles: list[str] = []
        for variants in self.kinds:
            found = list(_each(roles, variants, obstacles))
            if found:
                return min(found, key=lambda each: each.plan.seconds)
        raise Unsuited(f"{self.name}: {next(iter(obstacles), 'the machine has one mesh axis')}")


def _each(roles: Roles, variants: Variants, obstacles: list[str]) -> Iterator[Suited]:
    """The plans of some variants; what keeps others from being what they are called is added to `obstacles`."""
    machine = roles.memo.machine
    tried: list[tuple[tuple[Rule, ...], AxesOf]] = []
    for variant in variants(len(machine.axes)):
        axes_of = variant.axes_of(roles, machine)
        obstacle = variant.obstacle(roles, axes_of)
        if obstacle is not None:
            obstacles.append(obstacle)
        elif (variant.rules, axes_of) not in tried:
            tried.append((variant.rules, axes_of))
            plan = _planned(roles, variant, axes_of)
            yield Suited(plan, variant.text(machine, _idle(plan)))


EXPERTS: Mapping[str, Expert] = MappingProxyType({name: Expert(name, kinds) for name, kinds in EVERY.items()})


def expert_plans(memo: Memo) -> dict[str, Suited | Unsuited]:
    """What every expert says to a graph."""
    roles = Roles(memo)
    found: dict[str, Suited | Unsuited] = {}
    for name, expert in EXPERTS.items():
        try:
            found[name] = expert.suited(roles)
        except Unsuited as unsuited:
            found[name] = unsuited
    return found


def _planned(roles: Roles, variant: Variant, axes_of: AxesOf) -> Folded:
    """The cheapest plan that sweeps find, where axes do what their rules permit."""
    memo = roles.memo
    # Classes choose as their first node may.
    limits = {
        members[0]: tuple(_permitted(roles, number, axis, variant, axes_of) for axis in range(len(variant.rules)))
        for number, members in enumerate(memo.folding.members)
    }
    found = without_idle_digits(settled(start(memo, axes_of, limits))[0])
    # Whoever goes on from here may do anything.
    free = Problem(memo.graph, memo.machine, found.problem.tables, memo)
    return Folded(free, found.chosen, found.seconds)


def _permitted(roles: Roles, number: int, axis: int, variant: Variant, axes_of: AxesOf) -> Permitted:
    role = roles.every[number]
    cuts = tuple(label for label, found in role.classes.items() if axis in axes_of[found])
    return variant.rules[axis].permits(At(roles, role, cuts)) or WHOLE


def _idle(plan: Folded) -> set[int]:
    """Mesh axes that cut nothing."""
    cutting = {k for sharding in plan.chosen for k, choice in enumerate(sharding) if isinstance(choice, str)}
    return set(range(len(plan.problem.machine.axes))) - cutting
