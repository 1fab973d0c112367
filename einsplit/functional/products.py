"""Products: of matrices in a row, of a tensor with its factor matrices, and of a lattice in (max, +)."""

from __future__ import annotations

from collections.abc import Sequence

from einsplit.einsum import einsum
from einsplit.errors import ShapeError
from einsplit.functional.operands import X, shape_of


def matrix_chain(*matrices: X) -> X:
    """`Z = A B C ...`: `z_il = sum over j, k ... of a_ij b_jk c_kl ...`.

    Shapes: `i j`, `j k`, `k l` ...; the result has the first one's rows and the last one's columns. It is one einsum;
    who carries it out chooses the order (opt_einsum's path). Raises ShapeError where there is no matrix.
    """
    if not matrices:
        raise ShapeError("a chain of no matrices has no shape.", "Give one or more.")
    operands = ", ".join(f"n{k} n{k + 1}" for k in range(len(matrices)))
    return einsum(f"{operands} -> n0 n{len(matrices)}", *matrices)


def mttkrp(tensor: X, factors: Sequence[X], mode: int) -> X:
    """`m_ir = sum over j, k ... of t_ijk b_jr c_kr ...`: the tensor times the Khatri-Rao product of all other factors.

    Shapes: `tensor` `i j k ...`, a factor for each of its dimensions, `i r`, `j r`, `k r` ...; the result has the shape
    of factor `mode`, which is not read (`i r` of mode 0). The step of alternating least squares for the CP
    decomposition. Raises ShapeError where factors are missing, for a tensor of fewer than two
    dimensions, and where none has that number.
    Source: Kolda and Bader 2009, section 3.4.
    """
    num_modes = len(shape_of(tensor))
    if num_modes < 2 or len(factors) != num_modes or not -num_modes <= mode < num_modes:
        mistake = f"mode {mode} with {len(factors)} factors of a tensor of shape {shape_of(tensor)}."
        advice = "There is a factor for each of two or more dimensions, and mode is the number of one."
        raise ShapeError(mistake, advice)
    kept = mode % num_modes
    others = [k for k in range(num_modes) if k != kept]
    rows = "".join(f", n{k} r" for k in others)
    names = " ".join(f"n{k}" for k in range(num_modes))
    return einsum(f"{names}{rows} -> n{kept} r", tensor, *(factors[k] for k in others))


def viterbi_step(scores: X, transitions: X, emissions: X) -> tuple[X, X]:
    """`s'_j = max over i of (s_i + t_ij) + e_j`, and the first i that gives it: a matrix product in (max, +).

    Shapes: `scores` `... i`, logarithms of the best path that ends in i; `transitions` `i j`; `emissions` `... j`, of
    what is observed now; the results `... j`, the second one int64. Following it backwards from the best last state
    gives the most likely path. Where a score is NaN no i gives it, and the second result is the number of states.
    Source: Viterbi 1967; Forney 1973.
    """
    best = einsum("... i, i j -> ... j", scores, transitions, join="x + y", agg="max")
    first = f"where(x + y == z, index(i), {shape_of(transitions)[0]})"
    came_from = einsum("... i, i j, ... j -> ... j", scores, transitions, best, join=first, agg="min")
    return einsum("... j, ... j -> ... j", best, emissions, join="x + y"), came_from
