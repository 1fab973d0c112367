"""A user's function -> an exported torch program that writes in place nowhere, and the tensors that it reads."""

from einsplit.capture.export.exported import Exported, export

__all__ = ["Exported", "export"]
