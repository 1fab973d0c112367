"""A small Llama learns the text of Python's standard library, step by step as it does in plain torch."""

from __future__ import annotations

import sysconfig
from functools import cache
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

import einsplit
from tests.support import decoders

NUM_STEPS, BATCH, SEQ, RATE = 50, 8, 24, 3e-3


@cache
def batches() -> tuple[tuple[Tensor, Tensor], ...]:
    """Bytes of the library's modules, and the bytes that follow them."""
    library = Path(sysconfig.get_path("stdlib"))
    text = b"".join((library / f"{name}.py").read_bytes() for name in ("argparse", "ast", "contextlib", "inspect"))
    data = torch.frombuffer(bytearray(text), dtype=torch.uint8).long()
    places = torch.randint(len(data) - SEQ - 1, (NUM_STEPS, BATCH), generator=torch.Generator().manual_seed(0))
    rows = [torch.stack([data[at : at + SEQ + 1] for at in row.tolist()]) for row in places]
    return tuple((row[:, :-1].contiguous(), row[:, 1:].contiguous()) for row in rows)


def llama() -> nn.Module:
    return decoders.llama(vocabulary=256, hidden=32, inner=64, tie_word_embeddings=True)


def next_byte_loss(model: nn.Module, ids: Tensor, following: Tensor) -> Tensor:
    logits = model(input_ids=ids, use_cache=False).logits
    return cross_entropy(logits.flatten(0, 1), following.flatten())


@cache
def torch_losses() -> tuple[float, ...]:
    model = llama()
    optimizer = torch.optim.AdamW(model.parameters(), lr=RATE)
    losses = []
    for ids, following in batches():
        loss = next_byte_loss(model, ids, following)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return tuple(losses)


@pytest.mark.parametrize("devices", [1, 2, 4])
def test_a_llama_learns_as_in_torch(devices: int) -> None:
    model = llama()
    with einsplit.train_step(model, next_byte_loss, einsplit.optim.AdamW(lr=RATE), devices=devices) as step:
        losses = [step(*batch).item() for batch in batches()]
    assert losses == pytest.approx(torch_losses(), abs=1e-4)
    assert losses[-1] < losses[0] - 1.5
