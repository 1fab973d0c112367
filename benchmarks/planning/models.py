"""What is planned: eight models by their published configs, three shapes each, trained and not."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from types import MappingProxyType

from einsplit.graph import Graph
from einsplit.huggingface import OPTIMIZERS, Config, Workload


@dataclass(frozen=True, slots=True)
class Shape:
    """How much a model reads at once; `seq` is None of images and of matrices."""

    batch: int
    seq: int | None = None

    def __str__(self) -> str:
        return str(self.batch) if self.seq is None else f"{self.batch} x {self.seq}"


@dataclass(frozen=True, slots=True)
class Model:
    """A model of `transformers` by its config, its weights and optimizer's moments in `dtype`; and its shapes."""

    config: Config
    dtype: str
    shapes: tuple[Shape, ...]

    def graph(self, shape: Shape, train: bool) -> Graph:
        """The forward pass, or the step of training with AdamW."""
        return Workload(self.config, shape.batch, shape.seq, train=train, dtype=self.dtype).graph()


@dataclass(frozen=True, slots=True)
class Chain:
    """Rows times matrices of widths[0] x widths[1], widths[1] x widths[2], and so on; trained to make rows small."""

    widths: tuple[int, ...]
    dtype: str
    shapes: tuple[Shape, ...]

    def graph(self, shape: Shape, train: bool) -> Graph:
        """The product of all, or the step of training with AdamW."""
        import torch

        from einsplit.capture import capture
        from einsplit.torch_dtypes import torch_dtype
        from einsplit.training.graph import train_graph
        from einsplit.training.groups import trained

        layers = [torch.nn.Linear(a, b, bias=False) for a, b in zip(self.widths, self.widths[1:], strict=False)]
        chain = torch.nn.Sequential(*layers).to(device="meta", dtype=torch_dtype(self.dtype))
        rows = torch.zeros(shape.batch, self.widths[0], dtype=torch_dtype(self.dtype), device="meta")
        if not train:
            return capture(chain, (rows,), {}).graph
        captured = capture(lambda rows: chain(rows).square().mean(), (rows,), {}, training=True)
        names = {id(tensor): name for name, tensor in captured.tensors.items() if tensor.requires_grad}
        return train_graph(captured.graph, trained(OPTIMIZERS["adamw"], names).groups)


def _config(model_type: str, architecture: str, **fields: object) -> Config:
    return Config(architecture, model_type, (architecture,), None, fields)


def llama(hidden: int, intermediate: int, heads: int, layers: int) -> Config:
    """The shape of a model of Llama 3: 8 key heads, a vocabulary of 128,256."""
    return _config(
        "llama",
        "LlamaForCausalLM",
        vocab_size=128256,
        hidden_size=hidden,
        intermediate_size=intermediate,
        num_attention_heads=heads,
        num_key_value_heads=8,
        num_hidden_layers=layers,
        max_position_embeddings=8192,
        rope_theta=500000.0,
    )


_MIXTRAL = _config(
    "mixtral",
    "MixtralForCausalLM",
    vocab_size=32000,
    hidden_size=4096,
    intermediate_size=14336,
    num_attention_heads=32,
    num_key_value_heads=8,
    num_hidden_layers=32,
    num_local_experts=8,
    num_experts_per_tok=2,
    max_position_embeddings=32768,
    rope_theta=1e6,
)
_LARGE: dict[str, object] = {
    "hidden_size": 1024,
    "num_hidden_layers": 24,
    "num_attention_heads": 16,
    "intermediate_size": 4096,
}
_BERT = _config("bert", "BertForMaskedLM", **_LARGE)
_VIT = _config("vit", "ViTForImageClassification", num_labels=1000, **_LARGE)
_LONG = (Shape(4, 2048), Shape(16, 2048), Shape(1, 8192))
_IMAGES = (Shape(64), Shape(512), Shape(8))
_WIDTHS = (4096, 1024, 16384, 512, 8192, 2048, 4096)

# The first shape of each is planned for finer meshes, too.
MODELS: Mapping[str, Model | Chain] = MappingProxyType(
    {
        "Llama-3-8B": Model(llama(4096, 14336, 32, 32), "bfloat16", _LONG),
        "Llama-3-70B": Model(llama(8192, 28672, 64, 80), "bfloat16", _LONG),
        "Mixtral-8x7B": Model(_MIXTRAL, "bfloat16", _LONG),
        "GPT-2": Model(_config("gpt2", "GPT2LMHeadModel"), "float32", (Shape(8, 512), Shape(64, 1024), Shape(1, 1024))),
        "BERT-large": Model(_BERT, "float32", (Shape(32, 512), Shape(256, 128), Shape(4, 512))),
        "ViT-L/16": Model(_VIT, "float32", _IMAGES),
        "ResNet-50": Model(_config("resnet", "ResNetForImageClassification", num_labels=1000), "float32", _IMAGES),
        "6 matrices": Chain(_WIDTHS, "float32", (Shape(4096), Shape(65536), Shape(64))),
    }
)


def state_bytes(graph: Graph) -> int:
    """Bytes of parameters and of an optimizer's moments, of all devices together: what no plan can do without."""
    from einsplit.dtypes import ITEMSIZE
    from einsplit.graph import Input
    from einsplit.notation import flat

    inputs = (node for node in graph.nodes if isinstance(node, Input) and node.role != "data")
    return sum(ITEMSIZE[node.dtype] * prod(graph.sizes[label] for label in flat(node.dims)) for node in inputs)
