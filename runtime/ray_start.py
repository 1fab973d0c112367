"""Ray itself: the cluster that is there, or else a private one on this machine.

A private cluster listens on the loopback interface only, keeps Ray's token authentication, and has neither
dashboard nor usage statistics. Which cluster is taken, first match first:

    Ray is initialised in this process   use it, and leave it running RAY_ADDRESS is set
    connect to it, and disconnect after the last session otherwise                            start a private
    one, and shut it down after the last session, or at exit
"""

import logging
import os
import site
import sys
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from einsplit.errors import RunError

__all__ = ["RayLease"]

LOOPBACK = "127.0.0.1"
# Ray replaces a loopback address by one that other machines can reach, unless it is told that there will be
# no other machines. It reads this when it is imported. (ray/_private/services.py, get_node_ip_address.)
SINGLE_MACHINE = {"RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0"}

lock = threading.Lock()
# Ray is one per process, so who shares it must be counted per process.
leases: set["RayLease"] = set()


class RayLease:
    """A claim on this process's Ray. `private`: we started the cluster. The last `release` undoes what the
    first did.
    """

    _ours: bool = False  # this process's Ray was initialised here
    _private: bool = False

    def __init__(self, num_workers: int) -> None:
        with lock:
            # Also where the user has shut down Ray under a session: that one is lost, a new one need not be.
            if not leases or not initialised():
                RayLease._ours, RayLease._private = connect(num_workers)
            leases.add(self)
            self.private = RayLease._private

    def release(self) -> None:
        """Give up the claim. A second call does nothing."""
        with lock:
            if self not in leases:
                return
            leases.remove(self)
            if not leases and RayLease._ours and initialised():
                import ray

                ray.shutdown()


def initialised() -> bool:
    # Asking must not import Ray: its environment is not set yet.
    if "ray" not in sys.modules:
        return False
    import ray

    return ray.is_initialized()


def connect(num_workers: int) -> tuple[bool, bool]:
    """Whether Ray had to be initialised here, and whether that started a private cluster. Raises RunError if
    Ray fails.
    """
    if initialised():
        return False, False
    private = not os.environ.get("RAY_ADDRESS")
    try:
        if private:
            start_private(num_workers)
        else:
            import ray

            ray.init(log_to_driver=False, logging_level=logging.ERROR)
    except (RuntimeError, ConnectionError, OSError, ValueError) as error:
        where = "a private cluster" if private else f"the cluster at RAY_ADDRESS={os.environ['RAY_ADDRESS']}"
        raise RunError(f"Ray could not be initialised with {where}: {error}") from error
    return True, private


def start_private(num_workers: int) -> None:
    if (
        "ray" in sys.modules
        and os.environ.get("RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER") != "0"
        and sys.platform == "linux"
    ):
        warnings.warn(
            "Ray was imported before einsplit could tell it to stay on this machine, so the cluster now "
            "started listens on every network interface (its token authentication is on). Let einsplit "
            "import Ray, or set RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER=0 before the import.",
            RuntimeWarning,
            stacklevel=2,
        )
    with environment({**SINGLE_MACHINE, "RAY_USAGE_STATS_ENABLED": "0", "PYTHONPATH": python_path()}):
        import ray

        ray.init(
            address="local",
            num_cpus=num_workers,  # so many processes are started ahead; workers themselves ask for no CPU
            include_dashboard=False,
            log_to_driver=False,
            logging_level=logging.ERROR,
            _node_ip_address=LOOPBACK,
        )


def python_path() -> str:
    """PYTHONPATH for processes that must find this einsplit, wherever the driver was started and found it."""
    inherited = os.environ.get("PYTHONPATH", "")
    home = str(Path(__file__).parents[2])
    # An installed einsplit is found anyway; and site-packages before the standard library would shadow parts
    # of it.
    if home in (*site.getsitepackages(), site.getusersitepackages()):
        return inherited
    return os.pathsep.join(part for part in (home, inherited) if part)


@contextmanager
def environment(variables: dict[str, str]) -> Iterator[None]:
    """With these environment variables set; afterwards as before, for what else the user starts."""
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
