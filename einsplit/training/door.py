"""`train_step`: checks what it is given, and makes a TrainStep."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import torch

from einsplit.api import as_plan, check_backend, machine_for
from einsplit.errors import EinsplitError, advice, type_text
from einsplit.solver.machine import Machine
from einsplit.solver.plan import Plan
from einsplit.torch_dtypes import torch_dtype
from einsplit.training.losses import autocast_loss
from einsplit.training.step import Settings, TrainStep

PRECISIONS = ("float32", "bfloat16")


def train_step(
    model: torch.nn.Module,
    loss: Callable[..., torch.Tensor],
    optimizer: object,
    *,
    devices: int | None = None,
    backend: str = "local",
    machine: Machine | str | Path | None = None,
    plan: Plan | str | Path | None = None,
    clip_norm: float | None = None,
    precision: str = "float32",
    strict: bool = False,
) -> TrainStep:
    """One step of training as a function of a batch, run on several devices by a plan found at its first call.

    >>> step = einsplit.train_step(model, lambda model, x, y: F.cross_entropy(model(x), y), AdamW(lr=1e-3), devices=2)
    >>> for x, y in batches:
    ...     print(step(x, y).item())
    >>> model.load_state_dict(step.state_dict())

    `loss(model, *batch)` is an ordinary function that returns one number. `optimizer`: an `einsplit.optim.SGD`, `Adam`
    or `AdamW`, which trains every parameter that requires gradients, or a fresh one of torch.optim, which trains those
    it was given, at the learning rates that it has when a step is made. `clip_norm`: as clip_grad_norm_ of torch, of
    the parameters that are trained.
    `precision="bfloat16"`: the loss is computed under torch.autocast, with the weights, their gradients and the update
    in float32.
    `backend`, `machine`, `plan`, `strict`: as in `parallelize`, of the whole step. The weights stay with the devices:
    the model itself keeps those it had. Raises EinsplitError for what cannot be trained, CaptureError and
    GradientError for a loss that cannot be read or differentiated, PlanError, MachineError and RunError as
    `parallelize` does.
    """
    if not isinstance(model, torch.nn.Module):
        raise EinsplitError(f"the model is {type_text(model)}", "Give a torch.nn.Module.")
    if not callable(loss):
        raise EinsplitError(f"the loss is {type_text(loss)}", "Give a function loss(model, *batch).")
    if clip_norm is not None and not clip_norm > 0:
        raise EinsplitError(f"clip_norm={clip_norm!r}: it must be positive", "Leave it out to clip nothing.")
    if precision not in PRECISIONS:
        raise EinsplitError(f"precision={precision!r}", advice(str(precision), PRECISIONS))
    check_backend(backend)
    given = as_plan(plan) if plan is not None else None
    chosen = machine_for(given, machine, devices)
    own_loss = loss if precision == "float32" else autocast_loss(loss, torch_dtype(precision))
    return TrainStep(model, own_loss, optimizer, Settings(chosen, backend, given, clip_norm, strict))
