"""einsplit works from any folder and beside a user's own solver.py; its wheel holds only einsplit."""

import os
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
FOLDERS = ("einsplit", "solver", "runtime")

ACTOR = """\
import ray
import runtime, solver  # the user's own, beside this script

@ray.remote
class Worker:
    def names(self):
        import einsplit.runtime, einsplit.solver
        import runtime, solver
        owners = [getattr(module, "OWNER", "einsplit") for module in (solver, runtime)]
        return einsplit.solver.__name__, einsplit.runtime.__name__, *owners

if __name__ == "__main__":
    ray.init(num_cpus=1, include_dashboard=False, log_to_driver=False, logging_level="error")
    try:
        print(*ray.get(Worker.remote().names.remote(), timeout=60))
        print(solver.OWNER, runtime.OWNER)
    finally:
        ray.shutdown()
"""


def python(*arguments: str, cwd: Path) -> str:
    """Standard output of this interpreter, which must succeed within two minutes."""
    done = subprocess.run(
        [sys.executable, *arguments],
        cwd=cwd,
        env=os.environ | {"RAY_USAGE_STATS_ENABLED": "0"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, f"python {' '.join(arguments)} in {cwd}:\n{done.stdout}\n{done.stderr}"
    return done.stdout


@pytest.fixture(params=["root", "elsewhere"])
def cwd(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    return ROOT if request.param == "root" else tmp_path


def test_python_dash_m_einsplit_works(cwd: Path) -> None:
    assert "plan" in python("-m", "einsplit", "--help", cwd=cwd)


def test_pytest_collects(cwd: Path) -> None:
    out = python("-m", "pytest", "--collect-only", "-q", str(ROOT / "tests/house/test_layout.py"), cwd=cwd)
    assert "test_no_file_is_longer_than_300_lines" in out


def test_both_packages_import_under_their_one_name(cwd: Path) -> None:
    program = "import einsplit.solver as s, einsplit.runtime as r; print(s.__name__, r.__name__)"
    assert python("-c", program, cwd=cwd).split() == ["einsplit.solver", "einsplit.runtime"]


def test_a_ray_actor_imports_einsplit_beside_a_users_own_solver(cwd: Path, tmp_path: Path) -> None:
    for name in ("solver", "runtime"):
        (tmp_path / f"{name}.py").write_text("OWNER = 'the-user'\n")
    script = tmp_path / "train.py"
    script.write_text(ACTOR)
    in_actor, in_driver = python(str(script), cwd=cwd).splitlines()[-2:]
    assert in_driver == "the-user the-user"
    # Ray puts the driver's working directory before the script's own: in the root of the repository the bare
    # names are its folders, for any package. Ours must not depend on that.
    owner = "einsplit" if cwd == ROOT else "the-user"
    assert in_actor == f"einsplit.solver einsplit.runtime {owner} {owner}"


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of what the build reads, links kept: building in the checkout would leave folders behind."""
    copy = tmp_path_factory.mktemp("source")
    for folder in FOLDERS:
        ignore = shutil.ignore_patterns("__pycache__")
        shutil.copytree(ROOT / folder, copy / folder, symlinks=True, ignore=ignore)
    for name in ("pyproject.toml", "LICENSE", "README.md"):
        shutil.copy(ROOT / name, copy)
    return copy


def expected(source: Path) -> set[str]:
    """Every file of the three folders, under the name it is imported by."""
    walk = (entry for folder in FOLDERS for entry in os.walk(source / folder))
    files = [Path(where, name).relative_to(source) for where, _, names in walk for name in names]
    return {str(path if path.parts[0] == "einsplit" else "einsplit" / path) for path in files}


@pytest.mark.parametrize("kind", ["wheel", "sdist"])
def test_a_distribution_holds_every_file_once_and_no_bare_solver(kind: str, source: Path, tmp_path: Path) -> None:
    build = f"import setuptools.build_meta as b; print(b.build_{kind}({str(tmp_path)!r}))"
    built = python("-c", build, cwd=source).split()[-1]
    if kind == "wheel":
        names = zipfile.ZipFile(tmp_path / built).namelist()
    else:
        with tarfile.open(tmp_path / built) as archive:
            links = [member.name for member in archive if member.issym() or member.islnk()]
            assert not links, "a link in an archive may not survive unpacking"
            names = [name.partition("/")[2] for name in archive.getnames()]
    missing = expected(source) - set(names)
    assert not missing, f"not in the {kind}: {sorted(missing)}"
    assert len(names) == len(set(names))
    top_level = {name.split("/")[0] for name in names}
    assert not top_level & {"solver", "runtime", "tests"}, f"the {kind} claims {sorted(top_level)}"
