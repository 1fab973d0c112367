"""Torch's own layers that look at values, or take faster ways of their own, are captured as what they compute."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from einsplit.capture import capture
from einsplit.runtime.local import LocalSession
from tests.capture.driver import check, kernels, programs, run, same
from tests.capture.gradients import check_gradients
from tests.capture.tensors import real

PADDED = torch.tensor([[False] * 5, [False] * 3 + [True] * 2, [False] * 4 + [True]])
CAUSAL = nn.Transformer.generate_square_subsequent_mask(5)


def encoder(batch_first: bool = True) -> nn.TransformerEncoder:
    torch.manual_seed(0)
    layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=batch_first)
    return nn.TransformerEncoder(layer, 2, enable_nested_tensor=batch_first).eval()


@pytest.mark.filterwarnings("ignore:The PyTorch API of nested tensors")
@pytest.mark.parametrize("frozen", [False, True], ids=["with gradients", "frozen"])
def test_an_encoder_with_padding_is_torchs_without_nested_tensors(frozen: bool) -> None:
    """Torch's fused way gives zeros where there is padding, or cuts it off: what nobody reads."""
    model, x = encoder().requires_grad_(not frozen), real(3, 5, 8)
    captured = capture(lambda x, padded: model(x, src_key_padding_mask=padded), (x, PADDED), {})
    assert kernels(captured) == ["attention"] * 2
    with torch.no_grad():
        expected = model(x, src_key_padding_mask=PADDED)
        fused = torch.backends.mha.get_fastpath_enabled()
        torch.backends.mha.set_fastpath_enabled(False)
        unfused = model(x, src_key_padding_mask=PADDED)
        torch.backends.mha.set_fastpath_enabled(fused)
    for program in programs(captured, [(2, 2)], [0]):
        found = run(captured, program, (x, PADDED))
        assert isinstance(found, Tensor)
        same(found, unfused)
        same(found[~PADDED], expected[~PADDED])


Called = Callable[[Tensor, Tensor], Tensor]
DECODER = nn.TransformerDecoder(nn.TransformerDecoderLayer(8, 2, 16, batch_first=True), 1).eval()
BOTH = nn.Transformer(8, 2, 1, 1, 16, batch_first=True).eval()
ENCODER, SERIES = encoder(), encoder(batch_first=False)
LAYER = ["attention"]
ACROSS = ["slice", "slice", "attention"]  # its one weight is sliced: queries come from elsewhere than keys and values
MASKED: dict[str, tuple[Called, list[str]]] = {  # and the kernels, of encoders of two layers
    "encoder": (lambda x, mask: ENCODER(x, mask), LAYER * 2),
    "encoder that is told": (lambda x, mask: ENCODER(x, mask, is_causal=True), LAYER * 2),
    "encoder told by position": (lambda x, mask: ENCODER(x, mask, None, True), LAYER * 2),
    "encoder told nothing by position": (lambda x, mask: ENCODER(x, mask, None, None), LAYER * 2),
    "batch second": (lambda x, mask: SERIES(x.transpose(0, 1), mask), LAYER * 2),
    "decoder": (lambda x, mask: DECODER(x, x, mask), LAYER + ACROSS),
    "both, of one layer": (lambda x, mask: BOTH(x, x, src_mask=mask, tgt_mask=mask), LAYER * 2 + ACROSS),
}


@pytest.mark.parametrize(
    "mask", [CAUSAL, CAUSAL.T.contiguous(), PADDED[1].expand(5, 5)], ids=["causal", "other", "bool"]
)
@pytest.mark.parametrize("name", MASKED)
def test_a_transformer_takes_any_mask_without_looking_whether_it_is_causal(name: str, mask: Tensor) -> None:
    function, wanted = MASKED[name]
    x = real(3, 5, 8)
    if "told" in name.split()[-1] and mask is not CAUSAL:
        return
    with torch.enable_grad():
        expected = function(x, mask).detach()
    captured = capture(function, (x, mask), {})
    assert kernels(captured) == wanted
    for program in programs(captured, [(2,)], []):
        same(run(captured, program, (x, mask)), expected)


def test_what_layers_are_told_is_told_while_they_are_traced_only() -> None:
    handed = []
    model, x = encoder(), real(3, 5, 8)
    capture(lambda x: model(x, mask=CAUSAL), (x,), {})
    with model.register_forward_pre_hook(lambda _, args, kwargs: handed.append(kwargs), with_kwargs=True):
        model(x, mask=CAUSAL)
    assert [set(kwargs) for kwargs in handed] == [{"mask"}]


@pytest.mark.parametrize("dim", [0, 1, None])
def test_a_weight_of_unit_norm_is_made_of_einsums(dim: int | None) -> None:
    torch.manual_seed(0)
    layer = nn.utils.parametrizations.weight_norm(nn.Linear(6, 4), dim=dim)
    assert kernels(check(layer, real(2, 6))) == []


@pytest.mark.filterwarnings("ignore:.*weight_norm", "ignore:the attribute .weight. is set")
def test_a_weight_of_unit_norm_of_the_older_kind_is_made_of_einsums() -> None:
    assert kernels(check(nn.utils.weight_norm(nn.Conv1d(6, 4, 3)), real(2, 6, 9))) == ["convolution"]


@pytest.mark.parametrize("dim, size", [(0, (4, 1)), (1, (1, 6)), (-1, ())], ids=str)
def test_the_gradients_of_a_weight_of_unit_norm_are_torchs(dim: int, size: tuple[int, ...]) -> None:
    direction, sizes = real(4, 6, dtype=torch.float64), real(*size, dtype=torch.float64)
    check_gradients(lambda v, g: torch._weight_norm(v, g, dim), direction, sizes)


RECURRENT: dict[str, Callable[..., nn.Module]] = {"LSTM": nn.LSTM, "GRU": nn.GRU, "RNN": nn.RNN}


@pytest.mark.parametrize("options", [{}, {"bidirectional": True}, {"batch_first": True}, {"bias": False}], ids=str)
@pytest.mark.parametrize("kind", RECURRENT)
def test_a_recurrent_network_drops_between_its_layers(kind: str, options: dict[str, bool]) -> None:
    """All is dropped: then no number that is drawn matters."""
    torch.manual_seed(0)
    module = RECURRENT[kind](6, 4, 3, dropout=1.0, **options).train()
    assert set(kernels(check(module, real(3, 2, 6), meshes=((2,),), random_seeds=(0,)))) == {"aten"}


def test_a_recurrent_network_that_drops_half_draws_for_each_number() -> None:
    """The second layer passes on the sum of what it is given: of ones, of which about half are dropped."""
    module = nn.RNN(1, 50, 2, dropout=0.5, nonlinearity="relu", bias=False)
    with torch.no_grad():
        for name, weight in module.named_parameters():
            weight.fill_(0.0 if "hh" in name else 1.0)
    captured, x = capture(lambda x: module(x)[0], (torch.ones(20, 30, 1),), {}), torch.ones(20, 30, 1)
    assert captured.draws
    for program in programs(captured, [(2,)], []):
        with LocalSession(program, timeout_seconds=60) as session:
            for name in program.parameters:
                session.put(name, captured.tensors[name])
            (found,) = session.step(captured.feed([x])).values()
        kept = found[..., 0] / 2  # of 50
        assert abs(kept.mean() - 25) < 1 and 2 < kept.std() < 5


def test_the_gradient_of_a_recurrent_network_that_drops_is_torchs() -> None:
    torch.manual_seed(0)
    module = nn.LSTM(6, 4, 2, dropout=1.0, bidirectional=True, dtype=torch.float64).train()
    series, hidden, cells = (real(n, 2, k, dtype=torch.float64) for n, k in ((3, 6), (4, 4), (4, 4)))
    check_gradients(lambda x, h, c: module(x, (h, c))[0], series, hidden, cells)
