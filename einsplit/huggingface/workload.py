"""Workload: a model and how it is used, as one Graph: the forward pass, or a whole step of training."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from einsplit.graph import Graph
from einsplit.huggingface.config import Config, ConfigError
from einsplit.huggingface.inputs import Sizes, read_by, reads_ids
from einsplit.huggingface.model import Built, Say, build, quiet
from einsplit.optim import SGD, Adam, AdamW, Optimizer

if TYPE_CHECKING:
    from collections.abc import Callable

    import torch
    from transformers import PreTrainedConfig

# While a model is traced, its masks of positions are folded as matrices of seq x seq, several at once: some 5 GB here.
MAX_SEQ = 32_768
DTYPES = ("float32", "bfloat16", "float16")
OPTIMIZERS: Mapping[str, Optimizer] = {
    "adamw": AdamW(),
    "adam": Adam(),
    "sgd": SGD(),
    "momentum": SGD(momentum=0.9),
}


@dataclass(frozen=True, slots=True)
class Workload:
    """What is done with a model: on how much at once, and whether it is trained.

    >>> Workload(read_config("config.json"), batch=8, seq=4096, train=True).graph()
    """

    config: Config
    batch: int
    seq: int | None = None  # ids in a sequence; None for a model that reads none
    train: bool = False  # in training mode, with the model's own dropout; else as it is evaluated
    optimizer: str = "adamw"  # a key of OPTIMIZERS
    dtype: str | None = None  # of weights, gradients and moments; by itself the config's, or else float32

    def graph(self, say: Say = lambda text: None) -> Graph:
        """The Graph; `say` is told what is being done. Raises ConfigError, CaptureError and GradientError."""
        called = self.called(say)
        say(f"tracing {called.name}")
        from einsplit.capture import capture  # loads torch

        with quiet():
            captured = capture(called.function, (), called.inputs, training=self.train)
        if not self.train:
            return captured.graph
        from einsplit.training.graph import train_graph
        from einsplit.training.groups import trained

        say(f"differentiating {called.name}")
        names = {id(tensor): name for name, tensor in captured.tensors.items() if tensor.requires_grad}
        return train_graph(captured.graph, trained(OPTIMIZERS[self.optimizer], names).groups)

    def called(self, say: Say = lambda text: None) -> Called:
        """The function to be captured and its inputs, on the meta device. Raises ConfigError."""
        own = self.config.dtype if self.config.dtype in DTYPES else DTYPES[0]
        built = build(self.config, self.dtype or own, say)
        self._check(built)
        built.model.train(self.train)
        sizes = Sizes(self.batch, self.seq)
        inputs = read_by(built.model, self.train)(built.model, sizes)
        if self.train and built.head.labels is not None:
            inputs |= built.head.labels(built.model, sizes)
        return Called(built.name, _loss(built) if self.train else _first(built), inputs)

    def _check(self, built: Built) -> None:
        """Raises ConfigError where the model is not one to be used like this."""
        name, config = type(built.model).__name__, built.model.config
        if self.train and not built.head.has_loss:
            raise ConfigError(
                f"{name} has no loss to train by",
                'Name a model with a head in its config, as in "architectures": ["BertForMaskedLM"].',
            )
        if not reads_ids(built.model):
            if self.seq is not None:
                raise ConfigError(f"{name} reads {built.model.main_input_name}, not sequences", "Leave seq out.")
            return
        most = _most_positions(config)
        if self.seq is None:
            most_text = f" (at most {most:,})" if most is not None else ""
            raise ConfigError(f"{name} reads sequences: say how long they are{most_text}", "As in --seq 512.")
        if most is not None and self.seq > most:
            raise ConfigError(
                f"sequences of {self.seq:,}: {name} has positions for {most:,}",
                "Ask for shorter ones, or change max_position_embeddings in the config.",
            )
        if self.seq > MAX_SEQ:
            raise ConfigError(
                f"sequences of {self.seq:,}: models are traced with at most {MAX_SEQ:,}",
                "Ask for shorter ones: masks of all pairs of positions are held while a model is traced.",
            )


@dataclass(frozen=True, slots=True)
class Called:
    """A function of a model, and what it is called with by name."""

    name: str
    function: Callable[..., torch.Tensor]
    inputs: dict[str, torch.Tensor]


def _loss(built: Built) -> Callable[..., torch.Tensor]:
    """The model's own loss."""
    model, options, same = built.model, _options(built), built.head.same

    def loss(**inputs: torch.Tensor) -> torch.Tensor:
        labels = {"labels": inputs["input_ids"]} if same else {}
        found: torch.Tensor = model(**inputs, **labels, **options).loss
        return found

    return loss


def _first(built: Built) -> Callable[..., torch.Tensor]:
    """The model's logits, or where it has no head its first result, the last hidden state."""
    model, options = built.model, _options(built)

    def forward(**inputs: torch.Tensor) -> torch.Tensor:
        results = model(**inputs, **options)
        logits: torch.Tensor | None = getattr(results, "logits", None)
        found: torch.Tensor = results[0] if logits is None else logits
        return found

    return forward


def _options(built: Built) -> dict[str, object]:
    """Nothing is kept for a next word."""
    return {"use_cache": False} if "use_cache" in inspect.signature(built.model.forward).parameters else {}


def _most_positions(config: PreTrainedConfig) -> int | None:
    """How many positions sequences of ids have, where that is limited. Whisper's decoder has a name of its own."""
    names = ("max_target_positions", "max_position_embeddings")
    found = (getattr(config.get_text_config(), name, None) for name in names)
    return next((most for most in found if isinstance(most, int) and most > 0), None)
