"""The model and its text: a Llama with seeded random weights, and bytes of this Python's own standard library."""

from __future__ import annotations

import sysconfig
from pathlib import Path

import torch
from torch import Tensor
from transformers import LlamaConfig, LlamaForCausalLM

from einsplit.errors import EinsplitError

VOCABULARY = 256  # a token is a byte


def llama(
    num_layers: int = 8, hidden: int = 512, mlp_hidden: int = 1376, heads: int = 8, kv_heads: int = 4
) -> LlamaForCausalLM:
    """A Llama-architecture decoder from `transformers`, on bytes; the same weights at every call."""
    config = LlamaConfig(
        vocab_size=VOCABULARY,
        hidden_size=hidden,
        intermediate_size=mlp_hidden,
        num_hidden_layers=num_layers,
        num_attention_heads=heads,
        num_key_value_heads=kv_heads,
        max_position_embeddings=4096,
        use_cache=False,  # logits are what is compared: neither side builds and returns a cache of keys and values
    )
    torch.manual_seed(0)
    model = LlamaForCausalLM(config).eval()
    assert isinstance(model, LlamaForCausalLM)
    return model


def library_folder() -> Path:
    """Where this Python keeps its standard library."""
    return Path(sysconfig.get_path("stdlib"))


def library_bytes() -> bytes:
    """The source text of the library's top-level modules, in order of their names."""
    return b"".join(path.read_bytes() for path in sorted(library_folder().glob("*.py")))


def token_ids(batch: int, seq: int) -> Tensor:
    """Shape [batch, seq], int64: sequences that start at evenly spaced places of the text.

    Raises EinsplitError if the text is too short for them.
    """
    text = library_bytes()
    if len(text) < batch * seq:
        raise EinsplitError(
            f"the *.py files in {library_folder()} have {len(text):,} bytes, and {batch} x {seq} tokens are "
            f"{batch * seq:,}: take a smaller batch or shorter sequences"
        )
    stride = len(text) // batch
    return torch.tensor([list(text[row * stride : row * stride + seq]) for row in range(batch)])
