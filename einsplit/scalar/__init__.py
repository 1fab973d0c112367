"""The closed algebra of scalar functions: joins as text, traced functions and trees; their dtype and meaning.

What a join written as a Python function calls (`where`, `exp`, `index` ...) is in `einsplit.scalar.trace`.
"""

from einsplit.scalar.analysis import (
    is_linear,
    is_product,
    labels_of,
    num_operations,
    operands_of,
    parts,
    rewrite,
    substitute,
)
from einsplit.scalar.counter import random_bits
from einsplit.scalar.expr import Expr, call, cast, const, index, operand, to_text
from einsplit.scalar.gradient import adjoints
from einsplit.scalar.meaning import NUMPY, evaluate, run_steps
from einsplit.scalar.operators import OPERATORS
from einsplit.scalar.parse import parse_join
from einsplit.scalar.simplify import simplify
from einsplit.scalar.trace import Symbol, trace_join
from einsplit.scalar.typed import Step, result_dtype, typed_steps

__all__ = [
    "NUMPY",
    "OPERATORS",
    "Expr",
    "Step",
    "Symbol",
    "adjoints",
    "call",
    "cast",
    "const",
    "evaluate",
    "index",
    "is_linear",
    "is_product",
    "labels_of",
    "num_operations",
    "operand",
    "operands_of",
    "parse_join",
    "parts",
    "random_bits",
    "result_dtype",
    "rewrite",
    "run_steps",
    "simplify",
    "substitute",
    "to_text",
    "trace_join",
    "typed_steps",
]
