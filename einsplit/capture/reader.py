"""Walk an exported program operator by operator; one row of RULES turns each into nodes of the Graph.

What is known while tracing stays a torch tensor and is folded; what is a formula of indices is written into its
reader's join; everything else is a symbolic Value. An operator without a rule becomes a kernel that runs whole, or,
where torch says it is pointwise, one whose every label may be cut. What a rule returns is held against the shape and
dtype that torch found for the operator.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Container, Mapping, Sequence

import torch
from torch.fx import GraphModule
from torch.fx import Node as FxNode

from einsplit.builder import Builder, Origin, variable_index
from einsplit.builder.views import Value, expand
from einsplit.capture.constants import Constants
from einsplit.capture.dtypes import dtype_name, is_known_dtype
from einsplit.capture.formulas import Formula
from einsplit.capture.sources import capture_error, line_of_node
from einsplit.capture.torch_private import Operator
from einsplit.errors import CaptureError, EinsplitError
from einsplit.scalar import labels_of, substitute

Known = Value | Formula | torch.Tensor  # what a tensor of the program is while it is read
Rule = Callable[..., object]
RULES: dict[str, Rule] = {}
SEED = "random.seed"  # the input that programs have who draw random numbers


def rule(*targets: str) -> Callable[[Rule], Rule]:
    """Register a function `(reader, *args, **kwargs)` for operators, named as `aten.add.Tensor`."""

    def register(function: Rule) -> Rule:
        for target in targets:
            RULES[target] = function
        return function

    return register


class Reader:
    """Reads one exported graph into one Builder; `constants` collects the tensors that it finds known."""

    def __init__(self, builder: Builder, unknown: Rule, taken: Container[str]) -> None:
        self.builder = builder
        self.constants = Constants(builder, taken)
        self.seed: Value | None = None
        self._num_draws = 0
        self._node: FxNode | None = None
        self._unknown = unknown

    def run(self, module: GraphModule, arguments: Sequence[object]) -> object:
        """The outputs of a graph module whose placeholders stand for `arguments`."""
        known: dict[FxNode, object] = {}
        waiting = iter(arguments)
        for node in module.graph.nodes:
            if node.op == "placeholder":
                known[node] = next(waiting)
            elif node.op == "get_attr":
                known[node] = module.get_submodule(str(node.target))
            elif node.op == "output":
                return _resolved(node.args[0], known)
            else:
                self._node = node
                known[node] = self._call(node, _resolved(node.args, known), _resolved(node.kwargs, known))
        raise AssertionError("a graph without an output")

    def _call(self, node: FxNode, args: object, kwargs: object) -> object:
        assert isinstance(args, tuple) and isinstance(kwargs, dict)
        name, target = str(node.target), node.target
        if target is operator.getitem:
            return args[0][args[1]]
        if name.startswith("wrap_with_"):
            return self._region(name, args)
        if name.startswith(("aten._assert", "aten.sym_")) or not _has_values(node):
            return None  # shapes are numbers here, and what is asserted of values is not computed
        if not isinstance(target, Operator):
            raise self.error(f"{name} is not understood", "Write it with ordinary operators.")
        self._refuse_unreadable(name, target, args)
        if not _symbolic((args, *kwargs.values())) and not _draws(name, target, args):
            return self._folded(target, args, kwargs)
        return self._checked(name, self._apply(name, target, args, kwargs))

    def _region(self, name: str, args: tuple[object, ...]) -> object:
        """What a region without autocast, or with other gradients, returns; stopped where it is to have none."""
        at = next(k for k, arg in enumerate(args) if isinstance(arg, GraphModule))
        body = args[at]
        assert isinstance(body, GraphModule)
        found = self.run(body, args[at + 1 :])
        if name != "wrap_with_set_grad_enabled" or args[0] is not False:
            return found
        assert isinstance(found, (tuple, list))
        detach = RULES["aten.detach.default"]
        return [detach(self, part) if isinstance(part, (Value, Formula, torch.Tensor)) else part for part in found]

    def _refuse_unreadable(self, name: str, target: Operator, args: Sequence[object]) -> None:
        """Raise CaptureError for what no Graph holds: random numbers, numbers and shapes made of values, odd dtypes."""
        if _draws(name, target, args) and name not in RULES:
            advice = "Call model.eval(), or pass the numbers in as an argument."
            raise self.error(f"{name} draws random numbers, and a plan must not change them", advice)
        if not all(isinstance(meta, torch.Tensor) for meta in self.metas):
            advice = "Choose with torch.where, or pass the number in as an argument of its own."
            raise self.error(
                f"{name} makes a Python number of a tensor, and values are not known while tracing", advice
            )
        strange = [str(meta.dtype) for meta in self.metas if not is_known_dtype(meta.dtype)]
        strange += [str(meta.layout) for meta in self.metas if meta.layout is not torch.strided]
        if strange:
            raise self.error(f"{name} makes a tensor of {strange[0]}", "Stay with dense tensors of ordinary dtypes.")
        if any(not isinstance(size, int) for meta in self.metas for size in meta.shape):
            advice = "Keep the shape: torch.where(mask, x, 0) instead of x[mask]."
            raise self.error(f"the shape of what {name} returns depends on the values of a tensor", advice)

    def _folded(self, target: Operator, args: tuple[object, ...], kwargs: Mapping[str, object]) -> object:
        """The operator on tensors that are known. Those of a model without data are made where there are data."""
        try:
            return target(*map(_off_meta, args), **{name: _off_meta(arg) for name, arg in kwargs.items()})
        except Exception as error:
            raise self.error(f"{target} fails: {error}", "Call the function without einsplit first.") from error

    def _apply(self, name: str, target: object, args: Sequence[object], kwargs: Mapping[str, object]) -> object:
        """What the operator's rule makes of it, or, where there is none or it declines, a kernel."""
        found = RULES.get(name)
        if found is not None:
            try:
                result = found(self, *args, **kwargs)
            except CaptureError:
                raise
            except EinsplitError as error:
                raise self.error(f"{name} is misread: {error}", "Report this, please.") from error
            if result is not NotImplemented:
                return result
        return self._unknown(self, target, *args, **kwargs)

    def _checked(self, name: str, result: object) -> object:
        """The result, if it is what torch says it is."""
        results = list(result) if isinstance(result, (list, tuple)) else [result]
        for part, meta in zip(results, self.metas, strict=True):
            assert isinstance(part, (Value, Formula, torch.Tensor)), (name, part)
            want = (tuple(meta.shape), dtype_name(meta.dtype))
            have = (tuple(part.shape), dtype_name(part.dtype) if isinstance(part, torch.Tensor) else part.dtype)
            if have != want:
                raise self.error(f"{name} is misread as {have} instead of {want}", "Report this, please.")
        return result

    # What rules ask of the reader.

    def draw(self) -> tuple[Value, int]:
        """The call's seed, an int64 that is an input of the Graph, and the number of this draw from it."""
        if self.seed is None:
            self.seed = self.builder.input(SEED, (), "int64")
        self._num_draws += 1
        return self.seed, self._num_draws

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape that torch gives the (first) result of the operator being read."""
        return tuple(self.metas[0].shape)

    @property
    def dtype(self) -> str:
        """The dtype that torch gives the (first) result of the operator being read."""
        return dtype_name(self.metas[0].dtype)

    @property
    def metas(self) -> list[torch.Tensor]:
        """Shape and dtype of every result of the operator being read, as torch found them."""
        assert self._node is not None
        value = self._node.meta["val"]
        return list(value) if isinstance(value, (tuple, list)) else [value]

    def operand_meta(self, position: int) -> torch.Tensor:
        """Shape, dtype and strides of a tensor that the operator being read takes, as torch found them."""
        assert self._node is not None
        given = self._node.args[position]
        assert isinstance(given, FxNode)
        found = given.meta["val"]
        assert isinstance(found, torch.Tensor)
        return found

    @property
    def is_list(self) -> bool:
        """Whether the operator being read returns several tensors."""
        assert self._node is not None
        return isinstance(self._node.meta["val"], (tuple, list))

    @property
    def target(self) -> str:
        """The operator being read, as `aten.add.Tensor`."""
        assert self._node is not None
        return str(self._node.target)

    def origin(self, part: str = "") -> Origin:
        """Module path, operator and `part` of it, and the user's own line."""
        assert self._node is not None
        stack = list((self._node.meta.get("nn_module_stack") or {}).values())
        path = re.sub(r"^held(\.\d+)?\.?|^L\['self'\]\.?", "", str(stack[-1][0])) if stack else ""
        return Origin(".".join(word for word in (path, self._node.name, part) if word), self.line)

    @property
    def line(self) -> str:
        """`file:line` of the user's call; empty where it is not known."""
        assert self._node is not None
        return line_of_node(self._node)

    def error(self, message: str, advice: str) -> CaptureError:
        """A CaptureError about the operator being read."""
        return capture_error(message, self.line or self.origin().name, advice)

    def value(self, known: object) -> Value:
        """Any tensor as a symbolic value: formulas become nodes, constants that are no formula become inputs."""
        if isinstance(known, (bool, int, float)):
            known = torch.tensor(known)
        found = self.formula(known)
        return found if isinstance(found, Value) else self._node_of(found)

    def formula(self, known: object) -> Value | Formula:
        """Like `value`, but a formula stays one, for readers that can take it into their own join."""
        if isinstance(known, torch.Tensor):
            return self.constants.get(known, self.line)
        assert isinstance(known, (Value, Formula)), known
        return known

    def _node_of(self, formula: Formula) -> Value:
        used = sorted(int(name) for name in labels_of(formula.expr))
        variables = {k: self.builder.variable(formula.shape[k]) for k in used}
        join = substitute(formula.expr, {}, {str(k): variable_index(v) for k, v in variables.items()})
        dims = tuple((variables[k],) if k in variables else () for k in range(len(formula.shape)))
        return expand(self.builder.einsum([], dims, join, "sum", self.origin("indices")), formula.shape)


def _resolved(argument: object, known: Mapping[FxNode, object]) -> object:
    """The argument with what is known in place of nodes."""
    if isinstance(argument, FxNode):
        return known[argument]
    if isinstance(argument, (tuple, list)):
        return type(argument)([_resolved(part, known) for part in argument])
    if isinstance(argument, Mapping):
        return {name: _resolved(part, known) for name, part in argument.items()}
    return argument


def _has_values(node: FxNode) -> bool:
    """Whether the node computes tensors (or something that is refused), and not a check of its own."""
    return node.meta.get("val") is not None


def _symbolic(args: object) -> bool:
    """Whether a tensor that is not known stands among the arguments, at any depth."""
    if isinstance(args, (list, tuple)):
        return any(_symbolic(arg) for arg in args)
    return isinstance(args, (Value, Formula))


def _off_meta(argument: object) -> object:
    """The argument; of the device that holds no data, the one that does."""
    is_meta = isinstance(argument, torch.device) and argument.type == "meta"
    return torch.device("cpu") if is_meta else argument


def _draws(name: str, target: Operator, args: Sequence[object]) -> bool:
    """Whether an operator draws random numbers; each call is to draw others, so that none is known while tracing."""
    return torch.Tag.nondeterministic_seeded in target.tags and not _is_idle_dropout(name, args)


def _is_idle_dropout(name: str, args: Sequence[object]) -> bool:
    """Whether an operator that may drop elements drops none."""
    if name.startswith("aten.scaled_dot_product_attention"):  # its rule looks
        return True
    at = 1 if "dropout" in name else 5 if name in _RECURRENT else None
    return at is not None and len(args) > at + 1 and (args[at] == 0 or args[at + 1] is False)


_RECURRENT = ("aten.lstm.input", "aten.gru.input", "aten.rnn_tanh.input", "aten.rnn_relu.input")
