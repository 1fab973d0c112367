"""`FILE.py:NAME`: the user's own function, called without arguments, that returns what to plan and run."""

from __future__ import annotations

import inspect
import runpy
import sys
import traceback
import types
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from einsplit.errors import EinsplitError, did_you_mean, type_text
from einsplit.graph import Graph

if TYPE_CHECKING:
    import torch

    from einsplit.capture import Captured


class TargetError(EinsplitError, ValueError):
    """FILE.py:NAME does not say what to plan."""


ADVICE = "NAME is a function of no arguments that returns (function or module, args) or a Graph."
MODULE = "einsplit_target"  # what FILE.py is called while it runs


@dataclass(frozen=True, slots=True)
class Target:
    """What is to be planned: a Graph, or a function with example arguments."""

    made: Graph | Callable[..., object]
    args: tuple[object, ...] = ()
    kwargs: Mapping[str, object] | None = None

    def traced(self) -> tuple[Graph, Captured | None]:
        """The Graph, and what else a trace gives; None where the target is a Graph."""
        if isinstance(self.made, Graph):
            return self.made, None
        from einsplit.capture import capture  # loads torch

        captured = capture(self.made, self.args, self.kwargs or {})
        return captured.graph, captured

    def tensors(self, captured: Captured | None) -> dict[str, torch.Tensor]:
        """Every input of the program by name."""
        if captured is None:
            assert isinstance(self.made, Graph)
            return random_inputs(self.made)
        from einsplit.capture.structure import split_structure  # loads torch

        _, found = split_structure((self.args, dict(self.kwargs or {})))
        feeds = captured.feed([tensor for _, tensor in found])
        return {**captured.tensors, **feeds}

    def expected(self, captured: Captured | None) -> dict[str, torch.Tensor]:
        """The outputs by name, as the original gives them; those of a Graph from its meaning in numpy."""
        import torch  # only to run

        if isinstance(self.made, Graph):
            from einsplit.evaluate import evaluate

            arrays = {name: tensor.numpy() for name, tensor in random_inputs(self.made).items()}
            meaning = evaluate(self.made, arrays)
            return {name: torch.as_tensor(meaning[name]) for name, _ in self.made.outputs}
        from einsplit.capture.structure import split_structure

        assert captured is not None
        with torch.no_grad():
            _, found = split_structure(self.made(*self.args, **(self.kwargs or {})))
        return dict(zip(captured.outputs, (tensor for _, tensor in found), strict=True))


def load_target(text: str) -> Target:
    """Run FILE.py, as `python FILE.py` would but for `__name__`, and call NAME. Raises TargetError."""
    path, _, name = text.rpartition(":")
    if not path or not name:
        raise TargetError(f"{text!r} is not FILE.py:NAME.", ADVICE)
    file = Path(path)
    if not file.is_file():
        raise TargetError(f"{text!r}: there is no file {path!r}")
    sys.path.insert(0, str(file.resolve().parent))  # so that the file's own imports work
    try:
        scope = runpy.run_path(str(file), run_name=MODULE)
    except EinsplitError:
        raise
    except (Exception, SystemExit) as error:
        raise TargetError(f"{path} fails when it is run: {_described(error)}", _line(error, path)) from error
    # Libraries look up where a class was defined, and the module is gone when its file has run.
    module = types.ModuleType(MODULE)
    vars(module).update(scope)
    sys.modules[MODULE] = module
    if name not in scope:
        near = did_you_mean(name, [key for key, value in scope.items() if inspect.isfunction(value)])
        raise TargetError(f"{path} has no {name!r}. {near}".rstrip(), ADVICE)
    return _called(text, path, name, scope[name])


def _called(text: str, path: str, name: str, made: object) -> Target:
    """What NAME is, or returns. Raises TargetError."""
    if isinstance(made, Graph):
        return Target(made)
    if not callable(made) or isinstance(made, type):
        raise TargetError(f"{text}: {name} is {type_text(made)}, not a function.", ADVICE)
    try:
        inspect.signature(made).bind()
    except TypeError as error:
        raise TargetError(f"{text}: {name} cannot be called without arguments: {error}.", ADVICE) from error
    except ValueError:  # built in, without a signature
        pass
    try:
        result = made()
    except EinsplitError:
        raise
    except (Exception, SystemExit) as error:
        raise TargetError(f"{text} fails when it is called: {_described(error)}", _line(error, path)) from error
    return _target(text, result)


def _target(text: str, result: object) -> Target:
    """What NAME returned. Raises TargetError where that is nothing to plan."""
    if isinstance(result, Graph):
        return Target(result)
    if not isinstance(result, tuple) or len(result) != 2:
        what = f"a tuple of {len(result)}" if isinstance(result, tuple) else type_text(result)
        raise TargetError(f"{text} returns {what}.", ADVICE)
    function, args = result
    if not callable(function) or isinstance(function, type):
        raise TargetError(f"{text} returns a tuple whose first is {type_text(function)}.", ADVICE)
    if isinstance(args, Mapping):
        return Target(function, (), {str(key): value for key, value in args.items()})
    if isinstance(args, (tuple, list)):
        return Target(function, tuple(args))
    raise TargetError(f"{text}: args is {type_text(args)}; write a tuple, as in (model, (x,))")


def _described(error: BaseException) -> str:
    return f"{type(error).__name__}: {error.msg if isinstance(error, SyntaxError) else error}"


def _line(error: BaseException, path: str) -> str:
    """The last line of the user's file that led to the error, `at model.py:3: x = y`; empty where none did."""
    if isinstance(error, SyntaxError) and error.filename is not None:
        return f"at {error.filename}:{error.lineno}: {(error.text or '').strip()}"
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if frame.filename == path]
    return f"at {path}:{frames[-1].lineno}: {frames[-1].line}" if frames else ""


def random_inputs(graph: Graph) -> dict[str, torch.Tensor]:
    """Seeded random tensors for the inputs of a Graph that came without any."""
    import torch  # only to run

    from einsplit.torch_dtypes import torch_dtype

    generator = torch.Generator().manual_seed(0)
    found = {}
    for name, at in graph.inputs.items():
        dtype = torch_dtype(graph.nodes[at].dtype)
        shape = graph.shape(at)
        if dtype.is_floating_point or dtype.is_complex:
            found[name] = torch.randn(shape, generator=generator, dtype=torch.float32).to(dtype)
        else:
            found[name] = torch.randint(0, 2, shape, generator=generator).to(dtype)
    return found
