"""A user's function or module and its example arguments -> an exported torch program, its tensors, its result's shape.

Everything the function reads besides its arguments (the modules it closes over) is registered, so that parameters come
out as named inputs and not as nameless constants. The export is read before decomposition: torch's own
decompositions lose `detach`, and fail on some models.
"""

from __future__ import annotations

import functools
import inspect
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch.export import ExportedProgram

from einsplit.capture.structure import fill_structure, modules_in, split_structure
from einsplit.errors import CaptureError


@dataclass(frozen=True, slots=True)
class Exported:
    """An exported program and what is needed to call it as the user's function is called."""

    program: ExportedProgram
    wrapper: torch.nn.Module
    prefix: str  # what the wrapper puts before the user's own parameter names
    input_names: tuple[str, ...]  # one per tensor in the arguments, in order
    result: object  # template of the user's result


class _Wrapper(torch.nn.Module):
    """Takes the tensors of the arguments in a row, returns the tensors of the result in a row."""

    def __init__(self, function: Callable[..., list[torch.Tensor]], template: object, modules: Sequence[torch.nn.Module]) -> None:
        super().__init__()
        self.template = template
        self.function = [function]
        self.held = torch.nn.ModuleList(modules)

    def forward(self, *tensors: torch.Tensor) -> tuple[torch.Tensor, ...]:
        args, kwargs = fill_structure(self.template, list(tensors))  # type: ignore[misc]
        found = self.function[0](*args, **kwargs)
        return tuple(found)


def export(function: Callable[..., object], args: Sequence[object], kwargs: Mapping[str, object]) -> Exported:
    """Export `function(*args, **kwargs)`. Raises CaptureError with the user's line where torch cannot."""
    template, found = split_structure((tuple(args), dict(kwargs)))
    modules = _modules_of(function, template)
    modes = {module: module.training for root in modules for module in root.modules()}
    results: list[object] = []  # not an attribute of the wrapper: torch sets those back after the export

    def flat(*args: object, **kwargs: object) -> list[torch.Tensor]:
        result, tensors = split_structure(function(*args, **kwargs))
        results.append(result)
        return [tensor for _, tensor in tensors]

    wrapper = _Wrapper(flat, template, modules)
    for module, training in modes.items():
        module.training = training
    try:
        program = torch.export.export(wrapper, tuple(tensor for _, tensor in found), strict=False)
    except Exception as error:
        raise CaptureError(_explain(error)) from error
    prefix = "held.0." if len(modules) == 1 else "held."
    return Exported(program, wrapper, prefix, _input_names(function, found), results[-1])


def _modules_of(function: Callable[..., object], template: object) -> list[torch.nn.Module]:
    """The modules that the function is, is bound to, closes over, or is given."""
    if isinstance(function, torch.nn.Module):
        roots: list[object] = [function]
    elif isinstance(function, functools.partial):
        roots = [*_modules_of(function.func, None), function.args, function.keywords]
    else:
        plain = inspect.unwrap(function)
        cells = getattr(plain, "__closure__", None) or ()
        names = getattr(getattr(plain, "__code__", None), "co_names", ())
        scope = getattr(plain, "__globals__", {})
        roots = [getattr(plain, "__self__", None), *(_cell(cell) for cell in cells), *(scope.get(n) for n in names)]
        roots = [root for root in roots if isinstance(root, (torch.nn.Module, list, tuple, dict))]
    found = dict.fromkeys(module for root in [*roots, template] for module in modules_in(root))
    return list(found)


def _cell(cell: object) -> object:
    try:
        return cell.cell_contents  # type: ignore[attr-defined]
    except ValueError:  # a variable that is not bound yet
        return None


def _input_names(function: Callable[..., object], found: Sequence[tuple[str, torch.Tensor]]) -> tuple[str, ...]:
    """Tensor paths with positions replaced by the parameters' names: `0.1` -> `input_ids`."""
    target = function.forward if isinstance(function, torch.nn.Module) else function
    try:
        parameters = list(inspect.signature(target).parameters.values())
    except (TypeError, ValueError):
        parameters = []
    names = [p.name for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    out: list[str] = []
    for path, _ in found:
        where, key, *rest = path.split(".")
        if where == "0":
            key = names[int(key)] if int(key) < len(names) else f"arg{key}"
        out.append(".".join([key, *rest]))
    return tuple(out)


def _explain(error: Exception) -> str:
    """torch's message, shortened, with the user's line and what usually helps."""
    text = str(error)
    first = next((line.strip() for line in text.splitlines() if line.strip()), type(error).__name__)
    place = re.findall(r'File "([^"]+)", line (\d+)', text)
    line = f"\n  at {place[-1][0]}:{place[-1][1]}" if place else ""
    advice = "einsplit traces one path for given shapes; values of tensors cannot choose the path (use torch.where)."
    return f"torch.export cannot trace this: {type(error).__name__}: {first[:300]}{line}\n  {advice}"
