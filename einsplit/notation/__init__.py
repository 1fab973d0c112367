"""The notation: text -> labels, with positions, so that errors can point.

`parse_spec("b s a, a f -> b s f")` reads an einsum, `parse_signature("b s [k] -> b s [n]")` a kernel's
signature; `bind` brings shapes and sizes to what was read.
"""

from einsplit.notation.bind import Bound, bind
from einsplit.notation.dims import Dims, Label, dims_shape, dims_text, flat
from einsplit.notation.parse import parse_signature, parse_spec
from einsplit.notation.spec import Spec, Term, labels_of

__all__ = [
    "Bound",
    "Dims",
    "Label",
    "Spec",
    "Term",
    "bind",
    "dims_shape",
    "dims_text",
    "flat",
    "labels_of",
    "parse_signature",
    "parse_spec",
]
