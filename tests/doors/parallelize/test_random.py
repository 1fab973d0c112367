"""Random numbers inside a parallelized function: drawn anew at each call, and again after the same manual seed."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from einsplit.parallelized import parallelize

pytestmark = pytest.mark.usefixtures("no_device_threads")


def test_dropout_draws_at_every_call_and_repeats_after_a_manual_seed(counted):
    drop, ones = nn.Dropout(0.5), torch.ones(64, 64)
    with parallelize(drop, devices=2) as fast:
        torch.manual_seed(3)
        first, second = fast(ones), fast(ones)
        torch.manual_seed(3)
        again = fast(ones)
        drop.eval()
        assert torch.equal(fast(ones), ones)
    assert torch.equal(first, again) and not torch.equal(first, second)
    assert set(first.unique().tolist()) == {0.0, 2.0} and 0.45 < (first == 0).float().mean() < 0.55
    assert counted["traces"] == 2


def test_numbers_of_devices_do_not_change_what_is_drawn():
    ones, drawn = torch.ones(16, 12), []
    for devices in (1, 2, 3):
        with parallelize(lambda x: F.dropout(x, 0.3), devices=devices) as fast:
            torch.manual_seed(5)
            drawn.append(fast(ones))
    assert torch.equal(drawn[0], drawn[1]) and torch.equal(drawn[0], drawn[2])
