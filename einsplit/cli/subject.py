"""What a verb is about: FILE.py:NAME, or the config of a model with what is done with it. One set of options for all.

@click.command()
@subject_options
def plan(subject: Subject, ...) -> None:
    with progress(...) as say:
        graph = subject.graph(say)
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Concatenate, ParamSpec, Protocol

import click

from einsplit.cli.common import users_code
from einsplit.cli.target import load_target
from einsplit.graph import Graph
from einsplit.huggingface import DTYPES, OPTIMIZERS, Workload, read_config

Say = Callable[[str], None]
Rest = ParamSpec("Rest")

MAX_BATCH = 2**24
MAX_SEQ = 2**24
# Beside an argument that says the same in Python, these mean nothing.
_OF_A_CONFIG = ("batch", "seq", "train", "optimizer", "dtype")


class Subject(Protocol):
    """A program to be planned."""

    @property
    def name(self) -> str:
        """What to call it before it is traced."""

    def graph(self, say: Say) -> Graph:
        """Its Graph; `say` is told what is being done. Raises EinsplitError."""


@dataclass(frozen=True, slots=True)
class Program:
    """FILE.py:NAME."""

    name: str

    def graph(self, say: Say) -> Graph:
        with users_code():
            return load_target(self.name).traced()[0]


@dataclass(frozen=True, slots=True)
class Model:
    """A model's config, and what is done with the model."""

    workload: Workload

    @property
    def name(self) -> str:
        return self.workload.config.path

    def graph(self, say: Say) -> Graph:
        for line in self.workload.config.ignored:
            click.echo(line, err=True)
        with users_code():  # what libraries print while they are loaded
            return self.workload.graph(say)


def subject_options(verb: Callable[Concatenate[Subject, Rest], None]) -> Callable[..., None]:
    """The verb with an argument FILE.py:NAME and options for a model's config, given to it as its first: a Subject."""

    @click.argument("target", metavar="FILE.py:NAME", required=False)
    @click.option("--hf", metavar="CONFIG", help="Instead: config.json of a transformers model, or a folder with one.")
    @click.option("--batch", type=click.IntRange(1, MAX_BATCH), help="With --hf: how many inputs at once.")
    @click.option("--seq", type=click.IntRange(1, MAX_SEQ), help="With --hf: ids in a sequence.")
    @click.option("--train", is_flag=True, default=None, help="With --hf: loss, gradients and update, as one Graph.")
    @click.option("--optimizer", type=click.Choice(list(OPTIMIZERS)), help="With --train.  [default: adamw]")
    @click.option(
        "--dtype", type=click.Choice(DTYPES), help="With --hf: of the weights.  [default: the config's, or float32]"
    )
    @functools.wraps(verb)
    def with_subject(
        target: str | None,
        hf: str | None,
        batch: int | None,
        seq: int | None,
        train: bool | None,
        optimizer: str | None,
        dtype: str | None,
        *args: Rest.args,
        **rest: Rest.kwargs,
    ) -> None:
        said = dict(zip(_OF_A_CONFIG, (batch, seq, train, optimizer, dtype), strict=True))
        if hf is None:
            subject: Subject = _program(target, [name for name, value in said.items() if value is not None])
        else:
            _refuse_beside_a_config(target, hf, batch, optimizer, bool(train))
            assert batch is not None
            subject = Model(Workload(read_config(hf), batch, seq, bool(train), optimizer or "adamw", dtype))
        verb(subject, *args, **rest)

    return with_subject


def _program(target: str | None, said: list[str]) -> Program:
    if target is None:
        raise click.UsageError("Missing argument 'FILE.py:NAME'. Or give a model's config: --hf config.json --batch 8")
    if said:
        raise click.UsageError(f"--{said[0]} is of a model's config (--hf); {target} says it in Python")
    return Program(target)


def _refuse_beside_a_config(target: str | None, hf: str, batch: int | None, optimizer: str | None, train: bool) -> None:
    if target is not None:
        raise click.UsageError(f"both {target} and --hf {hf} say what to plan; leave one of them out")
    if batch is None:
        raise click.UsageError("--hf: say how many inputs the model reads at once, such as --batch 8")
    if optimizer is not None and not train:
        raise click.UsageError("--optimizer is for --train: without it nothing is updated")
