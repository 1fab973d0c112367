"""Every kernel by name, and its meaning on whole numpy arrays."""

from __future__ import annotations

from einsplit.errors import GraphError, advice
from einsplit.kernels import along, attention, convolution, shaping
from einsplit.kernels.rows import Reference

REFERENCES: dict[str, Reference] = {
    **shaping.REFERENCES,
    **along.REFERENCES,
    **convolution.REFERENCES,
    **attention.REFERENCES,
}


def reference(name: str) -> Reference:
    """The function `(attributes, arrays, shape of the result) -> results` of a kernel. Raises GraphError."""
    if name in ("aten", "aten_vjp"):
        # Their meaning is torch's own, so torch is loaded where such a node is met, and nowhere else.
        from einsplit.kernels import aten

        return aten.reference if name == "aten" else aten.reference_gradient
    if name not in REFERENCES:
        raise GraphError(f"unknown kernel {name!r}.", advice(name, (*REFERENCES, "aten")))
    return REFERENCES[name]
