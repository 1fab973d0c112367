"""A user's loss: whether a batch fits it, and the same in another precision."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Sequence

import torch

from einsplit.errors import EinsplitError


def refuse_batch(loss: functools.partial[torch.Tensor], batch: Sequence[object]) -> None:
    """Raise EinsplitError where the loss, which has the model already, cannot be called with this batch."""
    try:
        signature = inspect.signature(loss)
    except (TypeError, ValueError):  # written in C
        return
    try:
        signature.bind(*batch)
    except TypeError as error:
        whole = inspect.signature(loss.func)
        given = f"{len(batch)} argument{'' if len(batch) == 1 else 's'}"
        raise EinsplitError(
            f"the loss, which takes {whole}, is called as loss(model, *batch), and the batch is {given}: {error}",
            "Call the step with what the loss takes after the model.",
        ) from error


def autocast_loss(loss: Callable[..., torch.Tensor], dtype: torch.dtype) -> Callable[..., torch.Tensor]:
    """The loss with those operators in `dtype` that torch.autocast takes for safe; the result in float32."""

    def in_precision(*args: object) -> torch.Tensor:
        with torch.autocast("cpu", dtype):
            return loss(*args).float()

    functools.update_wrapper(in_precision, loss, assigned=(), updated=())  # for its signature alone
    return in_precision
