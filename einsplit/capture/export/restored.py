"""Modules are after a traced run what they were before it: attributes, hooks, and what containers of theirs hold."""

from __future__ import annotations

import contextlib
import warnings
from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import torch

from einsplit.errors import CaptureError

Container = dict[object, object] | list[object] | set[object] | deque[object]
_CONTAINERS = (dict, list, set, deque)
_REGISTERED = ("_buffers", "_parameters")  # whose tensors are attributes by their own names


@dataclass(frozen=True, slots=True)
class _Before:
    """A module before the run."""

    module: torch.nn.Module
    attributes: dict[str, object]
    contents: dict[str, Container]  # copies of the containers among them: hooks, submodules, the user's own
    buffers: dict[str, torch.Tensor]


@contextlib.contextmanager
def restored(modules: torch.nn.ModuleList, replaced: dict[str, torch.Tensor]) -> Iterator[None]:
    """What the function sets on its modules, keeps in their containers and registers is taken back.

    What it keeps has no values, and a hook would be there twice where what says that it is registered is set back.
    `replaced` collects the tensors that were there before, by name. Raises CaptureError where a buffer has become
    another tensor.
    """
    before = {name: _before(module) for name, module in modules.named_modules()}
    kept: list[str] = []
    try:
        yield
        _refuse_replaced_buffers(before)
    finally:
        for name, old in before.items():
            kept += _set_back(name, old, replaced)
    for name in kept:
        own = name.partition(".")[2]
        warnings.warn(f"the attribute {own!r} is set while the function runs in torch, and not here", stacklevel=2)


def _before(module: torch.nn.Module) -> _Before:
    attributes = dict(vars(module))
    contents = {key: value.copy() for key, value in attributes.items() if isinstance(value, _CONTAINERS)}
    return _Before(module, attributes, contents, dict(module.named_buffers(recurse=False)))


def _refuse_replaced_buffers(before: Mapping[str, _Before]) -> None:
    """Raise CaptureError where a buffer has become another tensor: what it becomes would be lost after the call."""
    for name, old in before.items():
        for key, tensor in old.module.named_buffers(recurse=False):
            if key in old.buffers and tensor is not old.buffers[key]:
                own = f"{name}.{key}".partition(".")[2]
                raise CaptureError(
                    f"the function sets the buffer {own!r} to another tensor, which torch.export does not record",
                    f"Write into it: self.{key}.copy_(...), self.{key} += ...",
                )


def _set_back(name: str, old: _Before, replaced: dict[str, torch.Tensor]) -> list[str]:
    """The names under which there were tensors, which have no values; attributes are set back first."""
    now = vars(old.module)
    kept = []
    for key in [*now]:
        if key not in old.attributes or old.attributes[key] is not now[key]:
            kept += [f"{name}.{key}"] * isinstance(now[key], torch.Tensor)
            if key not in old.attributes:
                del now[key]
    for key, value in old.attributes.items():
        if isinstance(value, torch.Tensor) and now.get(key) is not value:
            replaced[f"{name}.{key}"] = value
        now[key] = value
    for key, held in old.contents.items():
        container = old.attributes[key]
        assert isinstance(container, _CONTAINERS)
        before, after = _entries(held), _entries(container)
        if [(at, id(part)) for at, part in before] == [(at, id(part)) for at, part in after]:
            continue
        place = name if key in _REGISTERED else f"{name}.{key}"
        known, found = {id(part) for _, part in before}, {id(part) for _, part in after}
        kept += [f"{place}.{at}" for at, part in after if isinstance(part, torch.Tensor) and id(part) not in known]
        gone = [(at, part) for at, part in before if isinstance(part, torch.Tensor) and id(part) not in found]
        replaced.update({f"{place}.{at}": part for at, part in gone})
        _refill(container, held)
    return kept


def _entries(container: Container) -> list[tuple[object, object]]:
    return list(container.items() if isinstance(container, dict) else enumerate(container))


def _refill(container: Container, held: Container) -> None:
    """Put back what was held into the same object: others may know it."""
    container.clear()
    if isinstance(container, dict):
        container.update(dict(held.items()) if isinstance(held, dict) else ())
    elif isinstance(container, set):
        container.update(held)
    else:
        container.extend(held)
