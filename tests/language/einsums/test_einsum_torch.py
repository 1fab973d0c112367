"""einsum on torch tensors: numpy's numbers, torch's gradients, one operator while torch.export traces."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from einsplit.capture import capture
from einsplit.einsum import einsum
from einsplit.evaluate import evaluate
from einsplit.graph import Einsum, Input
from einsplit.scalar.trace import maximum
from einsplit.solver.program import limits
from tests.language.einsums.cases import Case, cases
from tests.language.einsums.loop import agrees


def called(case: Case) -> np.ndarray:
    tensors = [torch.from_numpy(np.array(array)) for array in case.arrays]
    return einsum(case.spec, *tensors, join=case.text, agg=case.agg, **case.given).numpy()


@settings(max_examples=500)
@given(st.sampled_from(["int", "float", "bool"]).flatmap(cases))
def test_tensors_give_what_arrays_give(case: Case) -> None:
    agrees(case, called(case))


@settings(max_examples=150)
@given(st.sampled_from(["int", "float"]).flatmap(lambda kind: cases(kind, products=True)))
def test_sums_of_products_of_tensors_are_those_of_arrays(case: Case) -> None:
    agrees(case, called(case))


@settings(max_examples=200)
@given(st.sampled_from(["int", "float", "bool"]).flatmap(cases), st.integers(1, 9))
def test_chunks_that_bound_the_memory_change_nothing(case: Case, most: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(limits, "MAX_JOINED", most)
        agrees(case, called(case))


@pytest.mark.parametrize("agg", ["sum", "prod", "max", "min", "logsumexp", "mean"])
@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32"])
def test_tensors_keep_their_dtype_and_are_the_identity_over_nothing(agg: str, dtype: str) -> None:
    kind = getattr(torch, dtype)
    x = torch.linspace(-1, 1, 6, dtype=kind).reshape(2, 3)
    assert einsum("i j -> i", x, agg=agg).dtype == kind
    nothing = einsum("i j -> i", x[:, :0], agg=agg)
    value = {"sum": 0.0, "prod": 1.0, "max": -np.inf, "min": np.inf, "logsumexp": -np.inf, "mean": np.nan}[agg]
    torch.testing.assert_close(nothing, torch.full((2,), value, dtype=kind), equal_nan=True)


# ------------------------------------------------------------------------------------------------ gradients


def gradients(function: Callable[..., Tensor], *operands: Tensor) -> list[Tensor]:
    leaves = [x.clone().requires_grad_() for x in operands]
    value = function(*leaves)
    weights = torch.linspace(-1, 2, value.numel(), dtype=value.dtype).reshape(value.shape)
    return list(torch.autograd.grad((value * weights).sum(), leaves))


def normal(*shape: int) -> Tensor:
    return torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(sum(shape)))


@pytest.mark.parametrize(
    "text",
    ["ij,jk->ik", "ij,jk", "ii->i", "ij->ji", "bij,bjk,bk->bi", "i,j->ij", "ij,ij->", "...ij,jk->...k", "iij->j"],
)
def test_gradients_of_sums_of_products_are_torchs(text: str) -> None:
    sizes = {"b": 2, "i": 3, "j": 3, "k": 4}
    terms = text.split("->")[0].split(",")
    operands = [normal(*((2,) * ("..." in t)), *(sizes[k] for k in t.replace("...", ""))) for t in terms]
    ours = gradients(lambda *xs: einsum(text, *xs), *operands)
    theirs = gradients(lambda *xs: torch.einsum(text, *xs), *operands)
    for mine, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(mine, other)


@pytest.mark.parametrize(
    "ours, theirs",
    [
        (lambda x, y: einsum("i j, j k -> i k", x, y, join="abs(x - y)", agg="max"),
         lambda x, y: (x[:, :, None] - y).abs().amax(1)),
        (lambda x, y: einsum("i j, j k -> k i", x, y, join="tanh(x * y)", agg="mean"),
         lambda x, y: (x[:, :, None] * y).tanh().mean(1).T),
        (lambda x, y: einsum("i j, j k -> i", x, y, join="x + y", agg="logsumexp"),
         lambda x, y: (x[:, :, None] + y).logsumexp((1, 2))),
        (lambda x, y: einsum("i j, j k -> j", x, y, join="where(x < y, x * index(k), y)", agg="prod"),
         lambda x, y: torch.where(x[:, :, None] < y, x[:, :, None] * torch.arange(4), y).prod(0).prod(1)),
        (lambda x, y: einsum("i j, j k -> i j r", x, y, r=2),
         lambda x, y: (x * y.sum(1))[..., None].expand(3, 3, 2)),
    ],
)  # fmt: skip
def test_gradients_of_any_join_and_aggregation_are_torchs(
    ours: Callable[..., Tensor], theirs: Callable[..., Tensor]
) -> None:
    operands = (normal(3, 3), normal(3, 4))
    torch.testing.assert_close(ours(*operands), theirs(*operands))
    for mine, other in zip(gradients(ours, *operands), gradients(theirs, *operands), strict=True):
        torch.testing.assert_close(mine, other)


@pytest.mark.parametrize("spec", ["i j -> i j", "i j -> j i", "i i -> i", "i j -> (i j)"])
def test_the_result_is_a_new_tensor(spec: str) -> None:
    x = torch.ones(2, 2)
    einsum(spec, x).fill_(7)
    assert x.sum() == 4


def test_a_parameter_is_an_operand_like_any_tensor() -> None:
    layer = torch.nn.Linear(3, 4, bias=False)
    einsum("b i, o i -> b o", torch.ones(2, 3), layer.weight).sum().backward()
    torch.testing.assert_close(layer.weight.grad, torch.full((4, 3), 2.0))


def test_the_default_device_does_not_matter() -> None:
    x = torch.tensor([1.0, 2.0])
    with torch.device("meta"):
        found = einsum("i -> i", x, join="x * index(i) + 1")
    assert found.tolist() == [1.0, 3.0]
    assert einsum("i -> i", x.to("meta"), join="x * index(i) + 1").device.type == "meta"


# -------------------------------------------------------------------------------------------------- capture


def distance(x: Tensor, y: Tensor) -> Tensor:
    return einsum("i j, j k -> i k", x, y, join=lambda a, b: maximum(a - b, b - a), agg="max")


def batched(x: Tensor, y: Tensor) -> Tensor:
    return einsum("... (i j), k -> k ... i r", x, y, join="x * y + index(j) - index(r)", agg="logsumexp", j=2, r=3)


@pytest.mark.parametrize(
    "function, operands",
    [(distance, (normal(2, 3), normal(3, 4))), (batched, (normal(2, 2, 6), normal(3)))],
)
def test_in_a_captured_function_it_stays_one_node(
    function: Callable[..., Tensor], operands: tuple[Tensor, ...]
) -> None:
    captured = capture(function, operands, {})
    inner = [node for node in captured.graph.nodes if not isinstance(node, Input)]
    assert len(inner) == 1 and isinstance(inner[0], Einsum)
    found = evaluate(captured.graph, dict(zip(("x", "y"), (x.numpy() for x in operands), strict=True)))
    np.testing.assert_allclose(found["output"], function(*operands).numpy(), rtol=1e-12)


def test_a_captured_module_reads_its_parameters_and_its_views_vanish() -> None:
    class Heads(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = torch.nn.Parameter(normal(6, 4))

        def forward(self, x: Tensor) -> Tensor:
            return einsum("b i, i (h d) -> b h d", x, self.weight, h=2).transpose(1, 2).relu()

    module, x = Heads(), normal(3, 6)
    captured = capture(module, (x,), {})
    tensors = {name: tensor.detach().numpy() for name, tensor in captured.tensors.items()}
    found = evaluate(captured.graph, {"x": x.numpy(), **tensors})
    np.testing.assert_allclose(found["output"], module(x).detach().numpy(), rtol=1e-12)
    assert [type(node) for node in captured.graph.nodes].count(Einsum) == 2  # the einsum, and relu


def test_an_exported_program_holds_the_operator_and_can_be_trained() -> None:
    class Model(torch.nn.Module):
        def forward(self, x: Tensor, y: Tensor) -> Tensor:
            return distance(x, y) * 2

    operands = (normal(2, 3), normal(3, 4))
    program = torch.export.export(Model(), operands)
    called = [str(node.target) for node in program.graph.nodes if node.op == "call_function"]
    assert called == ["einsplit.einsum.default", "aten.mul.Tensor"]
    for mine, other in zip(gradients(program.module(), *operands), gradients(Model(), *operands), strict=True):
        torch.testing.assert_close(mine, other)


def test_the_operator_keeps_torchs_rules_for_operators() -> None:
    operands = [normal(2, 3).requires_grad_(), normal(3, 4).requires_grad_()]
    torch.library.opcheck(
        torch.ops.einsplit.einsum.default, (operands, "i j, j k -> i k r", "abs(x - y)", "max", ["r"], [2])
    )
