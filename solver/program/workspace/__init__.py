"""Bytes that a Compute takes beside its operands, by kind: what its kernel holds at once, outputs included.

Each kind is gone through as its kernel goes: what it makes is taken, and given back where it is dropped.

    join       a chunk's steps, each until its last use; the part; with several chunks the whole value from the start
    contract   operands summed over labels of their own; those whose labels lie otherwise, once more; the product, and
               a copy where the result's labels lie otherwise
    pick       the value
    lookup     where the keys stand, what is read there, and then as a join
    scatter    likewise, the sums, what is added to them if that is wider than the result, a copy as above
    grouped    where the keys stand, rows in order, the sums, one index's rows and product as if it had them all
    kernel     operands that must be copied to be presented, results, what the kernel declares

and with all of them int64 indices of each label whose indices are asked for. Nothing is computed here.
"""

from einsplit.solver.program.workspace.kinds import compute_bytes

__all__ = ["compute_bytes"]
