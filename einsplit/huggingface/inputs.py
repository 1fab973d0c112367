"""Example inputs of a model, by what it reads: tensors on the meta device, which have a shape and no values."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from einsplit.huggingface.config import ConfigError

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedConfig, PreTrainedModel

IMAGE_SIZE = 224  # of a model whose config says none, for it reads images of any size


@dataclass(frozen=True, slots=True)
class Sizes:
    """How much a model reads at once."""

    batch: int
    seq: int | None = None  # ids in a sequence


Tensors = dict[str, "torch.Tensor"]
Make = Callable[["PreTrainedModel", Sizes], Tensors]


def ids(*names: str) -> Make:
    """Ids of words, [batch, seq], under each of the names."""

    def made(model: PreTrainedModel, sizes: Sizes) -> Tensors:
        assert sizes.seq is not None
        return {name: _whole(sizes.batch, sizes.seq) for name in names}

    return made


def images(model: PreTrainedModel, sizes: Sizes) -> Tensors:
    """Pixels, [batch, channels, height, width]."""
    channels = _number(model.config, "num_channels", 3)
    height, width = _image_size(model.config)
    return {"pixel_values": _real(model, sizes.batch, channels, height, width)}


def sounds(model: PreTrainedModel, sizes: Sizes) -> Tensors:
    """Spectra, [batch, bins, frames]: the encoder, as Whisper's, makes one position of two frames."""
    bins, positions = _number(model.config, "num_mel_bins", None), _number(model.config, "max_source_positions", None)
    return {"input_features": _real(model, sizes.batch, bins, 2 * positions)}


def classes(model: PreTrainedModel, sizes: Sizes) -> Tensors:
    """The labels of whole inputs: a class each, or as problem_type says."""
    num_labels, problem = _number(model.config, "num_labels", None), model.config.problem_type
    if problem == "multi_label_classification":
        return {"labels": _real(model, sizes.batch, num_labels)}
    if problem == "regression" or (problem is None and num_labels == 1):
        return {"labels": _real(model, sizes.batch, *([num_labels] if num_labels > 1 else []))}
    return {"labels": _whole(sizes.batch)}


def spans(model: PreTrainedModel, sizes: Sizes) -> Tensors:
    """Where an answer starts and ends, [batch]."""
    return {name: _whole(sizes.batch) for name in ("start_positions", "end_positions")}


def read_by(model: PreTrainedModel, has_loss: bool) -> Make:
    """What the model reads besides labels. Raises ConfigError, by name, for what nothing is known of.

    A model of two halves that makes its loss itself makes the ids of its decoder, too, from the labels.
    """
    makes = _READ.get(model.main_input_name)
    if makes is None:
        raise ConfigError(
            f"{type(model).__name__} reads {model.main_input_name}, of which no example is known here",
            "Give it one in Python: einsplit plan FILE.py:NAME.",
        )
    return makes(model, has_loss)


def reads_ids(model: PreTrainedModel) -> bool:
    """Whether the length of sequences is the user's to say."""
    return model.main_input_name == "input_ids" or bool(model.config.is_encoder_decoder)


def _words(model: PreTrainedModel, has_loss: bool) -> Make:
    return ids("input_ids", *_decoded(model, has_loss))


def _sounds(model: PreTrainedModel, has_loss: bool) -> Make:
    decoded = ids(*_decoded(model, has_loss))
    return lambda model, sizes: sounds(model, sizes) | decoded(model, sizes)


def _decoded(model: PreTrainedModel, has_loss: bool) -> tuple[str, ...]:
    return ("decoder_input_ids",) if model.config.is_encoder_decoder and not has_loss else ()


_READ: dict[str, Callable[[PreTrainedModel, bool], Make]] = {
    "input_ids": _words,
    "pixel_values": lambda model, has_loss: images,
    "input_features": _sounds,
}


def _image_size(config: PreTrainedConfig) -> tuple[int, int]:
    """Height and width: one number, or two."""
    size = getattr(config, "image_size", None)
    height, width = size if isinstance(size, (list, tuple)) and len(size) == 2 else (size, size)
    if size is None:
        return IMAGE_SIZE, IMAGE_SIZE
    if not isinstance(height, int) or not isinstance(width, int) or min(height, width) < 1:
        raise ConfigError(f"image_size is {size!r}, not a number of pixels, or two")
    return height, width


def _number(config: PreTrainedConfig, name: str, default: int | None) -> int:
    found = getattr(config, name, default)
    if not isinstance(found, int) or found < 1:
        raise ConfigError(f"{name} is {found!r}, not a positive whole number")
    return found


def _whole(*shape: int) -> torch.Tensor:
    import torch

    return torch.zeros(shape, dtype=torch.int64, device="meta")


def _real(model: PreTrainedModel, *shape: int) -> torch.Tensor:
    import torch

    return torch.zeros(shape, dtype=model.dtype, device="meta")
