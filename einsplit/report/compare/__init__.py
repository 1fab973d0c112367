"""Our plan beside the plans of every rival, under the same price: rows, a table, a picture."""

from einsplit.report.compare.rows import LEAST_LEAD, RIVALS, Row, compared
from einsplit.report.compare.text import cheaper_lines, compared_text

__all__ = ["LEAST_LEAD", "RIVALS", "Row", "cheaper_lines", "compared", "compared_text"]
