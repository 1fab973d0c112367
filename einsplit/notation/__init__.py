"""The notation: text -> labels, with positions, so that errors can point.

`parse_spec("b s a, a f -> b s f")` reads an einsum, `parse_signature("b s [k] -> b s [n]")` a kernel's
signature; `bind` brings shapes and sizes to what was read.
"""

from einsplit.notation.bind import Bound, bind
from einsplit.notation.parse import parse_signature, parse_spec
from einsplit.notation.spec import Dims, Spec, Term, dims_text, labels_of, spec_text

__all__ = [
    "Bound",
    "Dims",
    "Spec",
    "Term",
    "bind",
    "dims_text",
    "labels_of",
    "parse_signature",
    "parse_spec",
    "spec_text",
]
