"""Small graphs for the doors, built without torch."""

from __future__ import annotations

from einsplit.builder import Builder
from einsplit.einsum import einsum
from einsplit.graph import Graph
from einsplit.solver.machine import Machine, MeshAxis


def mlp_graph(batch: int = 6, hidden: int = 16) -> Graph:
    """Two matrix multiplications with a ReLU and a residual between them: a value with two readers."""
    builder = Builder()
    x = builder.input("x", (batch, 8), "float32", labels=["b", "f"])
    w1 = builder.input("w1", (8, hidden), "float32", role="parameter", labels=["f", "h"])
    w2 = builder.input("w2", (hidden, 8), "float32", role="parameter", labels=["h", "g"])
    hidden_values = einsum("b h -> b h", einsum("b f, f h -> b h", x, w1), join="max(x, 0)")
    y = einsum("b f, b f -> b f", einsum("b h, h g -> b g", hidden_values, w2), x, join="x + y")
    return builder.build({"y": y, "total": einsum("b f -> ", y)})


def machine(*sizes: int, seconds: float = 1e-7) -> Machine:
    """A machine that would rather move bytes than compute: its plans of tiny graphs are not trivial."""
    axes = tuple(MeshAxis(f"axis{k}", size, 1e9, seconds) for k, size in enumerate(sizes))
    return Machine(
        name="test",
        axes=axes,
        flops_per_second=1e7,
        memory_bytes_per_second=1e9,
        memory_bytes=1e9,
        launch_seconds=1e-7,
    )
