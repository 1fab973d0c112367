"""Nested arguments and results, apart: the tensors in order, and a template that puts others in their place.

Tuples, lists, mappings and objects with attributes are walked (a model's key-value cache is one), so that a result
comes back in the type the user's own code returned. A template is the tree itself, every container and object of it
copied, with Slots for tensors; what cannot be copied or looked into (a module, a function) stands in it as it is.
"""

from __future__ import annotations

import copy
import enum
import functools
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from numbers import Number
from types import FunctionType, MethodType, ModuleType
from typing import TypeVar

import torch

from einsplit.errors import CaptureError

T = TypeVar("T")
_SYMBOLS = (torch.SymInt, torch.SymFloat, torch.SymBool)
_VALUES = (type(None), Number, str, bytes, torch.dtype, torch.device, torch.Size, slice, range, enum.Enum, *_SYMBOLS)
_OPAQUE = (type, ModuleType, FunctionType, MethodType, functools.partial, torch.nn.Module, torch.Generator, Iterator)
_UNORDERED = (set, frozenset, deque)  # a tensor in one of them has no place of its own


@dataclass(frozen=True, slots=True)
class Slot:
    """Stands in a template where the k-th tensor belongs."""

    position: int


def split_structure(tree: object) -> tuple[object, list[tuple[str, torch.Tensor]]]:
    """A template of the tree, and its tensors with the path of each (`0`, `past.layers.1.keys`).

    Raises CaptureError for a tensor in a set.
    """
    found: list[tuple[str, torch.Tensor]] = []

    def take(leaf: object, path: str) -> object:
        if isinstance(leaf, torch.Tensor):
            found.append((path, leaf))
            return Slot(len(found) - 1)
        if isinstance(leaf, _UNORDERED) and any(isinstance(part, torch.Tensor) for part in leaf):
            raise CaptureError(
                f"a tensor stands in a {type(leaf).__name__}, at {path or 'top'}.", "Use a list or a dict."
            )
        return leaf

    return _Walk(take).walk(tree, ""), found


def fill_structure(template: object, tensors: Sequence[torch.Tensor]) -> object:
    """The template with tensor k in slot k; the template itself is left as it is."""
    return _Walk(lambda leaf, _: tensors[leaf.position] if isinstance(leaf, Slot) else leaf).walk(template, "")


def leaves_in(tree: object) -> Iterator[object]:
    """Everything in the tree that is no container and no object with attributes."""
    found: list[object] = []
    _Walk(lambda leaf, _: found.append(leaf)).walk(tree, "")
    return iter(found)


def objects_in(tree: object) -> list[object]:
    """Every container, and every object with attributes, of the tree."""
    walk = _Walk(lambda leaf, _: leaf)
    walk.walk(tree, "")
    return walk.alive


@dataclass(frozen=True, slots=True)
class _Walk:
    """Copies a tree with every leaf changed. An object that is met twice, or inside itself, is copied once."""

    change: Callable[[object, str], object]
    copies: dict[int, object] = field(default_factory=dict)
    alive: list[object] = field(default_factory=list)  # what `copies` numbers, so that no number is given twice

    def walk(self, tree: object, path: str) -> object:
        if isinstance(tree, (torch.Tensor, Slot, *_VALUES)):
            return self.change(tree, path)
        if id(tree) in self.copies:
            return self.copies[id(tree)]
        if isinstance(tree, tuple):
            parts = [self.walk(part, _join(path, k)) for k, part in enumerate(tree)]
            make = getattr(type(tree), "_make", type(tree))  # a named tuple takes its fields one by one
            return self._keep(tree, make(parts))
        if isinstance(tree, list):
            listed = self._keep(tree, copy.copy(tree))
            listed[:] = [self.walk(part, _join(path, k)) for k, part in enumerate(tree)]
            return listed
        if type(tree) is dict:
            named: dict[object, object] = self._keep(tree, {})
            named.update((key, self.walk(part, _join(path, key))) for key, part in tree.items())
            return named
        if isinstance(tree, Mapping):
            items = {key: self.walk(part, _join(path, key)) for key, part in tree.items()}
            return self._keep(tree, _mapping(tree, items))
        attributes = _attributes(tree)
        twin = None if attributes is None else _twin(tree)
        if attributes is None or twin is None:
            return self.change(tree, path)
        self._keep(tree, twin)
        for name, part in attributes.items():
            object.__setattr__(twin, name, self.walk(part, _join(path, name)))
        return twin

    def _keep(self, tree: object, copied: T) -> T:
        self.copies[id(tree)] = copied
        self.alive.append(tree)
        return copied


def _join(path: str, key: object) -> str:
    return f"{path}.{key}" if path else str(key)


def _mapping(like: Mapping[object, object], items: dict[object, object]) -> object:
    """A mapping of the kind of `like` with these items."""
    kind: Callable[..., object] = type(like)
    if hasattr(kind, "__dataclass_fields__"):  # a model's output: its items are its fields
        return kind(**{str(key): part for key, part in items.items()})
    twin = _twin(like)
    update = getattr(twin, "update", None)
    if update is None:
        return kind(items)
    update(items)
    return twin


def _attributes(tree: object) -> dict[str, object] | None:
    """The attributes of an object, slots included; None where it shows none, or where they are not all of it."""
    in_python = not callable(tree) or isinstance(type(tree).__call__, FunctionType)
    if isinstance(tree, (*_OPAQUE, *_UNORDERED)) or hasattr(tree, "__array__") or not in_python:
        return None
    slots = [name for kind in type(tree).__mro__ for name in _slots(kind) if hasattr(tree, name)]
    if not hasattr(tree, "__dict__") and not slots:
        return None
    return {**getattr(tree, "__dict__", {}), **{name: getattr(tree, name) for name in slots}}


def _slots(kind: type) -> list[str]:
    """The slots of a class that are attributes of its instances."""
    names = kind.__dict__.get("__slots__", ())
    return [name for name in ((names,) if isinstance(names, str) else names) if not name.startswith("__")]


def _twin(tree: object) -> object | None:
    """A shallow copy; None where the object allows none."""
    try:
        twin = copy.copy(tree)
    except Exception:  # whatever an object's own __copy__ or __reduce__ raises
        return None
    return None if twin is tree else twin
