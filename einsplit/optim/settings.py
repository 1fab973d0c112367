"""SGD, Adam, AdamW: what a user says of them, under the names and with the defaults of torch.optim."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from einsplit.errors import EinsplitError

Rate = float | Callable[[int], float]  # a number, or a schedule: number of the step, from 1 -> number


@dataclass(frozen=True, slots=True, kw_only=True)
class SGD:
    """Stochastic gradient descent, with momentum where that is not 0.

        g = gradient + weight_decay p;   m = momentum m + (1 - dampening) g, at first g;   p = p - lr m

    `nesterov` takes a step along g + momentum m. Source: torch.optim.SGD.
    """

    lr: Rate = 1e-3
    momentum: float = 0.0
    dampening: float = 0.0
    weight_decay: float = 0.0
    nesterov: bool = False

    def __post_init__(self) -> None:
        _require("lr", self.lr, callable(self.lr) or self.lr >= 0, "at least 0")
        _require("momentum", self.momentum, self.momentum >= 0, "at least 0")
        _require("weight_decay", self.weight_decay, self.weight_decay >= 0, "at least 0")
        if self.nesterov and (self.momentum <= 0 or self.dampening != 0):
            raise EinsplitError("nesterov needs a momentum and no dampening", "Set momentum=0.9, dampening=0.0.")


@dataclass(frozen=True, slots=True, kw_only=True)
class Adam:
    """Adam (arXiv 1412.6980); weight decay is added to the gradient.

    m = b1 m + (1 - b1) g;   v = b2 v + (1 - b2) g^2;   p = p - lr / (1 - b1^t) m / (sqrt(v / (1 - b2^t)) + eps)
    """

    lr: Rate = 1e-3
    betas: tuple[float, float] = (0.9, 0.999)
    eps: float = 1e-8
    weight_decay: float = 0.0

    def __post_init__(self) -> None:
        _require("lr", self.lr, callable(self.lr) or self.lr >= 0, "at least 0")
        _require("betas", self.betas, len(self.betas) == 2 and all(0 <= b < 1 for b in self.betas), "two from [0, 1)")
        _require("eps", self.eps, self.eps >= 0, "at least 0")
        _require("weight_decay", self.weight_decay, self.weight_decay >= 0, "at least 0")


@dataclass(frozen=True, slots=True, kw_only=True)
class AdamW(Adam):
    """Adam with decoupled weight decay (arXiv 1711.05101): p shrinks by the factor 1 - lr weight_decay."""

    weight_decay: float = 1e-2


Optimizer = SGD | Adam | AdamW


def _require(name: str, value: object, fits: bool, wanted: str) -> None:
    if not fits:
        raise EinsplitError(f"{name}={value!r}: it must be {wanted}")
