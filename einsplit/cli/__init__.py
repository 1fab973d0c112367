"""The command line: `einsplit plan`, `einsplit explain`, `einsplit run`.

Exit codes: 0 done; 1 a fault of einsplit itself; 2 bad input or usage; 3 a run failed; 130 interrupted.
"""

from __future__ import annotations

import sys
from importlib.metadata import PackageNotFoundError, version

import click

from einsplit.cli.explain import explain
from einsplit.cli.plan import plan
from einsplit.cli.run import run
from einsplit.errors import EinsplitError, RunError

EPILOG = "Exit codes: 0 done, 1 a fault of einsplit itself, 2 bad input or usage, 3 a run failed, 130 interrupted."


def _version() -> str:
    try:
        return version("einsplit")
    except PackageNotFoundError:  # run from a checkout that is not installed
        return "unknown"


@click.group(epilog=EPILOG, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(_version(), prog_name="einsplit")
def cli() -> None:
    """Decide how to cut a tensor computation over many devices, and run it.

    \b
    einsplit plan model.py:example --devices 4 -o plan.json
    einsplit explain plan.json
    einsplit run model.py:example --plan plan.json --backend ray
    """


cli.add_command(plan)
cli.add_command(explain)
cli.add_command(run)


def main() -> None:
    """Run the command line and exit with its code."""
    try:
        cli.main(prog_name="einsplit", standalone_mode=False)
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
    except BrokenPipeError:  # the reader of our output has gone, as in `einsplit explain plan.json | head`
        sys.stderr.close()
        sys.exit(0)


def _report(error: EinsplitError) -> None:
    click.echo(f"{type(error).__name__}: {error}", err=True)
