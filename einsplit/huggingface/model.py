"""Config -> the model itself, on torch's meta device, and the kind of its head."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from einsplit.errors import EinsplitError, did_you_mean
from einsplit.huggingface.config import Config, ConfigError
from einsplit.huggingface.heads import Head, head_of

if TYPE_CHECKING:
    from transformers import PreTrainedConfig, PreTrainedModel

# What would take minutes to make, or is no model.
MAX_PARTS = 100_000  # 2,000 layers have fewer
MAX_ELEMENTS = 10**14

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Built:
    """A model without weights."""

    model: PreTrainedModel
    head: Head

    @property
    def name(self) -> str:
        """`LlamaForCausalLM, 32 layers, 8.03 B parameters`."""
        num_layers = getattr(self.model.config.get_text_config(), "num_hidden_layers", None)
        layers = f", {num_layers} layers" if isinstance(num_layers, int) else ""
        elements = sum(parameter.numel() for parameter in self.model.parameters())
        return f"{type(self.model).__name__}{layers}, {_count_text(elements)} parameters"


def build(config: Config, dtype: str, say: Say) -> Built:
    """The model of a config, with weights of that dtype; nothing is allocated, loaded, or asked of a network.

    Raises ConfigError where `transformers` is not installed, does not know the model, or refuses what the config says.
    """
    say(f"loading transformers for {config.path}")
    try:
        import transformers
    except ImportError as error:
        raise ConfigError(
            f"a config is read by `transformers`, which cannot be imported: {error}", "pip install 'einsplit[models]'"
        ) from error
    import torch

    from einsplit.torch_dtypes import torch_dtype

    with _offline(), quiet():
        made = _made(config)
        if made.is_encoder_decoder and getattr(made, "decoder_start_token_id", None) is None:
            # The loss needs one to shift its labels by, and older configs of T5 name none. Its value changes no plan.
            made.decoder_start_token_id = 0
        head, kind = head_of(config, made)
        say(f"making {kind.__name__}")
        with _refused(config), torch.device("meta"), _counted(config):
            model = getattr(transformers, head.auto).from_config(made, dtype=torch_dtype(dtype))
    assert isinstance(model, transformers.PreTrainedModel)
    return Built(model, head)


def _made(config: Config) -> PreTrainedConfig:
    """The config as `transformers` has it, by its own registry. Raises ConfigError."""
    from transformers import CONFIG_MAPPING, AutoConfig

    if config.model_type not in CONFIG_MAPPING:
        own = "its code is its own (auto_map), and einsplit runs none that comes with a config" * config.has_own_code
        near = did_you_mean(config.model_type, CONFIG_MAPPING)
        mistake = f"{config.path}: the installed transformers know no model_type {config.model_type[:60]!r}"
        raise ConfigError(mistake, own, near or "A newer version of them may: pip install -U transformers")
    with _refused(config):
        return AutoConfig.for_model(config.model_type, architectures=list(config.architectures), **config.fields)


@contextmanager
def _refused(config: Config) -> Iterator[None]:
    """What `transformers` and torch raise for a config that they cannot make anything of, told as a ConfigError."""
    try:
        yield
    except EinsplitError:
        raise
    except Exception as error:  # of any kind: checks of the config's own class, of a layer, of torch
        lines = [line.strip() for line in str(error).splitlines() if line.strip()]
        told = ": ".join([type(error).__name__, *lines[:2]])[:300]
        raise ConfigError(f"{config.path}: transformers make no {config.model_type} of this config", told) from error


@contextmanager
def _counted(config: Config) -> Iterator[None]:
    """Raises ConfigError as soon as a model that is being made has too many parts, or numbers in its parameters."""
    from torch.nn.modules.module import (
        register_module_module_registration_hook,
        register_module_parameter_registration_hook,
    )

    parts = elements = 0

    def part_made(*_: object) -> None:
        nonlocal parts
        parts += 1
        if parts > MAX_PARTS:
            raise ConfigError(f"{config.path}: a model of more than {MAX_PARTS:,} parts", "Name fewer layers.")

    def parameter_made(module: object, name: str, parameter: object) -> None:
        nonlocal elements
        elements += getattr(parameter, "numel", int)()
        if elements > MAX_ELEMENTS:
            mistake = f"{config.path}: a model of more than {_count_text(MAX_ELEMENTS)} parameters"
            raise ConfigError(mistake, f"{type(module).__name__}.{name} is one too many: make its sizes smaller.")

    hooks = (
        register_module_module_registration_hook(part_made),
        register_module_parameter_registration_hook(parameter_made),
    )
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


@contextmanager
def _offline() -> Iterator[None]:
    """Nothing is looked up in the hub, whatever a config names."""
    from huggingface_hub import constants

    before = constants.HF_HUB_OFFLINE
    constants.HF_HUB_OFFLINE = True
    try:
        yield
    finally:
        constants.HF_HUB_OFFLINE = before


@contextmanager
def quiet() -> Iterator[None]:
    """No advice of `transformers` on how to load, generate and train: nobody will."""
    from logging import CRITICAL

    from transformers.utils import logging

    before = logging.get_verbosity()
    logging.set_verbosity(CRITICAL)
    try:
        yield
    finally:
        logging.set_verbosity(before)


def _count_text(number: int) -> str:
    """`8.03 B`, with a thousand thousand thousands to a B."""
    for unit, name in ((10**12, "T"), (10**9, "B"), (10**6, "M"), (10**3, "K")):
        if number >= unit:
            return f"{number / unit:.3g} {name}"
    return str(number)
