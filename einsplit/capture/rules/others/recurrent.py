"""Recurrent networks that drop between their layers: one kernel a layer, and our own random numbers between them.

Torch's operator runs all layers as one, and draws what it drops by itself. Without dropping it stays one kernel.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch

from einsplit.builder.views import Value
from einsplit.capture.reader import Known, Reader, rule
from einsplit.capture.rules.elementwise.random import dropped
from einsplit.capture.rules.others.unknown import kernel_of
from einsplit.capture.rules.views.parts import cat, equal_part

OPERATORS = {
    "aten.lstm.input": torch.ops.aten.lstm.input,
    "aten.gru.input": torch.ops.aten.gru.input,
    "aten.rnn_tanh.input": torch.ops.aten.rnn_tanh.input,
    "aten.rnn_relu.input": torch.ops.aten.rnn_relu.input,
}


@rule(*OPERATORS)
def recurrent(
    reader: Reader,
    x: Known,
    states: Known | Sequence[Known],  # [layers * directions, batch, hidden]; an LSTM has two
    weights: Sequence[Known],  # those of a layer stand together
    has_biases: bool,
    num_layers: int,
    share: float,
    train: bool,
    bidirectional: bool,
    *batch_first: bool,
) -> object:
    """What each layer returns for what the one before it returned, of which a share is dropped."""
    if not train or share == 0 or num_layers == 1:
        return NotImplemented
    several = isinstance(states, (list, tuple))
    starts = [reader.value(state) for state in (states if isinstance(states, (list, tuple)) else (states,))]
    per_layer, directions = len(weights) // num_layers, 2 if bidirectional else 1
    metas = [reader.metas[0], *(meta[:directions] for meta in reader.metas[1:])]  # every layer returns as many features
    ends: list[list[Value]] = []
    for k in range(num_layers):
        begin = [equal_part(reader, state, 0, k * directions, directions) for state in starts]
        own = list(weights[k * per_layer : (k + 1) * per_layer])
        given = (x, begin if several else begin[0], own, has_biases, 1, 0.0, train, bidirectional, *batch_first)
        result, *last = kernel_of(reader, OPERATORS[reader.target], given, {}, metas, f"layer_{k}")
        ends.append(last)
        x = dropped(reader, result, share) if k < num_layers - 1 else result
    return [x, *(cat(reader, column) for column in zip(*ends, strict=True))]
