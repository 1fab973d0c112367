"""Finest factors of every dimension: equal extents are merged, flattened ones are split, until all agree.

An *extent* is an unordered name for "the elements along this dimension". Two dimensions that are the same elements (a
value and its reader) have one extent. Reshaping cuts an extent of size 12 into 3 x 4: the cut point 4 then holds
wherever the extent occurs, because extents are shared. Cut points of one extent form a divisibility chain
(1 | 4 | 12), so that every occurrence is the same row of *leaves*. Where they would not (6x4 against 8x3), merging
says no and changes nothing, and the caller keeps the two apart.

Union-find without path compression, because a refused merge is undone step by step.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from math import prod
from string import ascii_lowercase
from typing import TypeVar

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Leaf:
    """A finest factor: element `e` of the dimension has index `e // stride % size` in it."""

    extent: int
    size: int
    stride: int


class Extents:
    """A growing set of extents, merged and cut as views are met."""

    def __init__(self) -> None:
        self._parent: list[int] = []
        self._weight: list[int] = []
        self._size: list[int] = []
        self._parts: list[tuple[int, ...]] = []
        self._hint: list[str | None] = []
        self._undo: list[Callable[[], None]] | None = None  # while a merge may still be refused

    def new(self, size: int, hint: str | None = None) -> int:
        """A fresh extent of `size` elements; `hint` proposes the name its labels get."""
        self._parent.append(len(self._parent))
        self._weight.append(1)
        self._size.append(size)
        self._parts.append(())
        self._hint.append(hint)
        return len(self._parent) - 1

    def size(self, extent: int) -> int:
        """Number of elements."""
        return self._size[extent]

    def names(self) -> dict[int, str]:
        """Names of leaves: the first hint that an extent came with; `heads_a`, `heads_b` ... where it was cut."""
        found: dict[int, str] = {}
        for extent, hint in enumerate(self._hint):
            row = self.leaves(extent) if hint else ()
            for k, leaf in enumerate(row):
                part = ascii_lowercase[k] if k < len(ascii_lowercase) else str(k)
                found.setdefault(leaf.extent, f"{hint}_{part}" if len(row) > 1 else str(hint))
        return found

    def leaves(self, extent: int) -> tuple[Leaf, ...]:
        """The finest factors of the extent, slowest first; none for a single element."""
        found: list[Leaf] = []
        stride = 1
        for root in reversed(self._expand([extent])):
            found.append(Leaf(root, self._size[root], stride))
            stride *= self._size[root]
        return tuple(reversed(found))

    def cut(self, extent: int, stride: int) -> bool:
        """Make `stride` a cut point of the extent. False, and nothing changed, if it does not fit the chain."""
        below = 1
        for root in reversed(self._expand([extent])):
            if below >= stride:
                break
            if stride < below * self._size[root]:
                low = stride // below
                if stride % below or self._size[root] % low:
                    return False
                self._split(root, low)
                return True
            below *= self._size[root]
        return below == stride

    def unify(self, left: Iterable[int], right: Iterable[int]) -> bool:
        """Make two rows of extents the same elements. False, and nothing changed, if that cannot be."""
        self._undo = []
        done = self._unify(list(left), list(right))
        if not done:
            for put_back in reversed(self._undo):
                put_back()
        self._undo = None
        return done

    def _unify(self, left: list[int], right: list[int]) -> bool:
        """`unify`, from the fastest end on; what it changed before it says no is undone by the caller."""
        if prod(self._size[e] for e in left) != prod(self._size[e] for e in right):
            return False
        a, b = self._expand(left), self._expand(right)
        while a and b:
            x, y = self._root(a[-1]), self._root(b[-1])
            if self._parts[x] or self._parts[y]:  # cut since the row was expanded, by this very merge
                a, b = self._expand(a), self._expand(b)
                continue
            if x == y or self._size[x] == self._size[y]:
                self._merge(x, y)
                a.pop()
                b.pop()
            elif self._size[x] and self._size[y] and self._size[x] % self._size[y] == 0:
                self._split(x, self._size[y])
            elif self._size[x] and self._size[y] and self._size[y] % self._size[x] == 0:
                self._split(y, self._size[x])
            else:
                return False
        return not a and not b

    def _expand(self, row: Sequence[int]) -> list[int]:
        """The finest extents of a row, each by its root; those of one element vanish."""
        out: list[int] = []
        for extent in row:
            root = self._root(extent)
            if self._parts[root]:
                out.extend(self._expand(self._parts[root]))
            elif self._size[root] != 1:
                out.append(root)
        return out

    def _root(self, extent: int) -> int:
        while self._parent[extent] != extent:
            extent = self._parent[extent]
        return extent

    def _split(self, root: int, low: int) -> None:
        high, rest = self.new(self._size[root] // low), self.new(low)
        self._set(self._parts, root, (high, rest))

    def _merge(self, x: int, y: int) -> None:
        if x == y:
            return
        if self._weight[x] < self._weight[y]:
            x, y = y, x
        self._set(self._parent, y, x)
        self._set(self._weight, x, self._weight[x] + self._weight[y])

    def _set(self, column: list[T], at: int, value: T) -> None:
        """Write an entry, so that a refused merge can put it back."""
        old = column[at]
        if self._undo is not None:
            self._undo.append(lambda: column.__setitem__(at, old))
        column[at] = value
