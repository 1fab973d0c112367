"""`einsplit compare`."""

from einsplit.cli.compare.verb import compare

__all__ = ["compare"]
