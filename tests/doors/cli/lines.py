"""A file as a user has one, and command lines as processes of their own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[3]

TARGETS = '''
"""What a user has in a file."""
from __future__ import annotations
from dataclasses import dataclass

import torch

from tests.doors.graphs import mlp_graph


@dataclass
class Settings:
    hidden: int = 16


SETTINGS = Settings()
NUMBER = 7
GRAPH = mlp_graph()


def mlp():
    torch.manual_seed(0)
    hidden = SETTINGS.hidden
    layers = [torch.nn.Linear(8, hidden), torch.nn.ReLU(), torch.nn.Linear(hidden, 4)]
    return torch.nn.Sequential(*layers), (torch.ones(6, 8),)


def keywords():
    return (lambda x, scale: {"scaled": x * scale}), {"x": torch.ones(4, 2), "scale": torch.tensor(3.0)}


def graph():
    return mlp_graph()


def branch():
    return (lambda x: x if x.sum() > 0 else -x), (torch.ones(4),)


def fails():
    raise ZeroDivisionError("of the user's own")


def leaves():
    raise SystemExit(0)


def takes(x):
    return mlp()


def nothing():
    return None


def number():
    return 5


def bare():
    return torch.nn.Linear(2, 2)


def three():
    return torch.nn.Linear(2, 2), (torch.ones(2, 2),), {}


def tensor():
    return torch.nn.Linear(2, 2), torch.ones(2, 2)


def uncalled():
    return torch.nn.Linear, (2, 2)
'''


def start(words, **options):
    """A command line as a process of its own, in a process group of its own."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
    environment |= {"PYTHONPATH": str(ROOT), "TERM": "xterm", "COLUMNS": "200"}
    command = [sys.executable, "-m", "einsplit", *map(str, words)]
    return subprocess.Popen(command, env=environment, start_new_session=True, **options)
