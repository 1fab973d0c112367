"""One run of a user's function under torch.export, which leaves the user's objects and terminal as they were."""

from __future__ import annotations

import contextlib
import inspect
import io
import logging
import re
import sys
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

import torch
from torch.export import ExportedProgram
from torch.fx.traceback import preserve_node_meta

from einsplit.capture.export.gradients import WatchedGradients, asked_for_gradients, custom_functions
from einsplit.capture.export.layers import hinted, looking_layer
from einsplit.capture.export.restored import restored
from einsplit.capture.sources import RecordedLines, capture_error, line_of_error
from einsplit.capture.structure import fill_structure, leaves_in, objects_in, split_structure
from einsplit.errors import CaptureError

_CHATTY = ("torch.fx.experimental.symbolic_shapes", "torch._subclasses.fake_tensor")
_RETURN = "Return tensors, without .item() or .tolist(): einsplit computes what is returned, and nothing else."
_UNKNOWN = (torch.SymInt, torch.SymFloat, torch.SymBool)


@dataclass(slots=True)
class Seen:
    """What came out of a traced run, besides the program."""

    result: object = None  # template of the function's result
    num_tensors: int = 0  # in the result
    replaced: dict[str, torch.Tensor] = field(default_factory=dict)  # tensors that attributes of modules were, by name
    functions: tuple[type, ...] = ()  # custom autograd functions on the way to the result


class Wrapper(torch.nn.Module):
    """Takes the tensors of the arguments in a row, returns the tensors of the result in a row."""

    def __init__(
        self,
        function: Callable[..., object],
        template: object,
        modules: Sequence[torch.nn.Module],
        training: bool,
    ) -> None:
        super().__init__()
        self.function = [function]  # in a list: a module would be registered twice
        self.names = parameter_names(function)
        self.template = template
        self.for_training = training  # `training` is an attribute of every module
        self.held = torch.nn.ModuleList(modules)
        self.seen = Seen()

    def forward(self, *tensors: torch.Tensor) -> tuple[torch.Tensor, ...]:
        given = fill_structure(self.template, tensors)
        assert isinstance(given, tuple)
        args, kwargs = given
        before = _identities(given)
        watched = WatchedGradients(self.for_training)
        with hinted(self.held), restored(self.held, self.seen.replaced), RecordedLines(), watched:
            found = self.function[0](*args, **kwargs)
        _refuse_changed_objects(given, before, found, self.names)
        if any(isinstance(leaf, _UNKNOWN) for leaf in leaves_in(found)):
            raise CaptureError("the function returns a number made of a tensor.", _RETURN)
        self.seen.result, parts = split_structure(found)
        self.seen.num_tensors = len(parts)
        self.seen.functions = custom_functions(tensor for _, tensor in parts)
        if not parts:
            raise CaptureError("the function returns no tensor.", _RETURN)
        return tuple(tensor for _, tensor in parts)


def traced(wrapper: Wrapper, tensors: Sequence[torch.Tensor]) -> ExportedProgram:
    """The exported program of one run. Raises CaptureError with the user's line."""
    try:
        with _quiet(), preserve_node_meta():  # which keeps the recorded lines
            return torch.export.export(wrapper, tuple(tensors), strict=False)
    except CaptureError:
        raise
    except Exception as error:
        text, advice = _explained(error)
        raise capture_error(text, line_of_error(error), advice) from error


def _explained(error: Exception) -> tuple[str, str]:
    """What is wrong, and what to change, in torch's error."""
    name, text = type(error).__name__, str(error)
    if (asked := asked_for_gradients(error)) is not None:
        return asked
    if "DataDependent" in name or "data-dependent" in text:
        if (layer := looking_layer(error.__traceback__)) is not None:
            return layer
        message = "the value of a tensor chooses what is computed, and values are not known while tracing"
        return message, "Choose with torch.where, or pass the number or the choice in as an argument of its own."
    if "HigherOrder" in name:
        message = "operators that call functions (torch.cond, while_loop) are not captured"
        return message, "Choose with torch.where, or pass the number or the choice in as an argument of its own."
    if "fake tensor in the exported program constant" in text:
        message = "a tensor is read in a way that torch.export does not record"
        return message, "Instead of x.data write x.detach(); keep no tensors of one call for the next."
    if "inference tensor" in text.lower():
        message = "the function reads a parameter that was made under torch.inference_mode, and requires gradients"
        return message, "Make the module outside torch.inference_mode, or call it there."
    first = next((line.strip() for line in text.splitlines() if line.strip()), "")[:300]
    advice = "Call it without einsplit first: it is traced with tensors that have a shape and no values."
    return f"the function cannot be traced: {name}: {first}", advice


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """No graphs and logs on the terminal for what is reported as an error of ours."""
    loggers = [logging.getLogger(name) for name in _CHATTY]
    before = [logger.disabled for logger in loggers]
    written = io.StringIO()
    traces = torch.fx.config.do_not_emit_stack_traces
    try:
        torch.fx.config.do_not_emit_stack_traces = True  # they take a fifth of the time, and lines are recorded here
        for logger in loggers:
            logger.disabled = True
        with warnings.catch_warnings(), contextlib.redirect_stderr(written):
            warnings.filterwarnings("ignore", r".*_flat_weights.* were assigned during export")  # by torch's own LSTM
            warnings.filterwarnings("ignore", r"Dynamo does not know how to trace")
            yield
    finally:
        torch.fx.config.do_not_emit_stack_traces = traces
        for logger, disabled in zip(loggers, before, strict=True):
            logger.disabled = disabled
        # What torch was doing when it failed is left out; warnings and the user's own words are passed on.
        sys.stderr.write(re.sub(r"\s*\bdef forward\(self.*", "", written.getvalue(), flags=re.DOTALL))


def _identities(tree: object) -> list[tuple[str, int]]:
    return [(path, id(tensor)) for path, tensor in split_structure(tree)[1]]


def _refuse_changed_objects(
    given: tuple[object, ...], before: Sequence[tuple[str, int]], result: object, names: Sequence[str]
) -> None:
    """Raise CaptureError where the function put tensors into an argument that it does not return."""
    after = _identities(given)
    if after == before:
        return
    args, kwargs = given
    assert isinstance(args, tuple) and isinstance(kwargs, dict)
    returned = objects_in(result)
    for path in sorted({path for path, _ in set(after) ^ set(before)}):
        where, key, *_ = path.split(".")
        owner = args[int(key)] if where == "0" else next(part for name, part in kwargs.items() if str(name) == key)
        if not any(owner is part for part in returned):
            own = argument_name(names, where, key)
            message = f"the function puts tensors into its argument {own!r} (a {type(owner).__name__})"
            raise capture_error(message, "", "Return what it computes: the caller's object stays as it is.")


def parameter_names(function: Callable[..., object]) -> list[str]:
    """The names of the parameters that take arguments by position."""
    target = function.forward if isinstance(function, torch.nn.Module) else function
    try:
        parameters = inspect.signature(target).parameters.values()
    except (TypeError, ValueError):  # written in C
        return []
    return [p.name for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]


def argument_name(names: Sequence[str], where: str, key: str) -> str:
    """The name of argument `key`, a position where `where` is 0 and a name where it is 1."""
    if where == "1":
        return key
    return names[int(key)] if int(key) < len(names) else f"arg{key}"
