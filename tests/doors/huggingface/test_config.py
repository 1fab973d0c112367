"""config.json as data: what is read of it, and what a file that is none is told."""

from __future__ import annotations

import json
import sys

import pytest

from einsplit.errors import EinsplitError
from einsplit.huggingface import ConfigError, read_config
from tests.doors.huggingface.configs import BERT, LLAMA, SIZES, VIT, workload, write


def test_a_folder_stands_for_the_config_in_it(tmp_path):
    write(tmp_path, LLAMA)
    found = read_config(str(tmp_path))
    assert found == read_config(str(tmp_path / "config.json"))
    assert (found.model_type, found.architectures, found.fields["hidden_size"]) == ("llama", ("LlamaForCausalLM",), 32)


@pytest.mark.parametrize("key", ["dtype", "torch_dtype"])
def test_the_dtype_of_the_weights_is_read_under_both_of_its_names(key, tmp_path):
    assert read_config(write(tmp_path, {**LLAMA, key: "bfloat16"})).dtype == "bfloat16"


@pytest.mark.parametrize(
    "data, told",
    [
        (b"", "is not JSON"),
        (b"\x80\x04pickle", "is not JSON"),
        (b"{", "is not JSON"),
        (b"[1]", "holds list, not an object"),
        (b'"llama"', 'holds "llama", not an object'),
        (b"[" * 100_000, "deep"),
        (b'{"model_type": "llama", "a": ' + b"[" * 30 + b"]" * 30 + b"}", "more than 20 deep"),
        (b'{"model_type": "llama", "model_type": "gpt2"}', "the key 'model_type' stands twice"),
        (b'{"vocab_size": 1' + b"0" * 5000 + b"}", "is not JSON"),
        (b"{}", 'has no model_type\n  It names the kind of model, as in "model_type": "llama".'),
        (b'{"model_type": 7}', "has 7 for a model_type"),
        (b'{"model_type": "llama", "architectures": "LlamaForCausalLM"}', "not an array of names"),
        (b" " * (4 * 2**20 + 1), "is too large"),
    ],
)
def test_a_file_that_is_no_config_is_told_why(data, told, tmp_path):
    (tmp_path / "config.json").write_bytes(data)
    with pytest.raises(ConfigError) as caught:
        read_config(str(tmp_path / "config.json"))
    assert told in str(caught.value) and str(tmp_path) in str(caught.value)


@pytest.mark.parametrize("name", ["none.json", "", "a\0b", "meta-llama/Meta-Llama-3-8B"])
def test_a_file_that_is_not_there_is_not_looked_for_elsewhere(name, tmp_path):
    with pytest.raises(ConfigError, match=r"there is no file|cannot be read"):
        read_config(str(tmp_path / name))


@pytest.mark.parametrize(
    "key, value, told",
    [
        ("hidden_size", 10**12, "$.hidden_size is 1,000,000,000,000, and at most 67,108,864 is planned"),
        ("vocab_size", 10**30, "$.vocab_size is a number of 31 digits"),
        ("intermediate_size", -(10**12), "$.intermediate_size is -1,000,000,000,000"),
        ("num_hidden_layers", 10**6, "$.num_hidden_layers is 1,000,000, and at most 2,000 is planned"),
        ("n_layer", 10**6, "$.n_layer is 1,000,000"),
        ("depths", [2, 10**6], "$.depths[1] is 1,000,000"),
        ("num_labels", 10**7, "$.num_labels is 10,000,000, and at most 1,000,000 is planned"),
        ("text_config", {"num_hidden_layers": 10**6}, "$.text_config.num_hidden_layers is 1,000,000"),
    ],
)
def test_numbers_that_no_model_has_are_refused_before_anything_is_made(key, value, told, tmp_path):
    with pytest.raises(ConfigError) as caught:
        read_config(write(tmp_path, {**LLAMA, key: value}))
    assert told in str(caught.value)


@pytest.mark.parametrize("key, value", [("rope_theta", 10**11), ("id2label", {"999999999": "x"}), ("eps", 1e-30)])
def test_numbers_that_say_no_size_may_be_large(key, value, tmp_path):
    assert read_config(write(tmp_path, {**LLAMA, key: value})).fields[key] == value


# ---------------------------------------------------------------------------------------------- what becomes of it


@pytest.mark.parametrize(
    "change, told",
    [
        ({"model_type": "lama"}, "no model_type 'lama'\n  Did you mean 'llama'?"),
        ({"model_type": "os.system"}, "no model_type 'os.system'\n  A newer version of them may"),
        ({"model_type": "mine", "auto_map": {"AutoModel": "mine.Mine"}}, "runs none that comes with a config"),
        ({"architectures": ["LlamaForCasualLM"]}, "'LlamaForCasualLM' of llama is planned from its config\n  Did you"),
        ({"architectures": ["subprocess.Popen"]}, "Planned of llama: LlamaForCausalLM"),
        ({"hidden_size": "wide"}, "transformers make no llama of this config"),
        ({"hidden_size": -4}, "transformers make no llama of this config"),
        ({"num_attention_heads": 0}, "transformers make no llama of this config"),
        ({"hidden_act": "os.system"}, "transformers make no llama of this config"),
        ({"rope_parameters": {"rope_type": "none such"}}, "transformers make no llama of this config"),
        ({"vocab_size": 2**26, "hidden_size": 2**26}, "a model of more than 100 T parameters"),
    ],
)
def test_a_config_of_no_model_is_told_in_a_line_or_two(change, told, tmp_path):
    with pytest.raises(ConfigError) as caught:
        workload(tmp_path, {**LLAMA, **change}).graph()
    assert told in str(caught.value)
    assert len(str(caught.value).splitlines()) <= 3 and "Traceback" not in str(caught.value)


@pytest.mark.parametrize(
    "fields, use, told",
    [
        (LLAMA, {"seq": None}, "say how long they are (at most 40)"),
        (LLAMA, {"seq": 41}, "sequences of 41: LlamaForCausalLM has positions for 40"),
        ({**LLAMA, "max_position_embeddings": 2**20}, {"seq": 2**17}, "131,072: models are traced with at most 32,768"),
        ({**BERT, "architectures": ["BertModel"]}, {"train": True}, "BertModel has no loss to train by"),
        (VIT, {}, "ViTForImageClassification reads pixel_values, not sequences"),
        ({**VIT, "image_size": "large"}, {"seq": None}, "transformers make no vit of this config"),
    ],
)
def test_a_use_that_a_model_does_not_have_is_told(fields, use, told, tmp_path):
    with pytest.raises(ConfigError) as caught:
        workload(tmp_path, fields, **use).graph()
    assert told in str(caught.value)


def test_without_transformers_the_extra_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(ConfigError, match=r"pip install 'einsplit\[models\]'"):
        workload(tmp_path, LLAMA).graph()


HOSTILE = {
    **LLAMA,
    "_name_or_path": "evil/repository",
    "_attn_implementation": "kernels-community/evil",
    "attn_implementation": "evil/kernel",
    "experts_implementation": "evil/kernel",
    "auto_map": {"AutoModelForCausalLM": "evil/repository--modeling.Evil", "AutoConfig": "modeling.Evil"},
    "trust_remote_code": True,
    "quantization_config": {"quant_method": "evil"},
    "dtype": "load",
    "custom_pipelines": {"evil": {"impl": "evil.Pipeline"}},
    "rope_parameters": {"rope_type": "default", "rope_theta": 1e4, "auto_map": {"x": "y"}},
}


@pytest.fixture(scope="module")
def watched():
    """What the interpreter does that a config must not make it do; a hook cannot be taken away again."""
    seen: list[str] = []
    heard = [False]

    def hook(event: str, args: object) -> None:
        if heard[0] and event.startswith(("socket.", "subprocess.", "os.system", "os.exec", "pickle.find_class")):
            seen.append(event)

    sys.addaudithook(hook)
    return seen, heard


def test_a_config_that_names_code_and_places_runs_none_and_asks_nobody(tmp_path, watched):
    seen, heard = watched
    heard[0] = True
    hostile = workload(tmp_path, HOSTILE)
    graph = hostile.graph()
    heard[0] = False
    assert not seen and not any("evil" in str(part) for part in sys.modules)
    assert [line.partition(" ")[0] for line in hostile.config.ignored] == [
        "auto_map",
        "trust_remote_code",
        "quantization_config",
    ]
    assert graph == workload(tmp_path, LLAMA).graph()


def test_another_config_that_a_part_names_is_not_loaded(tmp_path):
    """Where a config may name the config of a part by a place, it is not looked up there."""
    part = {"model_type": "gpt2", "architectures": ["Evil"], "_name_or_path": "evil/repository"}
    with pytest.raises(EinsplitError):
        workload(tmp_path, {"model_type": "vision-encoder-decoder", "decoder": part, "encoder": "evil/repo"}).graph()


def test_a_model_larger_than_any_memory_takes_none(tmp_path):
    """A million words of 65,536 numbers, 256 GB and more: made on a device without memory."""
    huge = {**LLAMA, **SIZES, "vocab_size": 2**20, "hidden_size": 2**16, "num_attention_heads": 64, "dtype": "float32"}
    graph = workload(tmp_path, json.loads(json.dumps(huge))).graph()
    assert (2**20, 2**16) in {graph.shape(at) for at in graph.inputs.values()}
