"""Convolutions and their adjoints mean their formula; their gradients, first and second, are torch's on any cutting."""

from __future__ import annotations

from collections.abc import Callable
from itertools import product
from random import Random

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from einsplit.autodiff import grad, gradient_name
from einsplit.capture import capture
from einsplit.draft import Draft, Origin
from einsplit.evaluate import evaluate
from einsplit.graph import Graph, Kernel
from einsplit.kernels.convolution import REFERENCES
from einsplit.passes import tidy
from einsplit.runtime.kernels.families import KERNELS
from einsplit.scalar import operand
from einsplit.solver.prepare import prepare
from einsplit.solver.problem.problem import Problem
from einsplit.solver.sharding import cuttable_labels, extent_classes, make_tables
from tests.autodiff.test_any_cutting import close
from tests.support.cuttings import Cutting, random_cutting, random_machine, run_local

# ----------------------------------------------------------------------------------------------- the meaning


def meant(x: np.ndarray, w: np.ndarray, z: np.ndarray, attributes: dict[str, list[int]], wanted: str) -> np.ndarray:
    """One of the three from the other two, product by product: h = p * stride + y * dilation - padding."""
    found = {"convolution": z, "convolution_input": x, "convolution_weight": w}[wanted]
    found[:] = 0
    num_out, num_in = w.shape[:2]
    groups = x.shape[1] // num_in
    for b, o, c in product(range(x.shape[0]), range(num_out), range(num_in)):
        channel = o // (num_out // groups) * num_in + c
        for p, y in product(np.ndindex(z.shape[2:]), np.ndindex(w.shape[2:])):
            rows = zip(p, y, attributes["stride"], attributes["dilation"], attributes["padding"], strict=True)
            h = tuple(at * step + tap * gap - zeros for at, tap, step, gap, zeros in rows)
            if any(not 0 <= at < size for at, size in zip(h, x.shape[2:], strict=True)):
                continue
            if wanted == "convolution":
                z[b, o, *p] += x[b, channel, *h] * w[o, c, *y]
            elif wanted == "convolution_input":
                x[b, channel, *h] += z[b, o, *p] * w[o, c, *y]
            else:
                w[o, c, *y] += x[b, channel, *h] * z[b, o, *p]
    return found


def shapes(random: Random) -> tuple[list[tuple[int, ...]], dict[str, list[int]]]:
    """Shapes of input, weight and output, and how windows lie; the three lengths need not fit each other."""
    num_dims = random.choice([1, 1, 2, 2, 3])
    groups, num_in, num_out = (random.randint(1, 3) for _ in range(3))
    batch = random.randint(1, 3)
    stride, dilation = ([random.randint(1, 3) for _ in range(num_dims)] for _ in range(2))
    taps = [random.randint(1, 3) for _ in range(num_dims)]
    padding = [random.randint(0, 3) for _ in range(num_dims)]
    outputs = [random.randint(1, 4) for _ in range(num_dims)]
    spans = [(p - 1) * s + (y - 1) * d + 1 for p, s, y, d in zip(outputs, stride, taps, dilation, strict=True)]
    # From three more zeros behind than in front to three elements more than windows reach.
    inputs = [max(1, span - 2 * zeros + random.randint(-3, 3)) for span, zeros in zip(spans, padding, strict=True)]
    found = [
        (batch, groups * num_in, *inputs),
        (groups * num_out, num_in, *taps),
        (batch, groups * num_out, *outputs),
    ]
    return found, {"stride": stride, "padding": padding, "dilation": dilation}


@pytest.mark.parametrize("kernel", REFERENCES)
@pytest.mark.parametrize("seed", range(25))
def test_a_kernel_is_its_formula_whatever_the_shapes(kernel: str, seed: int) -> None:
    """In numpy, and in torch's code on a device."""
    sizes, attributes = shapes(Random(seed))
    generator = np.random.default_rng(seed)
    x, w, z = (generator.normal(size=shape) for shape in sizes)
    operands = {"convolution": (x, w), "convolution_input": (z, w), "convolution_weight": (x, z)}[kernel]
    wanted = meant(*(array.copy() for array in (x, w, z)), attributes, kernel)
    (found,) = REFERENCES[kernel](attributes, operands, wanted.shape)
    (run,) = KERNELS[kernel](attributes, [torch.from_numpy(array) for array in operands], {0: wanted.shape})
    np.testing.assert_allclose(found, wanted, rtol=0, atol=1e-12)
    np.testing.assert_allclose(run.numpy(), wanted, rtol=0, atol=1e-12)


# ------------------------------------------------------------------------------------------------- gradients


def real(*shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(len(shape)), dtype=torch.float64)


CASES: dict[str, tuple[Callable[..., Tensor], *tuple[Tensor, ...]]] = {
    "of rows": (F.conv1d, real(4, 5, 7), real(2, 5, 3), real(2)),
    "steps, zeros, gaps": (
        lambda x, w: F.conv2d(x, w, None, (2, 1), (1, 2), (1, 2)),
        real(2, 4, 6, 5),
        real(5, 4, 3, 2),
    ),
    "elements that no window reaches": (lambda x, w: F.conv1d(x, w, stride=3), real(2, 4, 9), real(5, 4, 2)),
    "groups": (lambda x, w, b: F.conv1d(x, w, b, groups=4), real(2, 20, 5), real(8, 5, 2), real(8)),
    "a group for each channel": (lambda x, w: F.conv2d(x, w, groups=5), real(2, 5, 4, 3), real(10, 1, 2, 2)),
    "of volumes": (lambda x, w: F.conv3d(x, w, padding=1), real(2, 2, 2, 3, 3), real(4, 2, 2, 2, 2)),
    "transposed": (
        lambda x, w, b: F.conv_transpose2d(x, w, b, 2, 1, 1, 2),
        real(2, 8, 3, 2),
        real(8, 5, 3, 2),
        real(10),
    ),
    "one picture": (F.conv2d, real(4, 5, 4), real(5, 4, 2, 2)),
    "of what is repeated": (lambda x, w: F.conv1d(x.expand(4, 5, 6), w), real(4, 1, 6), real(2, 5, 3)),
    "of what is repeated in both": (
        lambda x, w: F.conv1d(x.expand(4, 5, 6), w.expand(2, 5, 3)),
        real(4, 1, 6),
        real(2, 1, 3),
    ),
    "a pool": (lambda x: F.max_pool2d(x, 2) + F.avg_pool2d(x, 2, 2), real(4, 5, 6, 4)),
    "resampled": (lambda x: F.interpolate(x, size=(5, 3), mode="bilinear"), real(2, 4, 3, 4)),
    "sampled at points": (lambda x, at: F.grid_sample(x, at, align_corners=False), real(2, 4, 3, 4), real(2, 3, 2, 2)),
    "reflected": (lambda x: F.pad(x, (2, 1), mode="reflect") ** 2, real(4, 5, 4)),
    "a running product": (lambda x: x.cumprod(1) + x.cumsum(0), real(4, 5, 2)),
    "inverses": (lambda x: torch.linalg.inv(x @ x.mT + torch.eye(3)), real(4, 3, 3)),
    "solutions": (lambda x, y: torch.linalg.solve(x + 4 * torch.eye(3), y), real(4, 3, 3), real(4, 3, 2)),
    "triangular factors": (lambda x: torch.linalg.cholesky(x @ x.mT + torch.eye(3)), real(5, 3, 3)),
}
ONCE = ("sampled at points",)  # torch has no second derivative of it


def loss(function: Callable[..., Tensor], args: tuple[Tensor, ...]) -> Tensor:
    """The sum of what the function gives under weights that differ from element to element, and of its square."""
    found = function(*args)
    weights = torch.cos(torch.arange(found.numel(), dtype=found.dtype)).reshape(found.shape)
    return (found * weights + found * found / 2).sum()


def first(function: Callable[..., Tensor], args: tuple[Tensor, ...]) -> tuple[Graph, dict[str, np.ndarray], list[str]]:
    """The graph of the gradient of `loss` by every argument, its feeds, and their names."""
    captured = capture(lambda *given: loss(function, given), args, {})
    names = list(captured.feeds)
    feeds = {name: tensor.numpy() for name, tensor in zip(names, args, strict=True)}
    constants = {name: tensor.numpy() for name, tensor in captured.tensors.items()}
    graph = grad(tidy(captured.graph), "output", names)
    return graph, feeds | {name: constants[name] for name in graph.inputs if name in constants}, names


def again(graph: Graph, names: list[str]) -> Graph:
    """With the sum of the cubes of all gradients differentiated again: output `again`."""
    draft = Draft(graph.nodes, graph.sizes)
    outputs = dict(graph.outputs)
    cubes = []
    for name in names:
        row = draft.read(outputs[gradient_name("output", name)])
        cubes.append(draft.einsum([row], (), operand(0) * operand(0) * operand(0), "sum", Origin("cube")))
    total = cubes[0]
    for at in cubes[1:]:
        total = draft.pointwise(operand(0) + operand(1), [total, at], Origin("total"))
    return grad(draft.built((*graph.outputs, ("again", total)), ()), "again", names)


def of_torch(function: Callable[..., Tensor], args: tuple[Tensor, ...], twice: bool) -> list[Tensor]:
    """Torch's gradients of `loss`; then those of the sum of their cubes."""
    leaves = [arg.clone().requires_grad_() for arg in args]
    found = torch.autograd.grad(loss(function, tuple(leaves)), leaves, create_graph=twice)
    if not twice:
        return list(found)
    cubes = torch.stack([(part**3).sum() for part in found]).sum()
    return [part.detach() for part in (*found, *torch.autograd.grad(cubes, leaves))]


@pytest.mark.parametrize("name", CASES)
def test_gradients_and_their_gradients_are_those_of_torch(name: str) -> None:
    function, *args = CASES[name]
    graph, feeds, names = first(function, tuple(args))
    wanted = of_torch(function, tuple(args), name not in ONCE)
    outputs = [gradient_name("output", of) for of in names]
    if name not in ONCE:
        graph = tidy(again(graph, names))
        outputs += [gradient_name("again", of) for of in names]
    found = evaluate(graph, feeds)
    random = Random(name)
    cut = run_local(random_cutting(random, prepare(graph), random_machine(random, (3, 2))).program, feeds)
    for output, tensor in zip(outputs, wanted, strict=True):
        close(found[output], tensor.numpy(), output)
        close(cut[output], tensor.numpy(), output)


# -------------------------------------------------------------------------------------------- label by label


@pytest.mark.parametrize("name", CASES)
def test_every_free_label_of_a_kernel_can_be_cut_among_three_padded_or_not(name: str) -> None:
    function, *args = CASES[name]
    graph, feeds, names = first(function, tuple(args))
    graph = prepare(graph)
    machine = random_machine(Random(0), (3,))
    classes = extent_classes(graph)
    problem = Problem(graph, machine, make_tables(graph, machine.sizes, {label: [0] for label in classes.values()}))
    wanted = dict(zip(names, of_torch(function, tuple(args), False), strict=True))
    kernels = [node for node in graph.nodes if isinstance(node, Kernel)]
    free = {classes[label] for node in kernels for label in cuttable_labels(node)}
    assert free
    for label in sorted(free):
        shardings = []
        for at in range(len(graph.nodes)):
            own = [choice for choice in problem.choices(at, 0) if isinstance(choice, str) and classes[choice] == label]
            shardings.append((own[0] if own else None,))
        found = run_local(Cutting(problem, tuple(shardings)).program, feeds)
        for of, tensor in wanted.items():
            close(found[gradient_name("output", of)], tensor.numpy(), f"{of}, cut by {label}")


def test_of_a_grouped_convolution_all_three_kernels_are_cut_by_batch_groups_and_both_channels() -> None:
    function, *args = CASES["groups"]
    graph, _, _ = first(function, tuple(args))
    kernels = {node.kernel: node for node in graph.nodes if isinstance(node, Kernel)}
    forward = kernels["convolution"]
    ((b,), (g, c), _), ((_, o), _, _) = forward.reads
    summed = {"convolution": (c,), "convolution_input": (o,), "convolution_weight": (b,)}
    assert {name: node.summed for name, node in kernels.items()} == summed
    for node in kernels.values():
        assert set(cuttable_labels(node)) == {b, g, c, o}
        assert node.operations == forward.operations == 2 * (2 * 8 * 4) * (5 * 2)
