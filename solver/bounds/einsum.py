"""The fewest words that some device must move for one einsum, over all plans for P devices.

Terms t are the operands and the result, each a set of labels; N_i is the size of label i, F the product of all sizes.
Operands and result are stored once, evenly; every tuple of indices is evaluated somewhere; recomputation is allowed.

    D(P) = min over real b of  sum over t of prod_{i in t} b_i     with  1 <= b_i <= N_i,  prod b_i = F / P
    W    = max(0, D(P) - sum over t of |t| / P),                        |t| = prod_{i in t} N_i

Why: some device evaluates a set V of at least F / P tuples. Let X be a uniform draw from V, and log b_i the entropy of
X_i given X_1 .. X_{i-1}. Then prod b_i = |V|, 1 <= b_i <= N_i, and for every term prod_{i in t} b_i is at most the size
of V's projection on t: the elements of t that the device must see. Of them it holds |t| / P on average. How elements
are joined and aggregated never enters. For a matrix product W is the bound of Al Daas, Ballard, Grigori, Kumar and
Rouse 2022, with its constants.

In x = log b, log D is the least value of the convex g(x) = log sum_t exp(sum_{i in t} x_i) over a box and a plane. A
value of g is no lower bound of it, a tangent is, at whichever x0:

    min g(x)  >=  g(x0) + min over the box and the plane of  grad g(x0) . (x - x0)

The right side is a fractional knapsack, solved exactly. So what is returned is valid wherever the iteration has
stopped; that it is tight is the business of Newton's method along a barrier (Boyd and Vandenberghe 2004, chapter 11).

Labels that stand in the same terms are one label to g, of the product of their sizes. One that stands in all of them,
of at least P elements, can be cut P times, and nothing moves: W = 0.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from math import exp, log, prod

import numpy as np
from numpy.typing import NDArray

from einsplit.graph import Label

Vector = NDArray[np.float64]
Terms = Sequence[Collection[Label]]


@dataclass(frozen=True, slots=True)
class Faces:
    """What a bound depends on: labels merged, by the set of terms they stand in, bit t for term t, with their sizes.

    Terms come in falling order of size, so that a product and its gradients, the same three matrices, are one.
    """

    number: int
    labels: tuple[tuple[int, int], ...]  # bits, size

    def elements(self, term: int) -> int:
        return prod(size for bits, size in self.labels if bits >> term & 1)


ROUNDING = 1e-12  # taken off, relative: what a few dozen float operations on logarithms may have added
FIRST_BARRIER, LAST_BARRIER, SHRINK = 1.0, 1e-13, 0.1
MAX_STEPS = 60  # of Newton's method, for one weight of the barrier; about five are taken
TO_WALL = 0.95  # of the way to the nearest wall, at most
FULL_STEPS = 3  # at the end, where steps are too short for the barrier's value to show them
DECREMENT = 1e-4  # of the barrier's weight: the tangent makes up for what is left


def words_lower_bound(terms: Terms, sizes: Mapping[Label, int], num_devices: int) -> float:
    """Words that some device sends or receives, at least. `sizes` are those of all labels of the operation.

    Products of 4096 x 4096 by 4096 x 4096 on 2 devices: 0.39 * 4096^2. Valid within `ROUNDING`, and tight to 1e-9.
    """
    if 0 in sizes.values():
        return 0.0
    return faces_lower_bound(faces_of(terms, sizes), num_devices)


def faces_of(terms: Terms, sizes: Mapping[Label, int]) -> Faces:
    """The terms of an operation without the names of its labels."""
    order = sorted(terms, key=lambda term: -prod(sizes[label] for label in term))
    merged: dict[int, int] = {}
    for label, size in sizes.items():
        bits = sum(1 << k for k, term in enumerate(order) if label in term)
        merged[bits] = merged.get(bits, 1) * size
    return Faces(len(order), tuple(sorted((bits, size) for bits, size in merged.items() if size > 1)))


def faces_lower_bound(faces: Faces, num_devices: int) -> float:
    """`words_lower_bound` of all operations that have these faces."""
    shared = (1 << faces.number) - 1
    if num_devices <= 1 or not faces.number or dict(faces.labels).get(shared, 1) >= num_devices:
        return 0.0
    own = sum(map(faces.elements, range(faces.number))) / num_devices
    return max(0.0, _least_faces(faces, num_devices) * (1 - ROUNDING) - own)


def _least_faces(faces: Faces, num_devices: int) -> float:
    """D(P), or a hair below it. More devices than tuples: one device has one tuple, at least."""
    room = np.array([log(size) for _, size in faces.labels])
    volume = float(room.sum()) - log(num_devices)
    if volume <= 0:
        return float(faces.number)
    rows = range(faces.number)
    in_face = np.array([[bits >> row & 1 for bits, _ in faces.labels] for row in rows], dtype=np.float64)
    at = _minimiser(in_face, room, volume)
    value, gradient, _ = _log_sum(in_face, at)
    return exp(value + _knapsack(gradient, room, volume) - float(gradient @ at))


def _log_sum(in_face: Vector, x: Vector) -> tuple[float, Vector, Vector]:
    """g(x), its gradient, and the shares of the terms."""
    exponents = in_face @ x
    highest = float(exponents.max())
    weights = np.exp(exponents - highest)
    total = float(weights.sum())
    shares = weights / total
    return highest + log(total), in_face.T @ shares, shares


def _knapsack(gradient: Vector, room: Vector, volume: float) -> float:
    """min of gradient . x  with  0 <= x <= room,  sum x = volume: the least slopes are filled first."""
    order = np.argsort(gradient, kind="stable")
    before = np.concatenate([[0.0], np.cumsum(room[order])[:-1]])
    filled = np.clip(volume - before, 0.0, room[order])
    return float(gradient[order] @ filled)


def _minimiser(in_face: Vector, room: Vector, volume: float) -> Vector:
    """Close to where g is least: a barrier keeps x and room - x above 0 while its weight goes to 0."""
    x = room * (volume / float(room.sum()))
    slack = room - x
    weight = FIRST_BARRIER
    while weight > LAST_BARRIER:
        for _ in range(MAX_STEPS):
            step, decrement = _newton(in_face, x, slack, weight)
            if decrement <= DECREMENT * weight:
                break
            length = _length(in_face, x, slack, weight, step, decrement)
            # Both are kept: a slack found anew as room - x would lose its digits close to the wall.
            x, slack = x + length * step, slack - length * step
            if length == 0.0:
                break
        weight *= SHRINK
    for _ in range(FULL_STEPS):
        step, _ = _newton(in_face, x, slack, weight)
        length = _inside(x, slack, step)
        x, slack = x + length * step, slack - length * step
    return x


def _newton(in_face: Vector, x: Vector, slack: Vector, weight: float) -> tuple[Vector, float]:
    """The step to the least of the barrier problem's second-order model on the plane, and what that promises, twice."""
    _, gradient, shares = _log_sum(in_face, x)
    number = len(x)
    system = np.zeros((number + 1, number + 1))
    system[:number, :number] = in_face.T @ (shares[:, None] * in_face) - np.outer(gradient, gradient)
    system[range(number), range(number)] += weight / x**2 + weight / slack**2
    system[number, :number] = system[:number, number] = 1.0
    downhill = np.append(-(gradient - weight / x + weight / slack), 0.0)
    step = np.linalg.solve(system, downhill)[:number]
    step -= step.mean() if number > 1 else step  # exactly on the plane
    return step, float(downhill[:number] @ step)


def _length(in_face: Vector, x: Vector, slack: Vector, weight: float, step: Vector, decrement: float) -> float:
    """How far to go: inside the walls, and downhill; 0.0 where rounding hides any descent."""
    length = _inside(x, slack, step)
    start = _barrier(in_face, x, slack, weight)
    while length > 1e-10:
        if _barrier(in_face, x + length * step, slack - length * step, weight) <= start - 0.1 * length * decrement:
            return length
        length /= 2
    return 0.0


def _inside(x: Vector, slack: Vector, step: Vector) -> float:
    """How much of the step leaves x between its walls; at most all of it."""
    shrinking = np.concatenate([-step / x, step / slack])
    return TO_WALL / max(float(shrinking.max()), TO_WALL)


def _barrier(in_face: Vector, x: Vector, slack: Vector, weight: float) -> float:
    return _log_sum(in_face, x)[0] - weight * float(np.log(x).sum() + np.log(slack).sum())
