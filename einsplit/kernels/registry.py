"""Every kernel by name, and its meaning on whole numpy arrays."""

from __future__ import annotations

from einsplit.errors import GraphError, did_you_mean
from einsplit.kernels import along, shaping
from einsplit.kernels.rows import Reference

REFERENCES: dict[str, Reference] = {**shaping.REFERENCES, **along.REFERENCES}


def reference(name: str) -> Reference:
    """The function `(attributes, arrays, shape of the result) -> results` of a kernel. Raises GraphError."""
    if name == "aten":
        # Its meaning is torch's own, so torch is loaded where such a node is met, and nowhere else.
        from einsplit.kernels.aten import reference as call_torch

        return call_torch
    if name not in REFERENCES:
        advice = did_you_mean(name, REFERENCES) or "Known: " + " ".join((*REFERENCES, "aten")) + "."
        raise GraphError(f"unknown kernel {name!r}.\n  {advice}")
    return REFERENCES[name]
