"""The forms that an expert's plan can take on a mesh: which axis follows which rule, and which is served first."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass

from einsplit.solver.machine import Machine
from einsplit.solver.published.experts.roles import Roles
from einsplit.solver.published.experts.rules import (
    DATA,
    EITHER,
    EXPERTS,
    SEQUENCE,
    TENSOR,
    ULYSSES,
    ZERO_1,
    ZERO_2,
    ZERO_3,
    Rule,
)
from einsplit.solver.search.starts import AxesOf, fits


@dataclass(frozen=True, slots=True)
class Variant:
    """The rule of every mesh axis; `order` is that in which axes are given digits."""

    rules: tuple[Rule, ...]
    order: tuple[int, ...]

    def axes_of(self, roles: Roles, machine: Machine) -> AxesOf:
        """The axes that own a digit of each class: first those whose rule is about it, then those that spread."""
        found: AxesOf = {}
        for label in sorted(set(roles.memo.classes.values())):
            about = [axis for axis in self.order if label in self.rules[axis].about(roles)]
            spread = [
                a for a in self.order if self.rules[a].spreads and label in roles.of_parameters and a not in about
            ]
            own: list[int] = []
            for axis in (*about, *spread):
                if fits(roles.memo.graph.sizes[label], [machine.sizes[a] for a in (*own, axis)]):
                    own.append(axis)
            found[label] = tuple(sorted(own))
        return found

    def obstacle(self, roles: Roles, axes_of: AxesOf) -> str | None:
        """Why it would not be what it is called; None where it is."""
        for rule in dict.fromkeys(self.rules):
            axes = {axis for axis, other in enumerate(self.rules) if other is rule}
            for need in rule.needs:
                if not any(axes.intersection(axes_of[label]) for label in need.classes(roles)):
                    return need.otherwise
        return None

    def text(self, machine: Machine, idle: Collection[int]) -> str:
        """`data over node, tensor over gpu0 gpu1, gpu2 idle`; `idle` are the axes that cut nothing."""
        names: dict[str, list[str]] = {}
        for axis, (of_mesh, rule) in enumerate(zip(machine.axes, self.rules, strict=True)):
            if axis not in idle:
                names.setdefault(rule.name, []).append(of_mesh.name)
        working = [f"{name} over {' '.join(axes)}" for name, axes in names.items()]
        return ", ".join([*working, *(f"{machine.axes[axis].name} idle" for axis in sorted(idle))])


Variants = Callable[[int], Iterator[Variant]]  # of a mesh of so many axes


def everywhere(rule: Rule) -> Variants:
    """All axes follow one rule."""

    def variants(num_axes: int) -> Iterator[Variant]:
        axes = tuple(range(num_axes))
        yield from (Variant((rule,) * num_axes, order) for order in (axes, axes[::-1]))

    return variants


def two(first: Rule, second: Rule) -> Variants:
    """Slow axes follow one rule and fast ones the other, at every split of the mesh, and the other way round."""

    # Who is given digits first is of no weight here: rules of a pair are about different classes.

    def variants(num_axes: int) -> Iterator[Variant]:
        for at in range(1, num_axes):
            for slow, fast in ((first, second), (second, first)):
                yield Variant((slow,) * at + (fast,) * (num_axes - at), tuple(range(num_axes)))

    return variants


# Of each expert, kinds of variants: the first that suits a graph is taken.
EVERY: dict[str, tuple[Variants, ...]] = {
    "data-parallel": (everywhere(DATA),),
    "zero-1": (everywhere(ZERO_1),),
    "zero-2": (everywhere(ZERO_2),),
    "zero-3": (everywhere(ZERO_3),),
    "megatron": (everywhere(TENSOR),),
    "megatron-sequence": (everywhere(SEQUENCE),),
    "ulysses": (everywhere(ULYSSES), two(DATA, ULYSSES)),
    "expert-parallel": (everywhere(EXPERTS), two(DATA, EXPERTS)),
    "2d": (two(DATA, EITHER),),
    "2d-zero-1": (two(ZERO_1, EITHER),),
    "2d-zero-3": (two(ZERO_3, EITHER),),
}
