"""What an exported program does not say of gradients: where none flow, and what of them is written in Python."""

from einsplit.capture.export.gradients.custom import custom_functions, refuse_custom
from einsplit.capture.export.gradients.histories import keep_histories
from einsplit.capture.export.gradients.hooks import WatchedGradients, asked_for_gradients, refuse_hooks
from einsplit.capture.export.gradients.stops import keep_stops

__all__ = [
    "WatchedGradients",
    "asked_for_gradients",
    "custom_functions",
    "keep_histories",
    "keep_stops",
    "refuse_custom",
    "refuse_hooks",
]
