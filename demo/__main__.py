"""The command: `python -m demo`, or `make demo`."""

from __future__ import annotations

import sys
from contextlib import ExitStack

import click
from rich.console import Console
from rich.rule import Rule

from demo.case import compare, make_planned, parallel
from demo.setting import library_folder, llama, token_ids
from demo.show import show_comparison, show_plan
from einsplit.errors import EinsplitError, RunError

# Batch and sequence: three loads of one model that want three different plans.
CASES: tuple[tuple[int, int], ...] = ((4, 256), (1, 256), (1, 16))


@click.command(context_settings={"help_option_names": ["-h", "--help"], "show_default": True})
@click.option("--devices", type=click.IntRange(min=1), default=2, help="Workers to cut the model over.")
@click.option("--batch", type=click.IntRange(min=1), help="Sequences; with --seq, instead of the three cases.")
@click.option("--seq", type=click.IntRange(min=2), help="Bytes of each sequence; with --batch.")
@click.option("--layers", type=click.IntRange(min=1), default=8, help="Layers of the model.")
@click.option("--backend", type=click.Choice(["local", "ray"]), default="ray", help="Threads, or Ray workers.")
@click.option("--steps", type=click.IntRange(min=1), default=7, help="Steps that are timed.")
def main(devices: int, batch: int | None, seq: int | None, layers: int, backend: str, steps: int) -> None:
    """Cut a Llama over workers by a plan that nobody wrote, and compare it with PyTorch.

    Exit code: 0 all agree; 1 logits or bytes do not; 2 bad input; 3 a run failed; 130 interrupted.
    """
    cases = CASES
    if batch is not None or seq is not None:
        cases = ((batch or CASES[0][0], seq or CASES[0][1]),)
    try:
        agree = demonstrate(Console(highlight=False), cases, devices, layers, backend, steps)
    except EinsplitError as error:
        click.echo(f"error: {error}", err=True)
        sys.exit(3 if isinstance(error, RunError) else 2)
    except KeyboardInterrupt:
        click.echo("interrupted", err=True)
        sys.exit(130)
    sys.exit(0 if agree else 1)


def demonstrate(
    console: Console, cases: tuple[tuple[int, int], ...], devices: int, layers: int, backend: str, steps: int
) -> bool:
    """Show every case. Whether all logits and bytes agree."""
    model = llama(layers)
    size = sum(parameter.numel() for parameter in model.parameters())
    config = model.config
    console.print(
        f"model: Llama of {layers} layers, hidden {config.hidden_size}, {config.num_attention_heads} heads over "
        f"{config.num_key_value_heads} kv heads, vocabulary {config.vocab_size}; {size / 1e6:.1f} M seeded random "
        f"weights\ntext:  {library_folder()}/*.py, as bytes",
        soft_wrap=True,
    )
    who = f"{devices} {'Ray workers' if backend == 'ray' else 'threads'}"
    agree = True
    with ExitStack() as open_sessions:  # kept to the end: the cases then share one Ray cluster
        for batch, seq in cases:
            console.print(Rule(f"batch {batch} x {seq} bytes"))
            ids = token_ids(batch, seq)
            with console.status("") as status:
                planned = make_planned(model, ids, devices, status.update)
            show_plan(console, planned)
            with console.status("") as status:
                fast = open_sessions.enter_context(parallel(model, planned, backend))
                compared = compare(model, fast, ids, planned, steps, status.update)
            show_comparison(console, planned, compared, steps, who)
            agree = agree and compared.logits_agree and compared.bytes_agree
    return agree


if __name__ == "__main__":
    main()
