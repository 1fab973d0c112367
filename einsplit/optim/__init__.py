"""Optimizers: their settings, and their update as nodes of the Graph that computes loss and gradients."""

from einsplit.optim.settings import SGD, Adam, AdamW, Optimizer
from einsplit.optim.update import Group, with_updates

__all__ = ["SGD", "Adam", "AdamW", "Group", "Optimizer", "with_updates"]
