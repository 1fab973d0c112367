"""A plan as one page that needs no network: its graph, its table, its charts."""

from __future__ import annotations

from einsplit.report.page.page import page, write_page

__all__ = ["page", "write_page"]
