"""`train_step`: loss, gradients and update as one Graph, planned once and run on all devices."""

from einsplit.training.door import train_step
from einsplit.training.step import TrainStep

__all__ = ["TrainStep", "train_step"]
