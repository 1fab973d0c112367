"""A small model, and what tests of `parallelize` share."""

from __future__ import annotations

import threading

import torch
from torch import nn


class Net(nn.Module):
    """Two layers, dropout, and attributes of its own."""

    def __init__(self, width=8):
        super().__init__()
        self.config = {"width": width}
        self.first = nn.Linear(width, 16)
        self.drop = nn.Dropout(0.5)
        self.last = nn.Linear(16, 4)

    def forward(self, x, scale=1.0):
        return self.last(self.drop(torch.relu(self.first(x)))) * scale


def device_threads():
    return [thread for thread in threading.enumerate() if thread.name.startswith("einsplit-device-")]


def same(found, expected):
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-6)
