"""Nested arguments and results, apart: the tensors in order, and a template that puts others in their place.

Tuples, lists, mappings, dataclasses and objects with attributes are walked (a model's key-value cache is one), so that a
result comes back in the type the user's own code returned.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, fields, is_dataclass

import torch

ATOMS = (type(None), bool, int, float, complex, str, bytes, torch.dtype, torch.device, torch.Size, type, torch.nn.Module)


@dataclass(frozen=True, slots=True)
class Slot:
    """Stands in a template where the k-th tensor belongs."""

    position: int


def split_structure(tree: object) -> tuple[object, list[tuple[str, torch.Tensor]]]:
    """A template of the tree, and its tensors with the path of each (`0`, `past.layers.1.keys`)."""
    found: list[tuple[str, torch.Tensor]] = []

    def take(leaf: object, path: str) -> object:
        if isinstance(leaf, torch.Tensor):
            found.append((path, leaf))
            return Slot(len(found) - 1)
        return leaf

    return _map(tree, take, "", {}), found


def fill_structure(template: object, tensors: Mapping[int, torch.Tensor] | list[torch.Tensor]) -> object:
    """The template with tensor k in slot k; the template itself is left as it is."""

    def put(leaf: object, path: str) -> object:
        return tensors[leaf.position] if isinstance(leaf, Slot) else leaf

    return _map(template, put, "", {})


def modules_in(tree: object) -> Iterator[torch.nn.Module]:
    """Every module that stands as a leaf of the tree."""
    found: list[torch.nn.Module] = []

    def look(leaf: object, path: str) -> object:
        if isinstance(leaf, torch.nn.Module):
            found.append(leaf)
        return leaf

    _map(tree, look, "", {})
    return iter(found)


def _map(tree: object, change: Callable[[object, str], object], path: str, seen: dict[int, object]) -> object:
    def inner(part: object, key: object) -> object:
        return _map(part, change, f"{path}.{key}" if path else str(key), seen)

    if isinstance(tree, (torch.Tensor, Slot, *ATOMS)) or callable(tree) and not hasattr(tree, "__dict__"):
        return change(tree, path)
    if id(tree) in seen:  # an object that holds itself
        return seen[id(tree)]
    if isinstance(tree, tuple):
        parts = [inner(part, k) for k, part in enumerate(tree)]
        return type(tree)(*parts) if hasattr(tree, "_fields") else type(tree)(parts)
    if isinstance(tree, list):
        return [inner(part, k) for k, part in enumerate(tree)]
    if isinstance(tree, Mapping):
        items = {key: inner(part, key) for key, part in tree.items()}
        if type(tree) is dict:
            return items
        if is_dataclass(tree):
            return type(tree)(**items)
        clone = copy.copy(tree)
        clone.update(items)  # type: ignore[attr-defined]
        return clone
    if is_dataclass(tree) and not isinstance(tree, type):
        clone = copy.copy(tree)
        seen[id(tree)] = clone
        for field in fields(tree):
            object.__setattr__(clone, field.name, inner(getattr(tree, field.name), field.name))
        return clone
    if hasattr(tree, "__dict__") and not callable(tree):
        clone = copy.copy(tree)
        seen[id(tree)] = clone
        clone.__dict__ = {key: inner(part, key) for key, part in vars(tree).items()}
        return clone
    return change(tree, path)
