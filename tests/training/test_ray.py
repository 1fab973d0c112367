"""Training on Ray workers: the numbers of threads, bit for bit."""

import torch
import torch.nn.functional as F
from torch import nn

import einsplit


def loss(model, x, y):
    return F.cross_entropy(model(x), y)


def steps(backend):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(24, 64), nn.BatchNorm1d(64), nn.ReLU(), nn.Dropout(0.2), nn.Linear(64, 7))
    x, y = torch.randn(4, 30, 24), torch.randint(7, (4, 30))
    optimizer = einsplit.optim.AdamW(lr=1e-2)
    with einsplit.train_step(model, loss, optimizer, devices=2, backend=backend, clip_norm=1.0) as step:
        losses = [step(*batch) for batch in zip(x, y, strict=True)]
        return torch.stack(losses), step.state_dict()


def test_workers_train_as_threads_do_bit_for_bit():
    (threads, held), (workers, found) = steps("local"), steps("ray")
    assert torch.equal(threads, workers)
    assert len(set(threads.tolist())) == 4
    for name, tensor in held.items():
        assert torch.equal(tensor, found[name]), name
