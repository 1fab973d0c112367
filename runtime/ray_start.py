"""Ray itself: the cluster that is there, or else a private one on this machine.

A private cluster listens on the loopback interface only, keeps Ray's token authentication, and has neither
dashboard nor usage statistics. Which cluster is taken, first match first:

    Ray is initialised in this process   use it, and leave it running
    RAY_ADDRESS is set                   connect to it, and disconnect after the last session
    otherwise                            start a private one, and shut it down after the last session, or at exit
"""

import logging
import os
import signal
import site
import sys
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from einsplit.errors import RunError

__all__ = ["RayLease"]

LOOPBACK = "127.0.0.1"
# Ray replaces a loopback address by one that other machines can reach, unless it is told that there will be
# no other machines. It reads this when it is imported. (ray/_private/services.py, get_node_ip_address.)
SINGLE_MACHINE = {"RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0"}


@dataclass(frozen=True, slots=True)
class Connection:
    """This process's Ray, known by the node it is connected to; whether and how the connection is ours."""

    node: str
    ours: bool
    private: bool


class RayLease:
    """A claim on this process's Ray. The last `release` undoes what the first claim did.

    Raises RunError if Ray can be neither reached nor started.
    """

    connection: Connection

    def __init__(self, num_workers: int) -> None:
        with lock:
            # A connection is used again only if Ray was not shut down meanwhile, perhaps by the user.
            shared = next((lease.connection for lease in tuple(leases) if lease.alive()), None)
            self.connection = shared or connect(num_workers)
            leases.add(self)

    def alive(self) -> bool:
        """Whether this process is still connected to the Ray that was claimed."""
        return initialised() and current_node() == self.connection.node

    def release(self) -> None:
        """Give up the claim. A second call does nothing."""
        with lock:
            if self not in leases:
                return
            leases.remove(self)
            last = all(other.connection != self.connection for other in tuple(leases))
            if last and self.connection.ours and self.alive():
                import ray

                ray.shutdown()


# Ray is one per process, so who shares it must be counted per process. Reentrant: the garbage collector may
# close a forgotten session while this thread opens another one.
lock = threading.RLock()
leases: set[RayLease] = set()
imported_alone = False  # Ray was imported here, with SINGLE_MACHINE in the environment


def initialised() -> bool:
    # Asking must not import Ray: its environment is not set yet.
    if "ray" not in sys.modules:
        return False
    import ray

    return ray.is_initialized()


def current_node() -> str:
    import ray

    return ray.get_runtime_context().get_node_id()


def connect(num_workers: int) -> Connection:
    if initialised():
        return Connection(current_node(), ours=False, private=False)
    address = os.environ.get("RAY_ADDRESS")
    try:
        if address:
            import ray

            ray.init(log_to_driver=False, logging_level=logging.ERROR)
        else:
            start_private(num_workers)
    except (RuntimeError, OSError, ValueError) as error:
        what = f"be reached at RAY_ADDRESS={address}" if address else "be started on this machine"
        raise RunError(f"Ray could not {what}: {error}") from error
    # What `ray.shutdown` imports when it is first called: the garbage collector may close a forgotten session, and so
    # call it, in the middle of that very import.
    import ray.dag.compiled_dag_node

    return Connection(current_node(), ours=True, private=not address)


def start_private(num_workers: int) -> None:
    global imported_alone
    if "ray" not in sys.modules:
        imported_alone = True
    elif not imported_alone and sys.platform == "linux" and not SINGLE_MACHINE.items() <= os.environ.items():
        warnings.warn(
            "Ray was imported before einsplit could tell it to stay on this machine, so the cluster now "
            "started listens on every network interface (its token authentication is on). Let einsplit "
            "import Ray, or set RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER=0 before the import.",
            RuntimeWarning,
            stacklevel=2,
        )
    with environment({**SINGLE_MACHINE, "RAY_USAGE_STATS_ENABLED": "0", "PYTHONPATH": python_path()}):
        import ray

        try:
            with interrupts_postponed():
                ray.init(
                    address="local",
                    num_cpus=num_workers,  # so many processes are started ahead; workers themselves ask for no CPU
                    include_dashboard=False,
                    log_to_driver=False,
                    logging_level=logging.ERROR,
                    _node_ip_address=LOOPBACK,
                )
        except KeyboardInterrupt:
            ray.shutdown()
            raise


@contextmanager
def interrupts_postponed() -> Iterator[None]:
    """An interrupt in here takes effect at the end.

    Interrupted halfway, Ray leaves agents behind that live on for a minute.
    """
    before = signal.getsignal(signal.SIGINT)
    if threading.current_thread() is not threading.main_thread() or before is None:  # not ours to change
        yield
        return
    interrupts: list[int] = []
    signal.signal(signal.SIGINT, lambda number, frame: interrupts.append(number))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
    if interrupts:
        signal.raise_signal(signal.SIGINT)


def python_path() -> str:
    """PYTHONPATH for processes that must find this einsplit, wherever the driver was started and found it."""
    inherited = os.environ.get("PYTHONPATH", "")
    home = str(Path(__file__).parents[2])
    # An installed einsplit is found anyway; and site-packages before the standard library would shadow parts of it.
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
