"""The devices a plan is made for: mesh axes and rates; presets with their sources; machine files."""

from einsplit.solver.machine.files import decode_machine, save_machine
from einsplit.solver.machine.machine import Machine
from einsplit.solver.machine.mesh import MAX_DEVICES, MeshAxis, check_devices, prime_factors, with_mesh
from einsplit.solver.machine.presets import cpu, load_machine

__all__ = [
    "MAX_DEVICES",
    "Machine",
    "MeshAxis",
    "check_devices",
    "cpu",
    "decode_machine",
    "load_machine",
    "prime_factors",
    "save_machine",
    "with_mesh",
]
