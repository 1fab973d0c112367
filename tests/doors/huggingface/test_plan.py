"""`einsplit plan --hf`: a plan from a config alone, as text, as JSON and as a file; what mistakes are told."""

from __future__ import annotations

import json

import pytest

from einsplit.huggingface import Workload, read_config
from einsplit.solver.plan import Plan
from einsplit.solver.prepare import computed
from tests.doors.huggingface.configs import BERT, LLAMA, VIT, write


@pytest.fixture
def config(tmp_path):
    return write(tmp_path, LLAMA)


def test_a_plan_of_a_config_as_json_and_as_a_file(call, config, tmp_path):
    words = ("--batch", 4, "--seq", 8, "--machine", "cpu-2", "-o", tmp_path / "plan.json")
    code, out, err = call("plan", "--hf", config, *words, "--json")
    assert (code, err) == (0, "")
    fields, plan = json.loads(out), Plan.load(tmp_path / "plan.json")
    for name in ("seconds", "bound", "gap", "bytes", "peak_bytes", "status"):
        assert fields[name] == getattr(plan, name), name
    assert fields["bound"] <= fields["seconds"] and fields["peak_bytes"] > 0 and fields["devices"] == 2


@pytest.mark.parametrize("words, use", [((), {}), (("--train", "--optimizer", "sgd"), {"optimizer": "sgd"})])
def test_what_is_planned_is_the_graph_of_the_workload(words, use, call, config):
    more = ("--batch", 4, "--seq", 8, "--dtype", "bfloat16", "--devices", 2, "--method", "data-parallel", "--json")
    fields = json.loads(call("plan", "--hf", config, *words, *more)[1])
    planned = Workload(read_config(config), batch=4, seq=8, train=bool(words), dtype="bfloat16", **use)
    assert fields["graph"] == computed(planned.graph()).hash


def test_a_method_without_a_bound_has_none(call, config):
    words = ("--batch", 4, "--seq", 8, "--devices", 2, "--method", "whole", "--json")
    fields = json.loads(call("plan", "--hf", config, *words)[1])
    assert fields["bound"] is None and fields["gap"] is None and fields["seconds"] > 0


def test_a_plan_of_a_config_prints_as_any_plan_does(call, config):
    code, out, err = call("plan", "--hf", config, "--batch", 4, "--seq", 8, "--devices", 2)
    assert (code, err) == (0, "")
    assert out.startswith("plan for cpu-2 ") and "\ndata-parallel: " in out and "\ntraced in " in out


def test_what_of_a_config_is_ignored_is_told_beside_the_results(call, tmp_path):
    config = write(tmp_path, {**LLAMA, "auto_map": {"AutoModel": "mine.Mine"}})
    code, out, err = call("plan", "--hf", config, "--batch", 2, "--seq", 8, "--devices", 2, "--json")
    assert code == 0 and json.loads(out)["seconds"] > 0
    assert err == "auto_map is ignored: the model's own code is not run, but that of the installed transformers\n"


@pytest.mark.parametrize(
    "words, told",
    [
        (["--hf", "{c}", "--seq", "8"], "say how many inputs the model reads at once, such as --batch 8"),
        (["--hf", "{c}", "--batch", "0"], "0 is not in the range"),
        (["--hf", "{c}", "--batch", "9999999999"], "9999999999 is not in the range"),
        (
            ["--hf", "{c}", "--batch", "2", "--seq", "41"],
            "ConfigError: sequences of 41: LlamaForCausalLM has positions",
        ),
        (["--hf", "{c}", "--batch", "2"], "say how long they are (at most 40)"),
        (["{t}:graph", "--hf", "{c}", "--batch", "2"], "both {t}:graph and --hf {c} say what to plan"),
        (["{t}:graph", "--batch", "2"], "--batch is of a model's config (--hf); {t}:graph says it in Python"),
        (["{t}:graph", "--train"], "--train is of a model's config (--hf)"),
        (["--hf", "{c}", "--batch", "2", "--seq", "8", "--optimizer", "sgd"], "--optimizer is for --train"),
        (["--hf", "{c}", "--batch", "2", "--train", "--optimizer", "lion"], "'lion' is not one of 'adamw', 'adam'"),
        (["--hf", "{c}", "--batch", "2", "--dtype", "int4"], "'int4' is not one of 'float32', 'bfloat16'"),
        (["--hf", "{c}.none", "--batch", "2"], "ConfigError: there is no file"),
        (["--hf", "{t}", "--batch", "2"], "ConfigError: {t} is not JSON"),
    ],
)
def test_a_mistake_is_told_on_the_error_output_with_exit_code_2(words, told, call, config, targets):
    known = {"c": config, "t": targets}
    code, out, err = call("plan", *(word.format(**known) for word in words), "--devices", 2)
    assert code == 2 and out == "", err
    assert told.format(**known) in err and "Traceback" not in err


@pytest.mark.parametrize(
    "fields, words, told",
    [
        (VIT, ["--seq", "8"], "ViTForImageClassification reads pixel_values, not sequences"),
        ({**BERT, "architectures": ["BertModel"]}, ["--seq", "8", "--train"], "BertModel has no loss to train by"),
        ({**LLAMA, "hidden_size": 10**12}, ["--seq", "8"], "$.hidden_size is 1,000,000,000,000"),
    ],
)
def test_a_config_that_does_not_fit_its_use_ends_with_2(fields, words, told, call, tmp_path):
    code, out, err = call("plan", "--hf", write(tmp_path, fields), "--batch", 2, *words, "--devices", 2)
    assert code == 2 and out == "" and err.startswith("ConfigError: ") and told in err


def test_help_tells_of_configs(call):
    assert "Example: einsplit plan --hf config.json --batch 8" in call("plan", "--help")[1].replace("\n  ", " ")
