"""The command line: `einsplit plan`, `einsplit explain`, `einsplit run`.

Exit codes: 0 done; 1 a fault of einsplit itself; 2 bad input or usage; 3 a run failed; 130 interrupted.
"""

from __future__ import annotations

import os
import sys
from importlib.metadata import PackageNotFoundError, version

import click

from einsplit.cli.calibrate import calibrate
from einsplit.cli.check import check
from einsplit.cli.compare import compare
from einsplit.cli.diff import diff
from einsplit.cli.explain import explain
from einsplit.cli.machines import machines
from einsplit.cli.plan import plan
from einsplit.cli.run import run
from einsplit.errors import EinsplitError, RunError, did_you_mean

EPILOG = "Exit codes: 0 done, 1 a fault of einsplit itself, 2 bad input or usage, 3 a run failed, 130 interrupted."


def _version() -> str:
    try:
        return version("einsplit")
    except PackageNotFoundError:  # run from a checkout that is not installed
        return "unknown"


class _Verbs(click.Group):
    """A group that knows what a mistyped verb was meant to be."""

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        try:
            return super().resolve_command(ctx, args)
        except click.UsageError as error:
            verbs = self.list_commands(ctx)
            advice = did_you_mean(args[0], verbs) or f"The verbs are {', '.join(verbs)}."
            raise click.UsageError(f"{error.message} {advice}", ctx) from error


@click.group(
    cls=_Verbs, epilog=EPILOG, invoke_without_command=True, context_settings={"help_option_names": ["-h", "--help"]}
)
@click.version_option(_version(), prog_name="einsplit")
@click.pass_context
def cli(context: click.Context) -> None:
    """Decide how to cut a tensor computation over many devices, and run it.

    \b
    einsplit plan model.py:example --devices 4 -o plan.json
    einsplit explain plan.json
    einsplit run model.py:example --plan plan.json --backend ray
    """
    if context.invoked_subcommand is None:
        click.echo(context.get_help())


cli.add_command(plan)
cli.add_command(explain)
cli.add_command(diff)
cli.add_command(check)
cli.add_command(compare)
cli.add_command(run)
cli.add_command(machines)
cli.add_command(calibrate)


def main() -> None:
    """Run the command line and exit with its code."""
    try:
        with cli.make_context("einsplit", sys.argv[1:]) as context:
            cli.invoke(context)
        sys.stdout.flush()
    except click.exceptions.Exit as done:  # --help, --version
        sys.exit(done.exit_code)
    except click.ClickException as error:
        error.show()
        sys.exit(2)
    except (KeyboardInterrupt, click.Abort):
        click.echo("interrupted", err=True)
        sys.exit(130)
    except RunError as error:
        _report(error)
        sys.exit(3)
    except EinsplitError as error:
        _report(error)
        sys.exit(2)
    except BrokenPipeError:
        # The reader of our output has gone, as in `einsplit explain plan.json | head`. What is still in the
        # buffer must go somewhere when the interpreter ends.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _report(error: EinsplitError) -> None:
    click.echo(f"{type(error).__name__}: {error}", err=True)
