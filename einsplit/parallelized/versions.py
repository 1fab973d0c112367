"""Whether a parameter has changed since it was shipped: the one place that reads torch's private version counter.

Every in-place operation on a tensor counts it up, `load_state_dict` and most optimizers too; writing through
`tensor.data` or a numpy view does not. Fused optimizers do not either, so the steps of optimizers are counted here. A
test tells when the counter moves.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

from torch import Tensor
from torch.optim import Optimizer
from torch.optim.optimizer import register_optimizer_step_post_hook

_STEPS: Counter[int] = Counter()  # of optimizers, by address: torch tells of them in a hook for the whole process


def _count_step(optimizer: Optimizer, args: tuple[object, ...], kwargs: Mapping[str, object]) -> None:
    """Called after every `step` of every optimizer."""
    stepped = (parameter for group in optimizer.param_groups for parameter in group["params"])
    _STEPS.update(parameter.data_ptr() for parameter in stepped if parameter.grad is not None)


register_optimizer_step_post_hook(_count_step)


def version_of(tensor: Tensor) -> object:
    """Differs from an earlier one if the tensor was written in place, given other storage, or laid out anew.

    A tensor made in inference mode counts no writes: its version differs each time.
    """
    if tensor.is_inference():
        return object()
    place = tensor.data_ptr()
    return place, _STEPS[place], tensor._version, tuple(tensor.shape), tensor.stride()
