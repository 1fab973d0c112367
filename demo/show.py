"""A case on the terminal: a table of what each kind of layer is cut by, then the checks, then the times."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence

from rich.console import Console
from rich.table import Table
from rich.text import Text

from demo.case import MAX_DIFFERENCE, OURS, Compared, Planned
from einsplit.graph import Graph, Input
from einsplit.solver.plan import NodePlan, Plan, realise
from einsplit.solver.sharding import Choice, extent_classes
from einsplit.solver.units import bytes_text, seconds_text

# The first pattern that a node's name matches is its kind of layer.
KINDS = (
    ("embedding", r"embed_tokens"),
    ("rotary tables", r"rotary_emb"),
    ("norms", r"norm\b"),
    ("queries, keys, values", r"[qkv]_proj"),
    ("attention output", r"o_proj"),
    ("attention", r"self_attn"),
    ("MLP", r"\bmlp\b"),
    ("head", r"lm_head"),
    ("residual sums", r""),
)
# What people call the labels: those of an input, in a dimension, one word each.
WORDS = (
    ("input_ids", 0, ("batch",)),
    ("input_ids", 1, ("sequence",)),
    ("o_proj.weight", 1, ("kv heads", "query heads of a kv head", "features of a head")),
    ("gate_proj.weight", 0, ("hidden units",)),
    ("embed_tokens.weight", 0, ("vocabulary",)),
    ("embed_tokens.weight", 1, ("model features",)),
    ("lm_head.weight", 0, ("vocabulary",)),
)


def words_of(graph: Graph) -> dict[str, str]:
    """What people call each label of a prepared Graph, where they have a word for it."""
    classes = extent_classes(graph)
    called: dict[str, str] = {}
    for node in graph.nodes:
        if isinstance(node, Input):
            for name, dimension, words in WORDS:
                if node.name.endswith(name):
                    for label, word in zip(node.dims[dimension], words, strict=False):
                        called.setdefault(classes[label], word)
    return {label: called[found] for label, found in classes.items() if found in called}


def kinds_table(planned: Planned) -> Table:
    """One row for each kind of layer: what it is cut by, what each device sends for it, and its price."""
    plan = planned.plan
    words = words_of(realise(plan, planned.graph).problem.graph)
    kinds: dict[str, list[NodePlan]] = {}
    for node in plan.nodes:
        if node.seconds > 0 or node.bytes:
            kinds.setdefault(kind_of(node.name), []).append(node)
    table = Table("kind of layer", "cut by", box=None, header_style="bold", pad_edge=False)
    table.add_column("each sends", justify="right")
    table.add_column("price", justify="right")
    for kind, nodes in kinds.items():
        cuts = Counter(cut_words(plan, node.cut, words) for node in nodes)
        cut = "; ".join(cuts) if len(cuts) == 1 else "; ".join(f"{c} ({n} nodes)" for c, n in cuts.most_common())
        sent, seconds = sum(node.bytes for node in nodes), sum(node.seconds for node in nodes)
        table.add_row(kind, cut, bytes_text(sent), seconds_text(seconds))
    return table


def kind_of(name: str) -> str:
    return next(kind for kind, pattern in KINDS if re.search(pattern, name))


def cut_words(plan: Plan, cut: Sequence[Choice], words: dict[str, str]) -> str:
    """`batch`; with several mesh axes `batch x2, sequence x2`; `repeated` where every device does all of it."""
    sizes: dict[str, int] = {}
    for axis, choice in zip(plan.machine.axes, cut, strict=True):
        if choice is not None:
            word = words.get(choice, choice) if isinstance(choice, str) else "addends"
            sizes[word] = sizes.get(word, 1) * axis.size
    if not sizes:
        return "repeated"
    return ", ".join(sizes) if len(plan.machine.axes) == 1 else ", ".join(f"{w} x{n}" for w, n in sizes.items())


def show_plan(console: Console, planned: Planned) -> None:
    devices = planned.plan.machine.num_devices
    console.print(
        f"traced {len(planned.graph.nodes)} nodes in {seconds_text(planned.trace_seconds)}, "
        f"planned them for {devices} devices in {seconds_text(planned.plan_seconds)}\n"
    )
    console.print(kinds_table(planned))
    console.print(
        f"\nprice of a step: this plan {seconds_text(planned.plan.seconds)}, "
        f"data parallel {seconds_text(planned.data_parallel.seconds)}, "
        f"all whole {seconds_text(planned.whole.seconds)}"
    )


def show_comparison(console: Console, planned: Planned, compared: Compared, repeats: int, who: str) -> None:
    """`who` runs the plan: "2 Ray workers"."""
    moved = ", ".join(f"{device.bytes_sent:,}" for device in compared.traffic)
    shares = ", ".join([f"{planned.share:.1%}"] * planned.plan.machine.num_devices)
    difference = f"at most {compared.max_difference:.1e} from PyTorch's, limit {MAX_DIFFERENCE:.0e}"
    console.print(f"started {who}, first step after {seconds_text(compared.start_seconds)}\n")
    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_row("logits", difference, verdict(compared.logits_agree))
    table.add_row("mean next-byte loss", f"{compared.loss:.6f}, PyTorch {compared.torch_loss:.6f}")
    sent = f"{sum(compared.predicted):,} predicted; moved {moved}"
    table.add_row("bytes each device sends", sent, verdict(compared.bytes_agree))
    table.add_row("operations of each device", f"{shares} of the whole")
    for name, seconds in compared.seconds.items():
        table.add_row(f"step, median of {repeats}", f"{seconds_text(seconds)}  {who if name == OURS else name}")
    console.print(table)


def verdict(good: bool) -> Text:
    return Text("ok", style="green") if good else Text("WRONG", style="bold red")
