"""What einsplit made of a program: which work can be cut, what runs whole and why, and the refusal of the latter."""

from __future__ import annotations

from einsplit.report.strict import refuse_whole
from einsplit.report.text import understood_text
from einsplit.report.understood import Row, Understood, share_cuttable, understood

__all__ = ["Row", "Understood", "refuse_whole", "share_cuttable", "understood", "understood_text"]
