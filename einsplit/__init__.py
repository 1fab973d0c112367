"""einsplit decides how to cut a tensor computation over many devices, and runs it.

`import einsplit` loads neither torch nor ray: the doors that need them are loaded when they are first used.
"""

from importlib import import_module
from typing import TYPE_CHECKING

from einsplit.builder import Builder
from einsplit.einsum import einsum
from einsplit.errors import EinsplitError
from einsplit.evaluate import evaluate
from einsplit.graph import Graph
from einsplit.kernels.door import kernel

if TYPE_CHECKING:
    from einsplit import functional, optim
    from einsplit.api import plan, trace
    from einsplit.autodiff import grad
    from einsplit.parallelized import Parallelized, parallelize
    from einsplit.solver.machine import Machine
    from einsplit.solver.plan import Plan
    from einsplit.training import TrainStep, train_step

__all__ = [
    "Builder",
    "EinsplitError",
    "Graph",
    "Machine",
    "Parallelized",
    "Plan",
    "TrainStep",
    "einsum",
    "evaluate",
    "functional",
    "grad",
    "kernel",
    "optim",
    "parallelize",
    "plan",
    "trace",
    "train_step",
]

# Modules of our own by fixed names, nothing read from outside: loaded at first use, for they bring the solver or torch.
_DOORS = {
    "Machine": "einsplit.solver.machine",
    "Parallelized": "einsplit.parallelized",
    "Plan": "einsplit.solver.plan",
    "TrainStep": "einsplit.training",
    "grad": "einsplit.autodiff",
    "parallelize": "einsplit.parallelized",
    "plan": "einsplit.api",
    "trace": "einsplit.api",
    "train_step": "einsplit.training",
}
# Modules of our own too, by fixed names, that users name: einsplit.optim.AdamW.
_ROOMS = ("functional", "optim")


def __getattr__(name: str) -> object:
    if name in _DOORS:
        return getattr(import_module(_DOORS[name]), name)
    if name in _ROOMS:
        return import_module(f"einsplit.{name}")
    raise AttributeError(f"module 'einsplit' has no attribute {name!r}")
