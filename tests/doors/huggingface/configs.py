"""Small configs as they stand in files, by kind of model, and what each is called with."""

from __future__ import annotations

import json
from pathlib import Path

from einsplit.huggingface import Workload, read_config

Fields = dict[str, object]

SIZES: Fields = {
    "vocab_size": 64,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 1,
    "num_attention_heads": 4,
    "max_position_embeddings": 40,
}
LLAMA: Fields = {"model_type": "llama", "architectures": ["LlamaForCausalLM"], **SIZES, "num_key_value_heads": 2}
BERT: Fields = {"model_type": "bert", "architectures": ["BertForMaskedLM"], **SIZES}
GPT2: Fields = {"model_type": "gpt2", "vocab_size": 64, "n_embd": 32, "n_layer": 1, "n_head": 4, "n_positions": 32}
MIXTRAL: Fields = {
    "model_type": "mixtral",
    **SIZES,
    "num_key_value_heads": 2,
    "num_local_experts": 4,
    "num_experts_per_tok": 2,
}
QWEN_MOE: Fields = {
    "model_type": "qwen3_moe",
    **SIZES,
    "num_key_value_heads": 2,
    "head_dim": 8,
    "num_experts": 4,
    "num_experts_per_tok": 2,
    "moe_intermediate_size": 16,
}
T5: Fields = {
    "model_type": "t5",
    "vocab_size": 64,
    "d_model": 32,
    "d_kv": 8,
    "d_ff": 48,
    "num_layers": 1,
    "num_heads": 4,
}
IMAGES: Fields = {"image_size": 16, "patch_size": 4, "id2label": {str(k): f"kind {k}" for k in range(5)}}
VIT: Fields = {
    "model_type": "vit",
    "architectures": ["ViTForImageClassification"],
    **{key: SIZES[key] for key in ("hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads")},
    **IMAGES,
}
RESNET: Fields = {"model_type": "resnet", "embedding_size": 4, "hidden_sizes": [8], "depths": [1], "image_size": 16}
WHISPER: Fields = {
    "model_type": "whisper",
    "vocab_size": 64,
    "d_model": 32,
    "num_mel_bins": 8,
    "max_source_positions": 16,
    "max_target_positions": 12,
    "pad_token_id": 0,
    **{f"{part}_layers": 1 for part in ("encoder", "decoder")},
    **{f"{part}_attention_heads": 4 for part in ("encoder", "decoder")},
    **{f"{part}_ffn_dim": 48 for part in ("encoder", "decoder")},
}


def write(folder: Path, fields: object) -> str:
    """A config file of these fields."""
    path = folder / "config.json"
    path.write_text(json.dumps(fields))
    return str(path)


def workload(folder: Path, fields: Fields, **use: object) -> Workload:
    """As `--hf` makes it: a batch of 2, sequences of 8 where nothing else is said."""
    return Workload(read_config(write(folder, fields)), **{"batch": 2, "seq": 8, **use})
