"""Random einsums, drawn as labels, shapes and a tree; from these the text for `einsum` is written.

Nothing here knows the notation's parser, the scalar algebra or the evaluator. What a case must give is found in
`tests.language.einsums.loop`.
"""

import math
from dataclasses import dataclass, field
from random import Random

import numpy as np
from hypothesis import strategies as st

Number = bool | int | float
Tree = tuple  # ("x", k) operand, ("i", label) index, ("c", number), or (operator, tree ...)
Dims = list[list[str]]

LABELS = ["a", "b", "c", "d"]
AGGS = {
    "int": ["sum", "prod", "max", "min"],
    "float": ["sum", "prod", "max", "min", "logsumexp", "mean"],
    "bool": ["sum", "prod", "max", "min", "any", "all"],
}
INFIX = ["+", "-", "*", "//", "%", "<", "<=", "==", "!=", "and", "or"]
ARITHMETIC = {"int": ["+", "-", "*", "//", "%", "max", "min"], "float": ["+", "-", "*", "max", "min"]}
TAMED = {  # functions of floats, of arguments for which they are smooth
    "tanh": lambda x: x,
    "sin": lambda x: x,
    "cos": lambda x: x,
    "sigmoid": lambda x: x,
    "erf": lambda x: x,
    "half": lambda x: x,
    "exp": lambda x: ("sin", x),
    "sqrt": lambda x: ("+", ("abs", x), ("c", 1)),
    "rsqrt": lambda x: ("+", ("abs", x), ("c", 1)),
    "log": lambda x: ("+", ("abs", x), ("c", 1)),
}


@dataclass
class Case:
    """One einsum: what is drawn of it, and how it is written."""

    sizes: dict[str, int]
    hidden: int  # how many of the labels h0, h1 ... stand under an ellipsis
    operands: list[Dims]  # `[["..."]]` marks where the ellipsis stands
    depths: list[int]  # how many hidden dimensions each operand has
    out: Dims
    arrays: list[np.ndarray]
    join: Tree | None
    agg: str
    kind: str
    given: dict[str, int] = field(default_factory=dict)

    @property
    def spec(self) -> str:
        return f"{', '.join(_dims_text(dims) for dims in self.operands)} -> {_dims_text(self.out)}"

    @property
    def text(self) -> str | None:
        return None if self.join is None else _text(self.join, len(self.operands))

    def labels(self, position: int) -> list[list[str]]:
        """The labels of each dimension of an operand, hidden ones in place."""
        return _spelled(self.operands[position], self.depths[position])

    @property
    def out_labels(self) -> list[list[str]]:
        return _spelled(self.out, self.hidden)


def _spelled(dims: Dims, depth: int) -> list[list[str]]:
    found = []
    for dim in dims:
        found += [[f"h{k}"] for k in reversed(range(depth))] if dim == ["..."] else [dim]
    return found


def _dims_text(dims: Dims) -> str:
    texts = [dim[0] if len(dim) == 1 else f"({' '.join(dim)})" if dim else "1" for dim in dims]
    return " ".join(texts)


def _text(tree: Tree, num_operands: int) -> str:
    op, *args = tree
    if op == "x":
        return "xyz"[args[0]] if num_operands <= 3 and args[0] < 3 else f"x{args[0]}"
    if op == "i":
        return f"index({args[0]})"
    if op == "c":
        return str(args[0]).lower() if isinstance(args[0], bool) else repr(args[0])
    texts = [_text(arg, num_operands) for arg in args]
    if op in INFIX:
        return f"({texts[0]} {op} {texts[1]})"
    if op == "half":
        return f"({texts[0]} / 2)"
    return f"(-{texts[0]})" if op == "neg" else f"(not {texts[0]})" if op == "not" else f"{op}({', '.join(texts)})"


# ------------------------------------------------------------------------------------------------- drawing


def cases(kind: str, products: bool = False) -> st.SearchStrategy[Case]:
    """Random einsums over integers, floats or truth values; with `products`, sums of products.

    Hypothesis draws the seed only: drawing every choice took ten times as long as what is tested.
    """
    return st.integers(0, 2**48).map(lambda seed: draw_case(Random(seed), kind, products))


def draw_case(random: Random, kind: str, products: bool = False) -> Case:
    labels = LABELS[: random.randint(1, 4)]
    sizes = {label: random.choice([1, 2, 2, 3, 3]) for label in labels}
    hidden = random.choice([0, 0, 0, 1, 2])
    sizes |= {f"h{k}": random.randint(1, 2) for k in range(hidden)}
    operands: list[Dims] = []
    depths: list[int] = []
    for position in range(random.choice([1, 2, 2, 3, 4])):
        dims = [_draw_dim(random, labels) for _ in range(random.randint(0, 2 if hidden else 3))]
        depth = hidden if position == 0 else random.randint(0, hidden)
        if hidden and (position == 0 or random.random() < 0.7):
            dims.insert(random.randint(0, len(dims)), ["..."])
            depths.append(depth)
        else:
            depths.append(0)
        operands.append(dims)
    met = list(dict.fromkeys(label for dims in operands for dim in dims for label in dim if label != "..."))
    out_labels = random.sample(labels, random.randint(0, max(0, len(labels) - random.randint(0, 2))))
    out = _grouped(random, out_labels)
    if hidden:
        out.insert(random.randint(0, len(out)), ["..."])
    given = {label: sizes[label] for label in out_labels if label not in met}
    given |= {label: sizes[label] for dims in operands for dim in dims if len(dim) > 1 for label in dim}
    reach = list(dict.fromkeys((*met, *out_labels)))
    join = None if products else draw_join(random, kind, len(operands), reach)
    agg = "sum" if products else random.choice(AGGS[kind])
    case = Case(sizes, hidden, operands, depths, out, [], join, agg, kind, given)
    for position in range(len(operands)):
        shape = [math.prod(sizes[label] for label in dim) for dim in case.labels(position)]
        case.arrays.append(_array(random, kind, shape))
    return case


def _draw_dim(random: Random, labels: list[str]) -> list[str]:
    """A plain label mostly, else a dimension of none or of several."""
    return random.choices(labels, k=random.choice([1, 1, 1, 1, 0, 2]))


def _grouped(random: Random, labels: list[str]) -> Dims:
    """The labels dealt out over dimensions, sizes 1 between them."""
    dims: Dims = []
    for label in labels:
        choice = random.randint(0, 5)
        if choice == 0 and dims:
            dims[-1].append(label)
        else:
            dims += [[]] * (choice == 1) + [[label]]
    return [list(dim) for dim in dims]


def _array(random: Random, kind: str, shape: list[int]) -> np.ndarray:
    numbers = np.reshape([random.randint(-4, 4) for _ in range(math.prod(shape))], shape).astype("int64")
    if kind == "bool":
        return np.asarray(numbers > 0)
    return np.asarray(numbers / 4 if kind == "float" else numbers)  # quarters: sums and products are exact


def draw_join(random: Random, kind: str, num_operands: int, labels: list[str]) -> Tree:
    """A random join that gives `kind`; of floats, no step of it is steep."""

    def operand() -> Tree:
        return ("x", random.randrange(num_operands))

    def leaf() -> Tree:
        choice = random.randint(0, 5)
        return (
            ("i", random.choice(labels)) if choice == 0 and labels else ("c", choice - 3) if choice < 2 else operand()
        )

    def test() -> Tree:  # of what is exact, so that no rounding decides it
        if kind == "bool":
            return truth(1)
        return (random.choice(["<", "<=", "==", "!="]), operand(), leaf())

    def truth(depth: int) -> Tree:
        choice = random.randint(0, 5 if depth else 1)
        if choice == 0 and labels:
            return (random.choice(["<", "<=", "=="]), ("i", random.choice(labels)), ("c", random.randint(0, 2)))
        if choice <= 1:
            return operand()
        if choice == 2:
            return ("not", truth(depth - 1))
        if choice == 3:
            return ("where", truth(depth - 1), truth(depth - 1), truth(depth - 1))
        return (random.choice(["and", "or", "==", "!="]), truth(depth - 1), truth(depth - 1))

    def number(depth: int) -> Tree:
        choice = random.randint(0, 5 if depth else 0)
        if choice == 0:
            return leaf()
        if choice == 1:
            return ("where", test(), number(depth - 1), number(depth - 1))
        if choice == 2:
            return (random.choice(["neg", "abs"]), number(depth - 1))
        if choice == 3 and kind == "float":
            name = random.choice(list(TAMED))
            return (name, TAMED[name](number(depth - 1)))
        return (random.choice(ARITHMETIC[kind]), number(depth - 1), number(depth - 1))

    if kind == "bool":
        return truth(2)
    # A join of constants alone is of no dtype yet: an operand gives it one.
    return number(3) if kind == "int" else ("+", operand(), number(2))
