"""Language models from transformers are captured as they are: their results, their structure, their heads to be cut."""

from __future__ import annotations

import json
from functools import cache

import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM

from einsplit.capture import Captured, capture
from einsplit.graph import Einsum, Graph, Input, Kernel, factors, node_labels
from einsplit.parallelized import parallelize
from einsplit.scalar import labels_of
from tests.capture.driver import check, kernels, programs, run, same

BATCH, LENGTH, VOCABULARY = 2, 6, 64
IDS = torch.randint(0, VOCABULARY, (BATCH, LENGTH), generator=torch.Generator().manual_seed(0))
PADDING = torch.tensor([[0, 0, 1, 1, 1, 1], [1, 1, 1, 1, 1, 1]])


@cache
def llama(
    attention: str = "sdpa",
    heads: int = 4,
    kv_heads: int = 2,
    tied: bool = False,
    dtype: torch.dtype = torch.float32,
    layers: int = 1,
) -> LlamaForCausalLM:
    """A small model with random weights."""
    config = LlamaConfig(
        vocab_size=VOCABULARY,
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        num_key_value_heads=kv_heads,
        max_position_embeddings=64,
        tie_word_embeddings=tied,
        attn_implementation=attention,
    )
    torch.manual_seed(0)
    return LlamaForCausalLM(config).eval().to(dtype)


@cache
def captured(attention: str = "sdpa", tied: bool = False) -> Captured:
    """Two layers without a cache."""
    return capture(llama(attention, tied=tied, layers=2), (IDS,), {"use_cache": False})


def node(graph: Graph, *words: str) -> Einsum:
    """The only einsum whose name has all the words."""
    found = [n for n in graph.nodes if isinstance(n, Einsum) and all(word in n.name for word in words)]
    assert len(found) == 1, (words, [n.name for n in found])
    return found[0]


OPTIONS: list[dict[str, object]] = [
    {"layers": 2},
    {"attention": "eager"},
    {"kv_heads": 4},
    {"kv_heads": 1, "attention": "eager"},
    {"tied": True},
]


@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_logits_and_cache_equal_those_of_torch_whole_and_cut(options: dict[str, object]) -> None:
    model = llama(**options)  # type: ignore[arg-type]
    wanted = [] if options.get("attention") == "eager" else ["attention"] * int(str(options.get("layers", 1)))
    assert kernels(check(model, IDS, random_seeds=(0,), tolerance=1e-4)) == wanted


@pytest.mark.parametrize("attention", ["sdpa", "eager"])
def test_bfloat16_comes_as_near_as_bfloat16_can(attention: str) -> None:
    check(llama(attention, dtype=torch.bfloat16), IDS, meshes=((2,),), random_seeds=(), tolerance=0.05)


MASKS: list[dict[str, object]] = [
    {"attention_mask": torch.ones_like(IDS)},
    {"attention_mask": PADDING},
    {"attention_mask": PADDING, "position_ids": PADDING.cumsum(1).clamp(min=1) - 1, "use_cache": False},
]
OTHERS: list[dict[str, object]] = [
    {"labels": IDS, "use_cache": False},
    {"output_hidden_states": True, "return_dict": False},
    {"logits_to_keep": 1},
    {"inputs_embeds": torch.randn(BATCH, LENGTH, 32, generator=torch.Generator().manual_seed(0))},
]


@pytest.mark.parametrize("attention", ["sdpa", "eager"])
@pytest.mark.parametrize("kwargs", MASKS, ids="+".join)
def test_masks_give_what_they_give_in_torch(attention: str, kwargs: dict[str, object]) -> None:
    check(llama(attention), kwargs={"input_ids": IDS, **kwargs}, meshes=((2,),), random_seeds=(0,))


@pytest.mark.parametrize("kwargs", OTHERS, ids="+".join)
def test_arguments_by_name_give_what_they_give_in_torch(kwargs: dict[str, object]) -> None:
    inputs = {} if "inputs_embeds" in kwargs else {"input_ids": IDS}
    check(llama(), kwargs={**inputs, **kwargs}, meshes=((2,),), random_seeds=())


def test_the_result_is_of_the_models_own_types() -> None:
    model = llama()
    whole = capture(model, (IDS,), {})
    with torch.no_grad():
        expected = model(IDS)
    (program,) = programs(whole, (), ())
    found = run(whole, program, [IDS])
    assert type(found) is type(expected) and list(found) == list(expected)
    assert found[0] is found.logits and found["logits"] is found.logits and found.loss is None
    assert type(found.past_key_values) is type(expected.past_key_values)
    assert found.past_key_values.get_seq_length() == LENGTH
    same(found.past_key_values.layers[0].keys, expected.past_key_values.layers[0].keys)


def test_a_cache_that_is_passed_in_comes_back_longer() -> None:
    model = llama()
    with torch.no_grad():
        start, expected = model(IDS[:, :4]), model(IDS)
        follow = capture(model, (IDS[:, 4:],), {"past_key_values": start.past_key_values})
    before = start.past_key_values.get_seq_length()
    tensors = [IDS[:, 4:], *(x for layer in start.past_key_values.layers for x in (layer.keys, layer.values))]
    (program,) = programs(follow, (), ())
    found = run(follow, program, tensors)
    same(found.logits, expected.logits[:, 4:])
    assert found.past_key_values.get_seq_length() == LENGTH and before == start.past_key_values.get_seq_length() == 4


@pytest.mark.parametrize("attention", ["sdpa", "eager"])
def test_views_cost_nothing(attention: str) -> None:
    graph = captured(attention).graph
    assert {n.kernel for n in graph.nodes if isinstance(n, Kernel)} == ({"attention"} if attention == "sdpa" else set())
    assert not [n for n in graph.nodes if isinstance(n, Input) and n.role == "constant"]


def test_the_causal_mask_is_a_formula_of_positions() -> None:
    masks = [n for n in captured("eager").graph.nodes if isinstance(n, Einsum) and len(labels_of(n.join)) == 2]
    assert masks and all({label.rstrip("'") for label in labels_of(n.join)} == {"input_ids_1"} for n in masks)


def test_attention_reads_positions_and_no_mask() -> None:
    graph = captured("sdpa").graph
    (first, _) = [n for n in graph.nodes if isinstance(n, Kernel)]
    assert json.loads(first.attributes)["score"] == f"where(x1 and x3 - x2 <= 0, x0 * {8**-0.5}, -inf)"
    assert [graph.shape(row.node) for row in first.operands[3:]] == [(LENGTH,)] * 3


@pytest.mark.parametrize("attention", ["sdpa", "eager"])
def test_one_label_of_kv_heads_runs_through_the_attention_of_a_layer(attention: str) -> None:
    graph = captured(attention).graph
    layer = "layers.0.self_attn."
    (heads, *_) = node(graph, layer + "k_proj").dims[2]
    assert graph.sizes[heads] == 2
    assert heads == node(graph, layer + "q_proj").dims[2][0] == node(graph, layer + "v_proj").dims[2][0]
    inside = [n for n in graph.nodes if n.operands and layer in n.name and "rotary" not in n.name]
    assert len(inside) > 15 and all(heads in node_labels(n) for n in inside)
    assert heads not in factors(node(graph, layer + "o_proj"))  # there it is summed


def test_hidden_units_are_one_label_from_gate_to_down() -> None:
    graph = captured().graph
    (hidden,) = node(graph, "layers.1.mlp.gate_proj").dims[2]
    assert graph.sizes[hidden] == 48 and node(graph, "layers.1.mlp.up_proj").dims[2] == (hidden,)
    down = node(graph, "layers.1.mlp.down_proj")
    assert hidden in node_labels(down) and hidden not in factors(down)


def test_tied_embeddings_are_one_input() -> None:
    tied, untied = captured(tied=True), captured()
    assert len(untied.tensors) == len(tied.tensors) + 1
    assert "lm_head.weight" not in tied.graph.inputs and "lm_head.weight" in untied.graph.inputs
    assert tied.tensors["model.embed_tokens.weight"] is llama("sdpa", tied=True, layers=2).lm_head.weight


def test_nodes_have_names_of_their_own_that_tell_where_they_come_from() -> None:
    graph = captured().graph
    names = [n.name for n in graph.nodes]
    assert len(set(names)) == len(names)
    attention = [name for name in names if "layers.1.self_attn.scaled_dot_product_attention" in name]
    assert [name.rpartition("layers.1.self_attn.")[2] for name in attention] == [
        "scaled_dot_product_attention_1.keys",
        "scaled_dot_product_attention_1.positions",
        "scaled_dot_product_attention_1.positions_2",
        "scaled_dot_product_attention_1",
    ]
    assert all(n.source.rpartition(":")[0].endswith(".py") for n in graph.nodes if "self_attn" in n.name and n.operands)


def test_a_model_without_data_is_captured_without_data() -> None:
    with torch.device("meta"):
        model = LlamaForCausalLM(llama(layers=2).config).eval()
        ids = torch.zeros(BATCH, LENGTH, dtype=torch.int64)
    assert capture(model, (ids,), {"use_cache": False}).graph.hash == captured().graph.hash


def test_the_graph_is_the_same_in_every_capture() -> None:
    again = capture(llama(layers=2), (IDS,), {"use_cache": False})
    assert repr(again.graph) == repr(captured().graph) and again.graph.hash == captured().graph.hash


def test_the_decorator_gives_the_same_on_two_and_four_devices() -> None:
    model = llama()
    with torch.no_grad():
        expected = model(IDS)
    for devices in (2, 4):
        with parallelize(model, devices=devices) as parallel:
            same(parallel(IDS), expected, 1e-4)
