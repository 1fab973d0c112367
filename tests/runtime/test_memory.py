"""Memory to the byte: what an executor counts is what the Program is planned to hold, instruction by instruction."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from random import Random

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

import einsplit
from einsplit.dtypes import ITEMSIZE
from einsplit.runtime import collective
from einsplit.runtime.executor import Executor
from einsplit.runtime.kernels.families import DECLARED, KERNELS
from einsplit.runtime.local import LocalSession
from einsplit.runtime.memory import Ledger
from einsplit.solver.prepare import prepare
from einsplit.solver.program import Compute, Free, Program, limits
from einsplit.solver.program.memory import held_bytes, peak_bytes, workspace_bytes
from tests.support import decoders
from tests.support.cuttings import MESHES, random_cutting, random_machine
from tests.support.graphs import Case, random_case


@cache
def programs() -> tuple[tuple[Case, Program], ...]:
    """Random graphs, whose states move on, under random shardings."""
    random = Random(11)
    found = []
    for number in range(40):
        case = random_case(random, exact=False, num_nodes=5)
        machine = random_machine(random, MESHES[number % len(MESHES)])
        found.append((case, random_cutting(random, prepare(case.graph), machine).program))
    return tuple(found)


@pytest.fixture
def profiles(monkeypatch: pytest.MonkeyPatch) -> dict[int, list[int]]:
    """By device: what its ledger held at most while each instruction ran, of the last step."""
    found: dict[int, list[int]] = {}
    plain = Executor._run

    def watched(self: Executor, at: int, *rest: object) -> None:
        ledger, before = self._ledger, self._ledger.peak_bytes
        ledger.peak_bytes = ledger.held_bytes
        plain(self, at, *rest)
        found[self._device] = [*(found[self._device] if at else []), ledger.peak_bytes]
        ledger.peak_bytes = max(before, ledger.peak_bytes)

    monkeypatch.setattr(Executor, "_run", watched)
    return found


def run(program: Program, case: Case, num_steps: int = 2) -> tuple[int, ...]:
    """What each device held at most in the last step."""
    tensors = {name: torch.from_numpy(np.array(array)) for name, array in case.feeds.items()}
    with LocalSession(program, timeout_seconds=60) as session:
        for name in program.parameters:
            session.put(name, tensors[name])
        for _ in range(num_steps):
            session.step({name: tensors[name] for name in program.feeds})
        return session.peak_bytes


# ------------------------------------------------------------------------------------------------ plan and counter


def test_every_instruction_of_random_programs_holds_what_is_planned_on_every_device(profiles):
    for case, program in programs():
        assert run(program, case) == (peak_bytes(program),) * program.num_devices
        for profile in profiles.values():
            assert profile == list(held_bytes(program)[:-1])
        profiles.clear()


@pytest.mark.parametrize("most", [7, 17])
def test_chunks_hold_what_is_planned_and_bound_the_memory(monkeypatch, most):
    monkeypatch.setattr(limits, "MAX_JOINED", most)
    for case, program in programs()[:8]:
        assert run(program, case, num_steps=1) == (peak_bytes(program),) * program.num_devices


def test_a_join_of_a_hundred_times_the_limit_takes_its_result_and_chunks_of_the_limit(monkeypatch):
    monkeypatch.setattr(limits, "MAX_JOINED", 100)
    case = joined_case()
    program = random_cutting(Random(0), prepare(case.graph), random_machine(Random(0), (2,))).program
    assert run(program, case) == (peak_bytes(program),) * 2
    join = next(step for step in program.instructions if isinstance(step, Compute) and step.kind == "join")
    # x - y, its magnitude, and the part of the result: three of a chunk; a few constants and indices beside them.
    assert workspace_bytes(join, program) <= 3 * 100 * 8


def joined_case() -> Case:
    builder = einsplit.builder.Builder()
    x, y = builder.input("x", (20, 25), "float64"), builder.input("y", (25, 20), "float64")
    z = einsplit.einsum("i k, k j -> i j", x, y, join="abs(x - y)", agg="max")
    return Case(builder.build({"z": z}), {"x": np.ones((20, 25)), "y": np.zeros((25, 20))})


def test_buffers_stand_from_where_they_are_made_to_where_they_are_freed():
    for _, program in programs():
        plan = held_bytes(program)
        standing = {port.buffer for port in program.inputs}
        for at, step in enumerate(program.instructions):
            if isinstance(step, Free):
                assert plan[at] == nbytes(program, standing)
                standing.remove(step.buffer)
                continue
            standing |= set(step.outputs) if isinstance(step, Compute) else {step.output}
            assert plan[at] - workspace_bytes(step, program) == nbytes(program, standing)
        kept = {port.buffer for port in program.outputs} | {buffer for _, buffer in program.updates}
        updated = {name for name, _ in program.updates}
        kept |= {p.buffer for p in program.inputs if p.name in program.parameters and p.name not in updated}
        assert standing == kept
        assert plan[-1] >= nbytes(program, standing)
        assert all(workspace_bytes(step, program) >= 0 for step in program.instructions)


def nbytes(program: Program, buffers: set[int]) -> int:
    total = 0
    for number in buffers:
        elements = 1
        for extent in program.buffers[number].extents:
            elements *= extent.local
        total += elements * ITEMSIZE[program.buffers[number].dtype]
    return total


def next_loss(model: nn.Module, ids: Tensor, following: Tensor) -> Tensor:
    logits = model(input_ids=ids, use_cache=False).logits
    return F.cross_entropy(logits.flatten(0, 1), following.flatten())


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_a_llamas_training_step_holds_what_is_planned(dtype, profiles):
    model = decoders.llama(vocabulary=32, hidden=16, inner=24, tie_word_embeddings=True).to(dtype)
    ids = torch.arange(48).reshape(4, 12) % 32
    with einsplit.train_step(model, next_loss, einsplit.optim.AdamW(lr=1e-3), devices=4) as step:
        for _ in range(2):
            step(ids, ids)
            session = step.session(ids, ids)
            assert session.peak_bytes == (peak_bytes(session.program),) * 4
    for profile in profiles.values():
        assert profile == list(held_bytes(session.program)[:-1])


def test_workers_count_as_threads_do():
    model = nn.Sequential(nn.Linear(8, 12), nn.ReLU(), nn.Linear(12, 3))
    x, y = torch.randn(6, 8), torch.randint(3, (6,))
    with einsplit.train_step(
        model, lambda model, x, y: F.cross_entropy(model(x), y), einsplit.optim.AdamW(), devices=2, backend="ray"
    ) as step:
        step(x, y)
        session = step.session(x, y)
        assert session.peak_bytes == (peak_bytes(session.program),) * 2


# ------------------------------------------------------------------------------------------------ mistakes that show


def differing() -> int:
    """How many of some programs hold another peak than is planned."""
    return sum(run(program, case) != (peak_bytes(program),) * program.num_devices for case, program in programs()[:16])


def test_a_buffer_that_is_not_freed_shows(monkeypatch):
    plain = Executor._run

    def forgetful(self: Executor, at: int, instruction: object, buffers: dict[int, Tensor]) -> None:
        if not isinstance(instruction, Free):
            plain(self, at, instruction, buffers)

    monkeypatch.setattr(Executor, "_run", forgetful)
    assert differing() > 8


def test_received_pieces_that_are_not_counted_show(monkeypatch):
    def gathered(self: collective.Exchange, block: Tensor) -> list[Tensor]:
        return self._transport.all_gather(block, self._group)

    def exchanged(self: collective.Exchange, packed: Tensor) -> list[Tensor]:
        return self._transport.all_to_all(list(packed.reshape(len(self._group), -1).unbind()), self._group)

    monkeypatch.setattr(collective.Exchange, "_gathered", gathered)
    monkeypatch.setattr(collective.Exchange, "_exchanged", exchanged)
    assert differing() > 0


def test_storages_that_are_counted_twice_show(monkeypatch):
    plain = Ledger.hold

    def twice(self: Ledger, tensor: Tensor) -> Tensor:
        self._add(tensor.untyped_storage().nbytes())
        return plain(self, tensor)

    monkeypatch.setattr(Ledger, "hold", twice)
    assert differing() > 8


# ------------------------------------------------------------------------------------------------ the ledger


def test_a_storage_counts_once_with_all_of_its_bytes_until_the_last_view_goes():
    ledger = Ledger()
    whole = ledger.hold(torch.zeros(10))
    view = ledger.hold(whole[2:3])
    assert ledger.held_bytes == 40
    del whole
    assert ledger.held_bytes == 40
    del view
    assert (ledger.held_bytes, ledger.peak_bytes) == (0, 40)


def test_a_ledger_that_starts_anew_has_forgotten_what_stood():
    ledger = Ledger()
    old = ledger.hold(torch.zeros(10))
    new = torch.zeros(3)
    ledger.start([new])
    del old
    assert (ledger.held_bytes, ledger.peak_bytes) == (12, 12)
    with ledger.declared(100):
        assert ledger.held_bytes == 112
    assert (ledger.held_bytes, ledger.peak_bytes) == (12, 112)


def test_what_is_owned_is_alone_in_a_storage_no_larger_than_itself():
    ledger, operand = Ledger(), torch.arange(6.0).reshape(2, 3)
    fresh = operand + 1
    assert ledger.owned(fresh, [operand]) is fresh
    for tensor in (operand, operand[:1], operand.T, fresh[:1], torch.ones(()).expand(3)):
        own = ledger.owned(tensor, [operand])
        assert torch.equal(own, tensor) and own.is_contiguous()
        assert own.untyped_storage().nbytes() == own.nbytes
        assert own.untyped_storage().data_ptr() != tensor.untyped_storage().data_ptr()


# ------------------------------------------------------------------------------------------------ what kernels declare


class Watching(TorchFunctionMode):
    """Holds the results of every torch function that is called, whoever calls it."""

    def __init__(self) -> None:
        super().__init__()
        self.ledger = Ledger()

    def __torch_function__(self, function: Callable[..., object], types: object, args=(), kwargs=None) -> object:
        found = function(*args, **(kwargs or {}))
        for tensor in found if isinstance(found, (tuple, list)) else [found]:
            if isinstance(tensor, Tensor):
                self.ledger.hold(tensor)
        return found


def attended(dtype: torch.dtype, heads: int = 4, score: str = "where(x1, x0 * 0.5, -inf)") -> list[Tensor]:
    shapes = [(2, 4, 50, 8), (2, heads, 60, 8), (2, heads, 60, 8)]
    generator = torch.Generator().manual_seed(0)
    operands = [torch.randn(shape, generator=generator).to(dtype) for shape in shapes]
    return [*operands, torch.rand((2, 1, 50, 60), generator=generator) < 0.6]


MASKED = {"score": "where(x1, x0 * 0.5, -inf)", "slopes": {"0": "where(x1, 0.5, 0.0)"}}
BENT = {"score": "where(x1, tanh(x0), -inf)", "slopes": {"0": "where(x1, 1.0 - tanh(x0) * tanh(x0), 0.0)"}}


@pytest.mark.parametrize("most", [1 << 22, 3000, 1])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64], ids=str)
@pytest.mark.parametrize("heads", [4, 2])
@pytest.mark.parametrize("attributes", [MASKED, BENT], ids=["fused", "in stretches"])
def test_attention_declares_at_least_what_its_calls_of_torch_make(monkeypatch, attributes, heads, dtype, most):
    monkeypatch.setattr(limits, "MAX_SCORES", most)
    operands = attended(dtype, heads)
    o, z = (
        torch.zeros(2, 4, 50, 8, dtype=dtype),
        torch.zeros(2, 4, 50, dtype=torch.promote_types(dtype, torch.float32)),
    )
    covers("attention", attributes, operands, {0: o.shape, 1: z.shape})
    covers("attention_values", attributes, [*operands, z], {0: o.shape})
    of_all = {number: operands[number].shape for number in range(3)}
    covers("attention_gradient", attributes, [*operands, z, o, o], of_all)


def covers(
    kernel: str, attributes: dict[str, object], operands: Sequence[Tensor], wanted: dict[int, torch.Size]
) -> None:
    shapes = {number: tuple(shape) for number, shape in wanted.items()}
    with Watching() as watching:
        watching.ledger.start(operands)
        before = watching.ledger.held_bytes
        found = KERNELS[kernel](attributes, operands, shapes)
    made = sum(found[number].nbytes for number in wanted)
    declared = DECLARED[kernel](attributes, operands, shapes)
    assert watching.ledger.peak_bytes - before <= made + declared


@pytest.mark.parametrize("name", ["top_k", "sort"])
def test_ordering_declares_at_least_what_it_makes(name):
    wanted = {0: torch.Size((5, 30)), 1: torch.Size((5, 30))} if name == "sort" else {1: torch.Size((5, 2))}
    attributes = {"dim": 1, "largest": True, "descending": True}
    covers(name, attributes, [torch.randn(5, 30)], wanted)


@pytest.mark.parametrize("padding, stride, size", [(0, 1, 9), (2, 1, 9), (1, 2, 10), (0, 3, 11), (3, 2, 5)])
def test_convolutions_declare_at_least_what_they_make(padding, stride, size):
    placed = {"stride": [stride] * 2, "padding": [padding] * 2, "dilation": [1, 1]}
    x, w = torch.randn(2, 3, size, size), torch.randn(4, 3, 3, 3)
    z = F.conv2d(x, w, stride=stride, padding=padding)
    covers("convolution", placed, [x, w], {0: z.shape})
    covers("convolution_input", placed, [z, w], {0: x.shape})
    covers("convolution_weight", placed, [x, z], {0: w.shape})
