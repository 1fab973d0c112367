"""Imports go one way, under one name, and `import einsplit` is light."""

import ast
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
# What a user enters by: only the doors may import all three packages. The rest of einsplit/ is the core.
DOORS = (
    "__init__",
    "__main__",
    "api",
    "calibrate",
    "capture",
    "cli",
    "eager",
    "huggingface",
    "parallelized",
    "report",
    "training",
)
# What may call a door from the core: an einsum or a kernel on torch tensors, loaded by who has loaded torch.
TO_EAGER = ("einsplit.einsum.door", "einsplit.kernels.door")
# What the runtime may know of the solver.
RUNTIME_KNOWS = ("einsplit.solver.program",)


def python_files(top: Path) -> list[Path]:
    """All .py files at or below `top`: no links, no hidden folders, no environments, no build outputs."""
    found: list[Path] = []
    for where, folders, names in os.walk(top):
        environments = {name for name in folders if Path(where, name, "pyvenv.cfg").exists()}
        skipped = {"build", "dist", *environments}
        folders[:] = [name for name in folders if not name.startswith(".") and name not in skipped]
        found += [Path(where, name) for name in names if name.endswith(".py")]
    return sorted(found)


def module_name(path: Path) -> str:
    """The name a file is imported under: solver/plan.py is einsplit.solver.plan."""
    parts = path.relative_to(ROOT).with_suffix("").parts
    if parts[0] in ("solver", "runtime"):
        parts = ("einsplit", *parts)
    return ".".join(parts)


def imported(source: str, module: str) -> Iterator[str]:
    """Absolute names of everything `source`, being `module`, imports anywhere in it.

    `from a import b` gives "a.b", for b may be a module. `import_module("a.b")` with a literal counts too.
    """
    package = module.split(".")[:-1]  # of x.__init__ too: the name keeps its last part
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            base = [*base, *(node.module.split(".") if node.module else [])]
            yield from (".".join([*base, alias.name]) for alias in node.names)
        elif isinstance(node, ast.Call) and ast.unparse(node.func).endswith("import_module"):
            constants = (argument for argument in node.args[:1] if isinstance(argument, ast.Constant))
            yield from (constant.value for constant in constants if isinstance(constant.value, str))


def within(name: str, package: str) -> bool:
    return name == package or name.startswith(package + ".")


def may_import(module: str, name: str) -> bool:
    """The rule: doors see all; solver and core see the core; the runtime sees the core and the Program."""
    if not within(name, "einsplit"):
        return True
    importer, target = module.split(".")[1], name.split(".")[1] if "." in name else "__init__"
    if importer == "runtime":
        within_runtime = any(within(name, known) for known in RUNTIME_KNOWS)
        return target == "runtime" or within_runtime or target not in (*DOORS, "solver")
    if importer == "solver":
        return target not in (*DOORS, "runtime")
    if module in TO_EAGER and target == "eager":
        return True
    return importer in DOORS or target not in (*DOORS, "solver", "runtime")


@pytest.mark.parametrize(
    "module, source, names",
    [
        ("einsplit.graph", "import os, einsplit.solver.plan as p", ["os", "einsplit.solver.plan"]),
        ("einsplit.graph", "def f():\n    from einsplit import solver", ["einsplit.solver"]),
        ("einsplit.graph", "from .solver.plan import Plan", ["einsplit.solver.plan.Plan"]),
        ("einsplit.solver.published.x", "from ..plan import Plan", ["einsplit.solver.plan.Plan"]),
        ("einsplit.kernels.__init__", "from . import nn", ["einsplit.kernels.nn"]),
        ("einsplit.graph", "importlib.import_module('einsplit.runtime')", ["einsplit.runtime"]),
        ("einsplit.graph", "importlib.import_module(name)", []),
    ],
)
def test_the_scan_sees_every_form_of_import(module: str, source: str, names: list[str]) -> None:
    assert list(imported(source, module)) == names


@pytest.mark.parametrize(
    "module, name, allowed",
    [
        ("einsplit.graph", "numpy", True),
        ("einsplit.graph", "einsplit.notation", True),
        ("einsplit.graph", "einsplit.solver.plan", False),
        ("einsplit.graph", "einsplit.api.plan", False),
        ("einsplit.graph", "einsplit.eager", False),
        ("einsplit.einsum.door", "einsplit.eager.einsum_tensors", True),
        ("einsplit.einsum.door", "einsplit.runtime.kernels", False),
        ("einsplit.api", "einsplit.runtime.local", True),
        ("einsplit.solver.plan", "einsplit.graph.Graph", True),
        ("einsplit.solver.plan", "einsplit.runtime.local", False),
        ("einsplit.runtime.local", "einsplit.solver.program.Program", True),
        ("einsplit.runtime.local", "einsplit.solver.plan.Plan", False),
    ],
)
def test_the_rule_of_one_way(module: str, name: str, allowed: bool) -> None:
    assert may_import(module, name) is allowed


def test_imports_go_one_way() -> None:
    files = [path for folder in ("einsplit", "solver", "runtime") for path in python_files(ROOT / folder)]
    assert files, "no source files found"
    wrong = [
        f"{path.relative_to(ROOT)} imports {name}"
        for path in files
        for name in imported(path.read_text(encoding="utf-8"), module_name(path))
        if not may_import(module_name(path), name)
    ]
    assert not wrong, "core <- solver <- doors and core <- runtime <- doors, never back:\n" + "\n".join(wrong)


def test_nobody_imports_the_bare_names_solver_and_runtime() -> None:
    wrong = [
        f"{path.relative_to(ROOT)} imports {name}"
        for path in python_files(ROOT)
        for name in imported(path.read_text(encoding="utf-8"), module_name(path))
        if within(name, "solver") or within(name, "runtime")
    ]
    assert not wrong, "write einsplit.solver and einsplit.runtime:\n" + "\n".join(wrong)


def least_seconds(module: str) -> tuple[float, set[str]]:
    """Processor time of an import, the least of seven fresh interpreters, and what it loads."""
    program = (
        f"import sys, time; start = time.process_time(); import {module}; "
        "print(time.process_time() - start, *sys.modules)"
    )
    seconds: list[float] = []
    modules: list[str] = []
    for _ in range(7):
        out = subprocess.check_output([sys.executable, "-c", program], cwd=ROOT, text=True)
        taken, *modules = out.split()
        seconds.append(float(taken))
    return min(seconds), set(modules)


def test_import_einsplit_is_light() -> None:
    """Under 0.3 s or, where the machine is slow, four times what numpy takes; neither torch nor ray is loaded."""
    seconds, modules = least_seconds("einsplit")
    heavy = {"torch", "ray", "transformers", "pulp", "highspy"} & modules
    assert not heavy, f"import einsplit loads {', '.join(sorted(heavy))}"
    limit = max(0.3, 4 * least_seconds("numpy")[0])
    assert seconds < limit, f"import einsplit takes {seconds} s of {limit}"
