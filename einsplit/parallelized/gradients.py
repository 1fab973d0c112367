"""Results that would have gradients, had the original been called: asking for those is an error, not a silent zero."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import torch
from torch.autograd.function import FunctionCtx

from einsplit.errors import RunError


class _NoGradients(torch.autograd.Function):
    """Gives out the tensors that `make` returns, tied to `anchor`; refuses to go backward."""

    @staticmethod
    def forward(
        ctx: FunctionCtx, anchor: torch.Tensor, make: Callable[[], tuple[torch.Tensor, ...]]
    ) -> tuple[torch.Tensor, ...]:
        return make()

    @staticmethod
    def backward(ctx: FunctionCtx, *gradients: torch.Tensor) -> torch.Tensor:
        raise RunError(
            "what parallelize makes runs forward only: its results have no gradients.\n"
            "  To train, use einsplit.train_step. Where no gradient is meant to flow, call under torch.no_grad() or "
            "detach the result."
        )


_tied: Callable[..., tuple[torch.Tensor, ...]] = _NoGradients.apply


def without_gradients(sources: Iterable[torch.Tensor], results: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """The results, made to require gradients where the original's might: going backward then raises RunError.

    `sources` are the arguments and parameters. Under `no_grad`, or where none of them requires gradients, the
    results stay as they are.
    """
    anchor = next((tensor for tensor in sources if tensor.requires_grad), None)
    if anchor is None or not torch.is_grad_enabled() or not results:
        return results
    return dict(zip(results, _tied(anchor, lambda: tuple(map(_own, results.values()))), strict=True))


def _own(tensor: torch.Tensor) -> torch.Tensor:
    """The same storage, not as a view: what a Function gives out as views may not be written to in place."""
    own = torch.empty(0, dtype=tensor.dtype, device=tensor.device)
    return own.set_(tensor.untyped_storage(), tensor.storage_offset(), tensor.size(), tensor.stride())
