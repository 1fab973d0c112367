"""Small decoders with random weights, the same in every run."""

from __future__ import annotations

import torch
from transformers import LlamaConfig, LlamaForCausalLM


def llama(
    *, vocabulary: int, hidden: int, inner: int, heads: int = 4, kv_heads: int = 2, **options: object
) -> torch.nn.Module:
    """A Llama of two layers with a head; `options` are further ones of its config."""
    config = LlamaConfig(
        vocab_size=vocabulary,
        hidden_size=hidden,
        intermediate_size=inner,
        num_hidden_layers=2,
        num_attention_heads=heads,
        num_key_value_heads=kv_heads,
        max_position_embeddings=64,
        **options,
    )
    torch.manual_seed(0)
    return LlamaForCausalLM(config)
