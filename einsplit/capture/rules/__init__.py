"""One row per torch operator, by family; importing this package fills `einsplit.capture.reader.RULES`."""

from einsplit.capture.rules.elementwise import casts_and_fills, pointwise, random
from einsplit.capture.rules.indices import bags, indexing
from einsplit.capture.rules.others import notation, recurrent
from einsplit.capture.rules.others.unknown import unknown
from einsplit.capture.rules.products import attention, contract, convolution, experts
from einsplit.capture.rules.reductions import losses, norms, reduce, vector_norms
from einsplit.capture.rules.views import parts, shape

__all__ = [
    "attention",
    "bags",
    "casts_and_fills",
    "contract",
    "convolution",
    "experts",
    "indexing",
    "losses",
    "norms",
    "notation",
    "parts",
    "pointwise",
    "random",
    "recurrent",
    "reduce",
    "shape",
    "unknown",
    "vector_norms",
]
