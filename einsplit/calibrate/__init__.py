"""What the machine at hand does, measured as the runtime runs, and fitted to the figures of a Machine."""

from einsplit.calibrate.door import BACKENDS, calibrate
from einsplit.calibrate.fitting import Calibration, Row, fit
from einsplit.calibrate.samples import Exchange, Matmul, Pass, Pointwise, Samples

__all__ = [
    "BACKENDS",
    "Calibration",
    "Exchange",
    "Matmul",
    "Pass",
    "Pointwise",
    "Row",
    "Samples",
    "calibrate",
    "fit",
]
