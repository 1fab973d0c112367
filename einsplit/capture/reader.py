"""Walk an exported program operator by operator; one row of RULES turns each into nodes of the Graph.

What is known while tracing stays a torch tensor and is folded; what is a formula of indices is written into its
reader's join; everything else is a symbolic Value. An operator without a rule becomes a kernel that runs whole, or,
where torch says it is pointwise, one whose every label may be cut.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Mapping, Sequence

import torch
from torch.fx import GraphModule
from torch.fx import Node as FxNode

from einsplit.builder import Builder, Origin, variable_index
from einsplit.capture.formulas import Formula, dtype_name, recognise
from einsplit.errors import CaptureError
from einsplit.scalar import labels_of, substitute
from einsplit.views import Value, expand

Known = Value | Formula | torch.Tensor  # what a tensor of the program is while it is read
Rule = Callable[..., object]
RULES: dict[str, Rule] = {}


def rule(*targets: str) -> Callable[[Rule], Rule]:
    """Register a function `(reader, *args, **kwargs)` for operators, named as `aten.add.Tensor`."""

    def register(function: Rule) -> Rule:
        for target in targets:
            RULES[target] = function
        return function

    return register


class Reader:
    """Reads one exported graph into one Builder; `values` collects the constants it meets."""

    def __init__(self, builder: Builder, unknown: Rule) -> None:
        self.builder = builder
        self.values: dict[str, torch.Tensor] = {}
        self._constants: dict[str, Value] = {}
        self.node: FxNode | None = None
        self._unknown = unknown

    def run(self, module: GraphModule, arguments: Sequence[object]) -> object:
        """The outputs of a graph module whose placeholders stand for `arguments`."""
        known: dict[FxNode, object] = {}
        waiting = iter(arguments)
        for node in module.graph.nodes:
            if node.op == "placeholder":
                known[node] = next(waiting)
            elif node.op == "get_attr":
                known[node] = _attribute(module, str(node.target))
            elif node.op == "output":
                return torch.fx.node.map_arg(node.args[0], lambda n: known[n])
            else:
                known[node] = self._call(module, node, known)
        raise AssertionError("a graph without an output")

    def _call(self, module: GraphModule, node: FxNode, known: dict[FxNode, object]) -> object:
        self.node = node
        args = torch.fx.node.map_arg(node.args, lambda n: known[n])
        kwargs = torch.fx.node.map_arg(node.kwargs, lambda n: known[n])
        if node.target is operator.getitem:
            return args[0][args[1]]
        name = str(node.target)
        if name.startswith("wrap_with_"):  # a region without gradients, or with autocast: forward, it is its body
            body = next(arg for arg in args if isinstance(arg, GraphModule))
            return self.run(body, args[args.index(body) + 1 :])
        if name.startswith("aten._assert") or name.startswith("aten.sym_"):
            return None
        target = node.target
        if not isinstance(target, torch._ops.OpOverload):
            raise self.error(f"the higher-order operator {name} is not understood")
        if torch.Tag.nondeterministic_seeded in target.tags and not _is_idle_dropout(name, args):
            raise self.error(f"{name} draws random numbers: call model.eval(), or pass the numbers in as an argument")
        if not _symbolic(args) and not _symbolic(tuple(kwargs.values())):
            return target(*args, **kwargs)
        if name.split(".")[1].endswith("_") and not name.split(".")[1].endswith("__"):
            return self._in_place(node, name, known, args, kwargs)
        return self._apply(name, target, args, kwargs)

    def _apply(self, name: str, target: object, args: Sequence[object], kwargs: Mapping[str, object]) -> object:
        found = RULES.get(name)
        if found is not None:
            result = found(self, *args, **kwargs)
            if result is not NotImplemented:
                return result
        return self._unknown(self, target, *args, **kwargs)

    def _in_place(
        self,
        node: FxNode,
        name: str,
        known: dict[FxNode, object],
        args: Sequence[object],
        kwargs: Mapping[str, object],
    ) -> object:
        """`relu_(x)`: x is another value from here on, which is sound while nothing else shares its storage."""
        changed = node.args[0]
        assert isinstance(changed, FxNode)
        storage = _storage(changed)
        sharing = [n for n in known if n is not changed and _storage(n) == storage and n.meta["val"] is not None]
        if changed.op == "placeholder" or any(n.op == "placeholder" or not _same_view(n, changed) for n in sharing):
            raise self.error(f"{name} changes a tensor that other names share: write the result to a new tensor")
        family, _, overload = name.removeprefix("aten.").partition(".")
        functional = getattr(torch.ops.aten, family[:-1])
        functional = getattr(functional, overload)
        result = self._apply(str(functional), functional, args, kwargs)
        for shared in (changed, *sharing):
            known[shared] = result
        return result

    # What rules ask of the reader.

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape that torch gives the result of the operator being read."""
        return tuple(int(size) for size in self.meta().shape)

    @property
    def dtype(self) -> str:
        """The dtype that torch gives the result of the operator being read."""
        return dtype_name(self.meta().dtype)

    def meta(self) -> torch.Tensor:
        assert self.node is not None
        value = self.node.meta["val"]
        return value if isinstance(value, torch.Tensor) else value[0]

    @property
    def origin(self) -> Origin:
        """Module path and operator, and the user's own line."""
        assert self.node is not None
        stack = list((self.node.meta.get("nn_module_stack") or {}).values())
        path = re.sub(r"^held(\.\d+)?\.?|^L\['self'\]\.?", "", str(stack[-1][0])) if stack else ""
        return Origin(f"{path}.{self.node.name}" if path else self.node.name, self.line)

    @property
    def line(self) -> str:
        assert self.node is not None
        places = re.findall(r'File "([^"]+)", line (\d+)', self.node.meta.get("stack_trace") or "")
        return f"{places[-1][0]}:{places[-1][1]}" if places else ""

    def error(self, message: str) -> CaptureError:
        return CaptureError(f"{message}\n  at {self.origin.name} {self.line}".rstrip())

    def value(self, known: object) -> Value:
        """Any tensor as a symbolic value: formulas become nodes, constants that are no formula become inputs."""
        if isinstance(known, Value):
            return known
        if isinstance(known, torch.Tensor):
            formula = recognise(known)
            if formula is None:
                return self._constant(known)
            known = formula
        if isinstance(known, (bool, int, float)):
            known = recognise(torch.tensor(known))
        assert isinstance(known, Formula), known
        return self._formula(known)

    def formula(self, known: object) -> Value | Formula:
        """Like `value`, but a formula stays one, for readers that can take it into their own join."""
        if isinstance(known, torch.Tensor):
            found = recognise(known)
            return self._constant(known) if found is None else found
        assert isinstance(known, (Value, Formula)), known
        return known

    def _formula(self, formula: Formula) -> Value:
        used = sorted(int(name) for name in labels_of(formula.expr))
        variables = {k: self.builder.variable(formula.shape[k]) for k in used}
        join = substitute(formula.expr, {}, {str(k): variable_index(v) for k, v in variables.items()})
        dims = tuple((variables[k],) if k in variables else () for k in range(len(formula.shape)))
        return expand(self.builder.einsum([], dims, join, "sum", self.origin), formula.shape)

    def _constant(self, tensor: torch.Tensor) -> Value:
        for name, have in self.values.items():
            if have is tensor:
                break
        else:
            name = f"constant_{len(self.values)}"
            self.values[name] = tensor.detach()
            self._constants[name] = self.builder.input(
                name, tuple(tensor.shape), dtype_name(tensor.dtype), role="constant", source=self.line
            )
        return self._constants[name]



def _attribute(module: torch.nn.Module, path: str) -> object:
    found: object = module
    for part in path.split("."):
        found = getattr(found, part)
    return found


def _symbolic(args: object) -> bool:
    if isinstance(args, (list, tuple)):
        return any(_symbolic(arg) for arg in args)
    return isinstance(args, (Value, Formula))


def _is_idle_dropout(name: str, args: Sequence[object]) -> bool:
    return name == "aten.dropout.default" and (not args[2] or args[1] == 0.0) or name.startswith("aten.scaled_dot")


def _storage(node: FxNode) -> object:
    value = node.meta.get("val")
    return value.untyped_storage()._cdata if isinstance(value, torch.Tensor) else None


def _same_view(left: FxNode, right: FxNode) -> bool:
    a, b = left.meta["val"], right.meta["val"]
    return a.shape == b.shape and a.stride() == b.stride() and a.storage_offset() == b.storage_offset()
