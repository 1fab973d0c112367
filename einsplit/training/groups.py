"""A user's optimizer -> groups of trained parameters, their settings, and their learning rate at every step."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch

from einsplit.errors import EinsplitError, type_text
from einsplit.optim import SGD, Adam, AdamW, Group, Optimizer

_NOT_HERE = ("amsgrad", "maximize", "differentiable")  # what torch's own may be told, and these rules do not do


@dataclass(frozen=True, slots=True)
class Trained:
    """Groups, and what gives the learning rate of each (by the name of its feed) at a step, counted from 1."""

    groups: tuple[Group, ...]
    rates: Mapping[str, Callable[[int], float]]
    optimizer: torch.optim.Optimizer | None = None  # torch's, whose settings may be changed by a schedule

    def refuse_changed(self) -> None:
        """Raise EinsplitError where a setting other than the learning rate is no longer what was traced."""
        if self.optimizer is None:
            return
        for group, part in zip(self.groups, self.optimizer.param_groups, strict=True):
            now = _KNOWN[type(self.optimizer)](part)
            if now != group.optimizer:
                raise EinsplitError(
                    f"the optimizer's settings have changed: {group.optimizer} has become {now}",
                    "Only the learning rate may change between steps: of OneCycleLR, set cycle_momentum=False.",
                )


def trained(optimizer: object, names: Mapping[int, str]) -> Trained:
    """The groups of an `einsplit.optim` or `torch.optim` optimizer.

    `names` are those of the trainable parameters that the loss reads, by identity. A torch optimizer is asked for its
    learning rate at every step, so that schedulers of that work. Raises EinsplitError for an optimizer that
    is neither, for settings that have no rule here, and for one that has made steps already.
    """
    if isinstance(optimizer, (SGD, Adam)):
        rate = optimizer.lr
        return Trained(
            (Group(optimizer, tuple(names.values()), "optimizer.rate"),),
            {"optimizer.rate": rate if callable(rate) else lambda step: float(rate)},
        )
    if not isinstance(optimizer, torch.optim.Optimizer):
        raise EinsplitError(
            f"optimizer is {type_text(optimizer)}",
            "Give an einsplit.optim.SGD, Adam or AdamW, or one of torch.optim.",
        )
    if type(optimizer) not in _KNOWN:
        known = ", ".join(f"torch.optim.{kind.__name__}" for kind in _KNOWN)
        raise EinsplitError(f"torch.optim.{type(optimizer).__name__} has no rule here", f"Known: {known}.")
    if optimizer.state:
        raise EinsplitError(
            "the optimizer has made steps already, and its moments would be lost", "Give one that has made none."
        )
    groups = [_group(optimizer, k, part, names) for k, part in enumerate(optimizer.param_groups)]
    rates = {group.rate: _rate(part) for group, part in zip(groups, optimizer.param_groups, strict=True)}
    return Trained(tuple(groups), rates, optimizer)


def refuse_outside(model: torch.nn.Module, read: Mapping[str, torch.Tensor]) -> None:
    """Raise EinsplitError where the loss reads a trainable parameter that is none of the model's: it would be lost."""
    own = {id(parameter) for parameter in model.parameters()}
    for name, tensor in read.items():
        if tensor.requires_grad and id(tensor) not in own:
            raise EinsplitError(
                f"the loss reads {name!r}, which requires gradients and is no parameter of the model",
                "Put all that is trained into one module (torch.nn.ModuleList), or freeze it: requires_grad_(False).",
            )


def refuse_shared_memory(model: torch.nn.Module) -> None:
    """Raise EinsplitError where two trained parameters begin at one place: captured they are one, for torch two."""
    known: dict[tuple[int, int], str] = {}
    for name, parameter in model.named_parameters():  # one that is tied stands once
        if not parameter.requires_grad or not parameter.numel() or parameter.is_meta:
            continue
        other = known.setdefault((parameter.untyped_storage().data_ptr(), int(parameter.storage_offset())), name)
        if other != name:
            raise EinsplitError(
                f"{other!r} and {name!r} are two parameters in the same memory",
                f"Tie them by making them one: model.{name} = model.{other}.",
            )


def _group(optimizer: torch.optim.Optimizer, k: int, given: Mapping[str, object], names: Mapping[int, str]) -> Group:
    for setting in _NOT_HERE:
        if given.get(setting):
            raise EinsplitError(f"{setting}=True of {type(optimizer).__name__} has no rule here", "Leave it out.")
    settings = _KNOWN[type(optimizer)](given)
    parameters = given["params"]
    assert isinstance(parameters, Sequence)
    held = [names[id(parameter)] for parameter in parameters if id(parameter) in names]
    return Group(settings, tuple(dict.fromkeys(held)), "optimizer.rate" if k == 0 else f"optimizer.rate.{k}")


def _sgd(given: Mapping[str, object]) -> SGD:
    return SGD(
        lr=0.0,  # asked for at every step
        momentum=_number(given["momentum"]),
        dampening=_number(given["dampening"]),
        weight_decay=_number(given["weight_decay"]),
        nesterov=given["nesterov"] is True,
    )


def _adam(given: Mapping[str, object]) -> Adam:
    betas = given["betas"]
    assert isinstance(betas, (tuple, list))
    return (AdamW if given.get("decoupled_weight_decay") else Adam)(
        lr=0.0,
        betas=(_number(betas[0]), _number(betas[1])),
        eps=_number(given["eps"]),
        weight_decay=_number(given["weight_decay"]),
    )


_KNOWN: dict[type, Callable[[Mapping[str, object]], Optimizer]] = {
    torch.optim.SGD: _sgd,
    torch.optim.Adam: _adam,
    torch.optim.AdamW: _adam,  # which sets decoupled_weight_decay
}


def _number(value: object) -> float:
    assert isinstance(value, (int, float, torch.Tensor)), value
    return float(value)


def _rate(group: Mapping[str, object]) -> Callable[[int], float]:
    def rate(step: int) -> float:
        return _number(group["lr"])

    return rate
