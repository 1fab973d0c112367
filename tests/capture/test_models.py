"""Models of other families from transformers are captured as they are, mostly as einsums."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import transformers

from tests.capture.driver import check, kernels

IDS = torch.randint(0, 64, (2, 6), generator=torch.Generator().manual_seed(0))
SIZES = {
    "vocab_size": 64,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 1,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 64,
}


def decoder(family: str, **options: object) -> torch.nn.Module:
    """The causal language model of a family, with random weights."""
    config = getattr(transformers, f"{family}Config")(**SIZES, **options)
    return getattr(transformers, f"{family}ForCausalLM")(config).eval()


def gpt2() -> torch.nn.Module:
    config = transformers.GPT2Config(
        vocab_size=64, n_positions=64, n_embd=32, n_layer=1, n_head=4, bos_token_id=0, eos_token_id=0
    )
    return transformers.GPT2LMHeadModel(config).eval()


DECODERS: dict[str, Callable[[], torch.nn.Module]] = {
    "Mistral with a window": lambda: decoder("Mistral", sliding_window=4),
    "Qwen2": lambda: decoder("Qwen2"),
    "Gemma": lambda: decoder("Gemma", head_dim=8),
    "GPT-2": gpt2,
}


@pytest.mark.parametrize("name", DECODERS)
def test_a_decoder_is_made_of_einsums_and_attention(name: str) -> None:
    torch.manual_seed(0)
    found = check(DECODERS[name](), IDS, meshes=((2,),), random_seeds=(0,), tolerance=1e-4)
    assert kernels(found) == ["attention"]


def test_an_encoder_and_decoder_is_made_of_einsums_and_attention() -> None:
    torch.manual_seed(0)
    config = transformers.T5Config(vocab_size=64, d_model=32, d_kv=8, d_ff=48, num_layers=1, num_heads=4)
    model = transformers.T5ForConditionalGeneration(config).eval()
    kwargs = {"input_ids": IDS, "decoder_input_ids": IDS, "use_cache": False}
    found = check(model, kwargs=kwargs, meshes=((2,),), random_seeds=(0,), tolerance=1e-4)
    assert kernels(found) == ["attention"] * 3  # the encoder's, the decoder's, and the one across


def test_the_patches_of_a_picture_are_cut_and_the_class_token_before_them_is_put_on_whole() -> None:
    torch.manual_seed(0)
    config = transformers.ViTConfig(
        hidden_size=32, intermediate_size=48, num_hidden_layers=1, num_attention_heads=4, image_size=16, patch_size=4
    )
    model = transformers.ViTModel(config).eval()
    captured = check(model, torch.randn(2, 3, 16, 16), meshes=((2,),), random_seeds=(0,), tolerance=1e-4)
    assert sorted(kernels(captured)) == ["attention", "cat", "convolution"]
