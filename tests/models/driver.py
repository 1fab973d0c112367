"""Run a model captured, whole and cut, and its gradients; what torch finds for the same."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from random import Random

import torch
from torch import Tensor

from einsplit.api import compile_plan
from einsplit.autodiff import grad, gradient_name
from einsplit.capture import Captured, capture
from einsplit.capture.structure import split_structure
from einsplit.graph import Graph
from einsplit.passes import drop_stops, tidy
from einsplit.runtime.local import LocalSession
from einsplit.solver.planner import make_plan
from einsplit.solver.prepare import prepare
from einsplit.solver.program import Program
from tests.capture.driver import keen
from tests.models.plain import Example
from tests.support.cuttings import random_cutting

LOSS = "output"


def whole(graph: Graph) -> Program:
    """For one device."""
    return compile_plan(make_plan(graph, keen(), "whole"), graph)


def cut(graph: Graph, seed: str) -> Program:
    """Over (2, 2) devices, at random."""
    return random_cutting(Random(seed), prepare(graph), keen(2, 2)).program


def loss_of(result: object) -> Tensor:
    """One number in which every element of every real tensor of the result has a weight of its own."""
    found = [part for _, part in split_structure(result)[1] if part.is_floating_point()]
    return torch.stack([_weighted(part).sum().to(found[0].dtype) for part in found]).sum()


def _weighted(part: Tensor) -> Tensor:
    """Times a cosine for each dimension, so that no tensor of weights is as large as the result."""
    for k, size in enumerate(part.shape):
        steps = torch.arange(size, dtype=part.dtype, device=part.device)
        cosines = torch.cos((0.7 + 0.6 * k) * steps + 1.0)
        part = part * cosines.view(-1, *(1 for _ in part.shape[k + 1 :]))
    return part


@dataclass(frozen=True, slots=True)
class Differentiated:
    """A model's loss with the gradients by all its parameters, as a Graph."""

    example: Example
    captured: Captured
    graph: Graph
    parameters: tuple[str, ...]
    feeds: Mapping[str, Tensor]

    def gradients(self, program: Program) -> dict[str, Tensor]:
        """By parameter, and the loss, as the program computes them on threads."""
        with LocalSession(program, timeout_seconds=60) as session:
            for name in program.parameters:
                session.put(name, self.captured.tensors[name])
            found = session.step({name: self.feeds[name] for name in program.feeds})
        return {LOSS: found[LOSS]} | {name: found[gradient_name(LOSS, name)] for name in self.parameters}

    def wanted(self) -> dict[str, Tensor]:
        """By parameter, and the loss, as torch computes them; 0 where torch says None."""
        example = self.example
        loss = loss_of(example.module(*example.args, **example.kwargs))
        tensors = [self.captured.tensors[name] for name in self.parameters]
        found = torch.autograd.grad(loss, tensors, allow_unused=True, materialize_grads=True)
        return {LOSS: loss.detach(), **dict(zip(self.parameters, found, strict=True))}


def differentiated(example: Example) -> Differentiated:
    """The Graph of `loss_of` the model's result, and its gradients by every parameter."""
    module = example.module

    def loss(*args: object, **kwargs: object) -> Tensor:
        return loss_of(module(*args, **kwargs))

    captured = capture(loss, example.args, example.kwargs, training=True)
    parameters = tuple(name for name, tensor in captured.tensors.items() if tensor.requires_grad)
    graph = drop_stops(tidy(grad(tidy(captured.graph), LOSS, parameters)))
    tensors = [tensor for _, tensor in split_structure((example.args, example.kwargs))[1]]
    return Differentiated(example, captured, graph, parameters, dict(zip(captured.feeds, tensors, strict=True)))


def farthest(found: Mapping[str, Tensor], wanted: Mapping[str, Tensor]) -> tuple[float, str]:
    """The largest difference, relative to the largest element of its tensor, and the tensor's name.

    A tensor whose elements are all but 0 is held against the largest of all: the gradient of a bias that what follows
    subtracts again is rounding, in torch too.
    """
    assert found.keys() == wanted.keys()
    largest = {name: float(tensor.abs().max()) for name, tensor in wanted.items() if tensor.numel()}
    least = 1e-6 * max(largest.values())
    distances = []
    for name, tensor in wanted.items():
        assert (found[name].shape, found[name].dtype) == (tensor.shape, tensor.dtype), name
        if name in largest:
            distance = (found[name] - tensor).abs().max() / max(largest[name], least)
            distances.append((float(distance), name))
    return max(distances)
