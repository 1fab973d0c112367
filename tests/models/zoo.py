"""Models as their users build them: unmodified, with random weights, by name; in sizes for tests and in real ones."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
import transformers
from torch import Tensor
from transformers.models.whisper.modeling_whisper import WhisperEncoder

from tests.models.plain import PLAIN, Example

SIZES = {
    "vocab_size": 64,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 1,
    "num_attention_heads": 4,
    "max_position_embeddings": 40,
}
IMAGES = {"image_size": 16, "patch_size": 4}


def ids(*shape: int, vocabulary: int = 64) -> Tensor:
    return torch.randint(3, vocabulary, shape)


def config(family: str, options: dict[str, object]) -> transformers.PretrainedConfig:
    found = getattr(transformers, f"{family}Config")(**options)
    assert isinstance(found, transformers.PretrainedConfig)
    return found


@dataclass(frozen=True, slots=True)
class Words:
    """A model of `transformers` that reads token ids; `tiny` and `real` are options of its config."""

    family: str
    head: str
    tiny: dict[str, object]
    real: dict[str, object]
    call: Callable[[int, int, int], dict[str, object]]  # batch, sequence, vocabulary -> keyword arguments

    def build(self, real: bool) -> Example:
        options = self.real if real else self.tiny
        made = config(self.family, options)
        model = getattr(transformers, self.family + self.head)(made).eval()
        batch, seq = (4, 256) if real else (2, 8)
        return Example(model, (), self.call(batch, seq, made.vocab_size))


def plain_ids(batch: int, seq: int, vocabulary: int) -> dict[str, object]:
    return {"input_ids": ids(batch, seq, vocabulary=vocabulary)}


def padded_ids(batch: int, seq: int, vocabulary: int) -> dict[str, object]:
    """The last row has padding behind it."""
    mask = (torch.arange(seq) < torch.full((batch,), seq).sub(3 * torch.arange(batch))[:, None]).long()
    return {"input_ids": ids(batch, seq, vocabulary=vocabulary), "attention_mask": mask}


def two_ids(batch: int, seq: int, vocabulary: int) -> dict[str, object]:
    """For an encoder and a decoder."""
    decoded = ids(batch, seq - 2, vocabulary=vocabulary)
    return {"input_ids": ids(batch, seq, vocabulary=vocabulary), "decoder_input_ids": decoded}


GPT2 = {"vocab_size": 64, "n_embd": 32, "n_layer": 1, "n_head": 4, "n_positions": 32}
OPT = {**SIZES, "ffn_dim": 48, "word_embed_proj_dim": 32}
OPT.pop("intermediate_size")
DISTIL = {"vocab_size": 64, "dim": 32, "hidden_dim": 48, "n_layers": 1, "n_heads": 4, "max_position_embeddings": 32}
T5 = {"vocab_size": 64, "d_model": 32, "d_kv": 8, "d_ff": 48, "num_layers": 2, "num_heads": 4}
BART = {
    "vocab_size": 64,
    "d_model": 32,
    **{
        f"{part}_{name}": size
        for part in ("encoder", "decoder")
        for name, size in (("layers", 1), ("attention_heads", 4), ("ffn_dim", 48))
    },
    "max_position_embeddings": 32,
}
MIXTRAL = {**SIZES, "num_key_value_heads": 2, "num_local_experts": 4, "num_experts_per_tok": 2}
TWO = {"num_hidden_layers": 2}  # real widths, few layers: every layer is as the next one
TWO_AND_TWO = {"encoder_layers": 2, "decoder_layers": 2}

WORDS: dict[str, Words] = {
    "Llama": Words("Llama", "ForCausalLM", {**SIZES, **TWO, "num_key_value_heads": 2}, TWO, plain_ids),
    "Mistral": Words(
        "Mistral", "ForCausalLM", {**SIZES, "num_key_value_heads": 2, "sliding_window": 4}, TWO, plain_ids
    ),
    "Qwen2": Words("Qwen2", "ForCausalLM", {**SIZES, "num_key_value_heads": 2}, TWO, plain_ids),
    "Gemma": Words("Gemma", "ForCausalLM", {**SIZES, "num_key_value_heads": 1, "head_dim": 8}, TWO, plain_ids),
    "GPT-2": Words("GPT2", "LMHeadModel", GPT2, {"n_layer": 2}, plain_ids),
    "GPT-NeoX": Words("GPTNeoX", "ForCausalLM", SIZES, TWO, plain_ids),
    "OPT": Words("OPT", "ForCausalLM", OPT, TWO, plain_ids),
    "BERT": Words("Bert", "ForMaskedLM", {**SIZES, **TWO}, TWO, padded_ids),
    "RoBERTa": Words("Roberta", "ForMaskedLM", SIZES, TWO, plain_ids),
    "DistilBERT": Words("DistilBert", "ForMaskedLM", DISTIL, {"n_layers": 2}, plain_ids),
    "T5": Words("T5", "ForConditionalGeneration", T5, {"num_layers": 2}, two_ids),
    "BART": Words("Bart", "ForConditionalGeneration", BART, TWO_AND_TWO, two_ids),
    "Mixtral": Words("Mixtral", "ForCausalLM", MIXTRAL, TWO, plain_ids),
}


def vit(real: bool) -> Example:
    sizes = {name: size for name, size in SIZES.items() if name not in ("vocab_size", "max_position_embeddings")}
    made = config("ViT", TWO if real else {**sizes, **IMAGES})
    size = 224 if real else 16
    return Example(transformers.ViTForImageClassification(made).eval(), (torch.randn(2, 3, size, size),), {})


def clip(real: bool) -> Example:
    """Both towers."""
    seen = {name: size for name, size in SIZES.items() if name not in ("vocab_size", "max_position_embeddings")}
    words = {**SIZES, "eos_token_id": 2, "bos_token_id": 1, "pad_token_id": 0, "projection_dim": 16}
    tiny = {"text_config": words, "vision_config": {**seen, **IMAGES, "projection_dim": 16}, "projection_dim": 16}
    made = config("CLIP", {"text_config": TWO, "vision_config": TWO} if real else tiny)
    size, seq, vocabulary = (224, 77, 49408) if real else (16, 8, 64)
    kwargs = {"input_ids": ids(2, seq, vocabulary=vocabulary), "pixel_values": torch.randn(2, 3, size, size)}
    return Example(transformers.CLIPModel(made).eval(), (), kwargs)


def whisper(real: bool) -> Example:
    """The encoder."""
    sizes = {"d_model": 32, "encoder_attention_heads": 4, "encoder_ffn_dim": 48, "max_source_positions": 16}
    made = config("Whisper", {"encoder_layers": 2} if real else {**sizes, "encoder_layers": 1, "num_mel_bins": 8})
    length = 2 * made.max_source_positions
    return Example(WhisperEncoder(made).eval(), (torch.randn(2, made.num_mel_bins, length),), {})


@dataclass(frozen=True, slots=True)
class Row:
    """One model; `dtype` is what its weights and its real inputs are made of."""

    make: Callable[[bool], Example]
    dtype: torch.dtype = torch.float64

    def build(self) -> Example:
        """The small one, the same in every run."""
        torch.manual_seed(0)
        return self.make(False).to(self.dtype)

    def build_real(self) -> Example:
        """The real one, without data."""
        with torch.device("meta"):
            return self.make(True)


ZOO: dict[str, Row] = {
    **{name: Row(words.build) for name, words in WORDS.items()},
    "Mixtral": Row(WORDS["Mixtral"].build, torch.float32),  # torch's grouped product knows no float64
    "ViT": Row(vit),
    "CLIP": Row(clip),
    "Whisper's encoder": Row(whisper),
    **{name: Row(make) for name, make in PLAIN.items()},
}
