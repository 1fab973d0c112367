"""`FILE.py:NAME`: the user's own function, called without arguments, that returns what to plan and run."""

from __future__ import annotations

import inspect
import runpy
import sys
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from einsplit.errors import EinsplitError, did_you_mean
from einsplit.graph import Graph

if TYPE_CHECKING:
    import torch

    from einsplit.capture import Captured


class TargetError(EinsplitError, ValueError):
    """FILE.py:NAME does not say what to plan."""


ADVICE = "NAME is a function of no arguments that returns (function or module, args) or a Graph."


@dataclass(frozen=True, slots=True)
class Target:
    """What is to be planned: a Graph, or a function with example arguments."""

    graph: Graph | None
    function: Callable[..., object] | None
    args: tuple[object, ...]
    kwargs: dict[str, object]

    def capture(self) -> Captured | None:
        """The function, traced; None where the target is a Graph."""
        from einsplit.capture import capture  # loads torch

        return None if self.function is None else capture(self.function, self.args, self.kwargs)


def load_target(text: str) -> Target:
    """Run FILE.py, as `python FILE.py` would but for `__name__`, and call NAME. Raises TargetError."""
    path, _, name = text.rpartition(":")
    if not path or not name:
        raise TargetError(f"{text!r} is not FILE.py:NAME.\n  {ADVICE}")
    file = Path(path)
    if not file.is_file():
        raise TargetError(f"{text!r}: there is no file {path!r}")
    sys.path.insert(0, str(file.resolve().parent))  # so that the file's own imports work
    try:
        scope = runpy.run_path(str(file), run_name="einsplit_target")
    except EinsplitError:
        raise
    except Exception as error:
        raise TargetError(f"{path} fails when it is run: {_place(error, path)}") from error
    if name not in scope:
        near = did_you_mean(name, [key for key, value in scope.items() if inspect.isfunction(value)])
        raise TargetError(f"{path} has no {name!r}. {near}\n  {ADVICE}")
    made = scope[name]
    if isinstance(made, Graph):
        return Target(made, None, (), {})
    if not callable(made):
        raise TargetError(f"{text}: {name} is {type(made).__name__}, not a function.\n  {ADVICE}")
    try:
        return _target(text, made())
    except EinsplitError:
        raise
    except Exception as error:
        raise TargetError(f"{text} fails when it is called: {_place(error, path)}") from error


def _target(text: str, made: object) -> Target:
    if isinstance(made, Graph):
        return Target(made, None, (), {})
    if isinstance(made, tuple) and len(made) == 2 and callable(made[0]):
        function, args = made
        if isinstance(args, Mapping):
            return Target(None, function, (), dict(args))
        if isinstance(args, (tuple, list)):
            return Target(None, function, tuple(args), {})
        raise TargetError(f"{text}: args is {type(args).__name__}; write a tuple, as in (model, (x,))")
    raise TargetError(f"{text} returns {type(made).__name__}.\n  {ADVICE}")


def _place(error: Exception, path: str) -> str:
    """The error and the last line of the user's file that led to it."""
    frames = [f for f in traceback.extract_tb(error.__traceback__) if f.filename == path]
    where = f"\n  at {path}:{frames[-1].lineno}: {frames[-1].line}" if frames else ""
    return f"{type(error).__name__}: {error}{where}"


def random_inputs(graph: Graph) -> dict[str, torch.Tensor]:
    """Seeded random tensors for the inputs of a Graph that came without any."""
    import torch  # only to run

    generator = torch.Generator().manual_seed(0)
    found = {}
    for name, at in graph.inputs.items():
        dtype = getattr(torch, graph.nodes[at].dtype)
        shape = graph.shape(at)
        if dtype.is_floating_point:
            found[name] = torch.randn(shape, generator=generator, dtype=torch.float32).to(dtype)
        else:
            found[name] = torch.randint(0, 2, shape, generator=generator).to(dtype)
    return found
