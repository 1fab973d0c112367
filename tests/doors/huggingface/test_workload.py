"""Models from their configs: the Graph is that of the model as its users build it, with weights and in a loop."""

from __future__ import annotations

import pytest
import torch
import transformers

import einsplit
from einsplit.huggingface import ConfigError
from einsplit.optim import SGD, Adam, AdamW
from tests.doors.huggingface.configs import (
    BERT,
    GPT2,
    LLAMA,
    MIXTRAL,
    QWEN_MOE,
    RESNET,
    T5,
    VIT,
    WHISPER,
    Fields,
    workload,
)

IDS = torch.zeros(2, 8, dtype=torch.int64)
PIXELS = torch.zeros(2, 3, 16, 16)


def built(fields: Fields, kind: str) -> torch.nn.Module:
    """By the class itself."""
    model = getattr(transformers, kind)
    made = model(model.config_class(**{key: value for key, value in fields.items() if key != "model_type"}))
    assert isinstance(made, torch.nn.Module)
    return made


# torch routes experts, and settles batch norms, by other operators on CPUs than elsewhere.
FORWARD = [
    (LLAMA, "LlamaForCausalLM", {"input_ids": IDS}, "cpu"),
    (GPT2, "GPT2LMHeadModel", {"input_ids": IDS}, "cpu"),
    (BERT, "BertForMaskedLM", {"input_ids": IDS}, "cpu"),
    ({**BERT, "architectures": ["BertModel"]}, "BertModel", {"input_ids": IDS}, "cpu"),
    (MIXTRAL, "MixtralForCausalLM", {"input_ids": IDS}, "meta"),
    (VIT, "ViTForImageClassification", {"pixel_values": PIXELS}, "cpu"),
    (RESNET, "ResNetForImageClassification", {"pixel_values": PIXELS}, "meta"),
]


@pytest.mark.parametrize("fields, kind, inputs, device", FORWARD, ids=[row[1] for row in FORWARD])
def test_without_train_the_graph_is_that_of_the_model_as_it_is_evaluated(fields, kind, inputs, device, tmp_path):
    seq = None if "pixel_values" in inputs else 8
    with torch.device(device):
        model = built(fields, kind).eval()
    cache = {"use_cache": False} if seq and "Bert" not in kind else {}

    def forward(**given: torch.Tensor) -> torch.Tensor:
        return model(**given, **cache)[0]

    given = {name: tensor.to(device) for name, tensor in inputs.items()}
    assert workload(tmp_path, fields, seq=seq).graph() == einsplit.trace(forward, **given)


@pytest.mark.parametrize(
    "fields, train, shapes",
    [
        (T5, False, {"input_ids": (2, 8), "decoder_input_ids": (2, 8)}),
        (T5, True, {"input_ids": (2, 8), "labels": (2, 8)}),
        (WHISPER, False, {"input_features": (2, 8, 32), "decoder_input_ids": (2, 8)}),
        (WHISPER, True, {"input_features": (2, 8, 32), "labels": (2, 8)}),
    ],
)
def test_a_model_of_two_halves_reads_ids_for_its_decoder_or_makes_them_of_the_labels(fields, train, shapes, tmp_path):
    called = workload(tmp_path, fields, train=train).called()
    assert {name: tuple(tensor.shape) for name, tensor in called.inputs.items()} == shapes
    assert all(tensor.is_meta for tensor in called.inputs.values())


def of_words(model, input_ids):
    return model(input_ids=input_ids, labels=input_ids, use_cache=False).loss


def of_masked(model, input_ids, labels):
    return model(input_ids=input_ids, labels=labels).loss


def of_halves(model, input_ids, labels):
    return model(input_ids=input_ids, labels=labels, use_cache=False).loss


def of_images(model, pixel_values, labels):
    return model(pixel_values=pixel_values, labels=labels).loss


CLASSES = torch.zeros(2, dtype=torch.int64)
TRAINED = [
    (LLAMA, "LlamaForCausalLM", of_words, (IDS,), "adamw", AdamW()),
    (GPT2, "GPT2LMHeadModel", of_words, (IDS,), "sgd", SGD()),  # with dropout
    (BERT, "BertForMaskedLM", of_masked, (IDS, IDS), "adam", Adam()),
    pytest.param(
        {**T5, "decoder_start_token_id": 0},
        "T5ForConditionalGeneration",
        of_halves,
        (IDS, IDS),
        "sgd",
        SGD(),
        marks=pytest.mark.slow,  # torch rewrites its writes in place, and takes long
    ),
    (VIT, "ViTForImageClassification", of_images, (PIXELS, CLASSES), "momentum", SGD(momentum=0.9)),
    (RESNET, "ResNetForImageClassification", of_images, (PIXELS, CLASSES), "sgd", SGD()),  # with running statistics
]


@pytest.mark.parametrize("fields, kind, loss, batch, name, optimizer", TRAINED)
def test_with_train_the_graph_is_that_of_a_train_step(fields, kind, loss, batch, name, optimizer, tmp_path):
    seq = None if loss is of_images else 8
    step = einsplit.train_step(built(fields, kind).train(), loss, optimizer, devices=1)
    assert workload(tmp_path, fields, seq=seq, train=True, optimizer=name).graph() == step.graph(*batch)


@pytest.mark.parametrize(
    "name, more, labels",
    [
        ("LlamaForSequenceClassification", {"pad_token_id": 0}, ("int64", (2,))),
        ("BertForSequenceClassification", {"num_labels": 1}, ("float32", (2,))),
        ("BertForSequenceClassification", {"problem_type": "multi_label_classification"}, ("float32", (2, 2))),
        ("BertForTokenClassification", {}, ("int64", (2, 8))),
        ("BertForQuestionAnswering", {}, ("int64", (2,))),
    ],
)
def test_the_head_that_architectures_names_says_what_labels_the_loss_reads(name, more, labels, tmp_path):
    fields = {**(LLAMA if "Llama" in name else BERT), "architectures": [name], **more}
    graph = workload(tmp_path, fields, train=True, optimizer="sgd").graph()
    at = graph.inputs["end_positions" if "Question" in name else "labels"]
    assert (graph.nodes[at].dtype, graph.shape(at)) == labels


@pytest.mark.parametrize(
    "model_type, kind",
    [("bert", "BertForMaskedLM"), ("t5", "T5ForConditionalGeneration"), ("vit", "ViTForImageClassification")],
)
def test_without_architectures_a_kind_has_its_first_head(model_type, kind, tmp_path):
    fields = dict({"bert": BERT, "t5": T5, "vit": VIT}[model_type])
    fields.pop("architectures", None)
    said: list[str] = []
    called = workload(tmp_path, fields, seq=None if model_type == "vit" else 8).called(said.append)
    assert said[1] == f"making {kind}" and called.name.startswith(f"{kind}, 1 layers, ")


@pytest.mark.parametrize(
    "own, asked, wanted",
    [
        (None, None, "float32"),
        ("bfloat16", None, "bfloat16"),
        ("bfloat16", "float32", "float32"),
        ("evil", None, "float32"),
    ],
)
def test_weights_have_the_dtype_that_is_asked_for_or_else_the_configs(own, asked, wanted, tmp_path):
    graph = workload(tmp_path, {**LLAMA, "dtype": own}, dtype=asked).graph()
    frequencies = "model.rotary_emb.inv_freq"  # which stay wide
    assert graph.nodes[graph.inputs[frequencies]].dtype == "float32"
    weights = {graph.nodes[at].dtype for name, at in graph.inputs.items() if name not in (frequencies, "input_ids")}
    assert weights == {wanted}


def test_a_mixture_of_experts_is_trained_as_one_value_for_all_experts(tmp_path):
    graph = workload(tmp_path, QWEN_MOE, train=True, optimizer="sgd").graph()
    stacked = {name for name, at in graph.inputs.items() if "experts" in name and graph.shape(at)[0] == 4}
    updated = {graph.nodes[at].name for at, _ in graph.updates}
    assert len(stacked) == 2 and stacked <= updated


def test_what_is_made_is_counted_while_it_is_made(tmp_path, monkeypatch):
    monkeypatch.setattr("einsplit.huggingface.model.MAX_PARTS", 20)
    with pytest.raises(ConfigError, match="a model of more than 20 parts"):
        workload(tmp_path, {**LLAMA, "num_hidden_layers": 1000}).graph()
