"""The modules and tensors that a function reads besides its arguments, found before it runs."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Mapping
from types import CellType, CodeType, FunctionType, MethodType, ModuleType

import torch

MAX_PARTS = 1000  # a larger container is data: it is not searched
_LIBRARIES = ("site-packages", "dist-packages")


def modules_of(function: Callable[..., object], template: object = None) -> list[torch.nn.Module]:
    """The modules that the function is, is bound to, closes over, calls by a global name, or is given in `template`.

    A module inside another one of them is left out.
    """
    found = [part for _, part in _reached([("", function), ("", template)]) if isinstance(part, torch.nn.Module)]
    inside = {id(child) for module in found for child in list(module.modules())[1:]}
    return [module for module in found if id(module) not in inside]


def tensors_of(function: Callable[..., object]) -> dict[str, torch.Tensor]:
    """The tensors that the function closes over or finds by a global name, by that name."""
    found = [(name, part) for name, part in _reached([("", function)]) if isinstance(part, torch.Tensor)]
    return dict(reversed(found))


def _reached(roots: list[tuple[str, object]]) -> Iterator[tuple[str, object]]:
    """Modules and tensors, each once, with the name it is known by."""
    todo = roots[::-1]
    seen: dict[int, object] = {}  # keeps what it numbers, so that no number is given twice
    while todo:
        name, part = todo.pop()
        if id(part) in seen:
            continue
        seen[id(part)] = part
        if isinstance(part, (torch.nn.Module, torch.Tensor)):
            yield name, part
        else:
            todo.extend(reversed(list(_inside(name, part))))


def _inside(name: str, part: object) -> Iterator[tuple[str, object]]:
    """What a function, a container or an object holds."""
    if isinstance(part, functools.partial):
        yield from ((name, part.func), (name, part.args), (name, part.keywords))
    elif isinstance(part, MethodType):
        yield from ((name, part.__self__), (name, part.__func__))
    elif isinstance(part, FunctionType):
        if any(folder in part.__code__.co_filename for folder in _LIBRARIES):
            return
        yield from ((name, getattr(part, "__wrapped__", None)), (name, part.__defaults__), (name, part.__kwdefaults__))
        cells = zip(part.__code__.co_freevars, part.__closure__ or (), strict=True)
        yield from ((free, _content(cell)) for free, cell in cells)
        yield from ((each, part.__globals__[each]) for each in _names(part.__code__) if each in part.__globals__)
    elif isinstance(part, (tuple, list, Mapping)):
        if len(part) <= MAX_PARTS:
            yield from ((name, each) for each in (part.values() if isinstance(part, Mapping) else part))
    elif hasattr(part, "__dict__") and not isinstance(part, (type, ModuleType)):
        yield from vars(part).items()
        if callable(part):
            yield name, type(part).__call__  # the class's own function, for its names
    elif not isinstance(part, (type, ModuleType)):
        yield from _slots(part)


def _slots(part: object) -> Iterator[tuple[str, object]]:
    """What an object without a __dict__ holds, a slotted dataclass for one."""
    for kind in type(part).__mro__:
        own = vars(kind).get("__slots__", ())
        for slot in (own,) if isinstance(own, str) else tuple(own):
            if isinstance(slot, str) and hasattr(part, slot):
                yield slot, getattr(part, slot)


def _names(code: CodeType) -> Iterator[str]:
    """The names that a function, and those defined inside it, look up: globals and attributes."""
    yield from code.co_names
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _names(constant)


def _content(cell: CellType) -> object:
    try:
        return cell.cell_contents
    except ValueError:  # a variable that has no value yet
        return None
