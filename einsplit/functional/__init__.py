"""The notation's worked examples: operations of the field, each a few calls of `einsum`.

    from einsplit import functional as F
    F.attention(q, k, v, causal=True)

Every function is its formula: its docstring gives it, its code spells it. So each works on numpy arrays and torch
tensors at once, is cut along any label where it is planned, and is differentiated by the rules of einsum; on symbolic
values of a Builder it adds the nodes of its formula. Operands are of one kind, and sizes are never stretched. A shape
or dtype that does not fit is einsum's own error, pointing into the text that the operand did not fit.

`...` in a shape stands for any number of leading dimensions.
"""

from einsplit.functional.attention import attention, rotary_embedding
from einsplit.functional.classes import cross_entropy, embedding, log_softmax, softmax
from einsplit.functional.neighbours import all_pairs_distances, k_nearest
from einsplit.functional.norms import layer_norm, rms_norm
from einsplit.functional.products import matrix_chain, mttkrp, viterbi_step
from einsplit.functional.windows import convolution, max_pool

__all__ = [
    "all_pairs_distances",
    "attention",
    "convolution",
    "cross_entropy",
    "embedding",
    "k_nearest",
    "layer_norm",
    "log_softmax",
    "matrix_chain",
    "max_pool",
    "mttkrp",
    "rms_norm",
    "rotary_embedding",
    "softmax",
    "viterbi_step",
]
