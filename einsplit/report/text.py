"""Understood as text of at most 100 columns: totals, kinds under the labels that can cut them, what runs whole and why.

The figures under the second heading add up to all there is: what is small is counted, in lines that say of how many.
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Sequence

from einsplit.report.understood import ENOUGH, Row, Sized, Understood
from einsplit.report.why import SINGLE, line_text
from einsplit.solver.units import bytes_text, rate_text

WIDTH = 100
LEAST = 0.01  # kinds with a smaller share of everything are listed on demand only
HEADER = ("nodes", "operations", " bytes", "parameters")
MARGIN = sum(len(word) + 2 for word in HEADER)  # where names begin


def understood_text(found: Understood, full: bool = False) -> str:
    """The report; `full` lists every kind, those too that have less than a hundredth of everything."""
    work = sum(row.nodes for row in found.rows)
    flops = rate_text(found.operations, "FLOP").removesuffix("/s")
    head = (
        f"{_counted(found.num_nodes, 'node')}, {work} of them to compute: {flops}, "
        f"{bytes_text(found.bytes)} read and written, {bytes_text(found.parameter_bytes)} of parameters"
    )
    if not found.rows:
        return head
    return "\n".join([head, "", *_totals(found), "", *_groups(found, full), *_reasons(found)])


def _totals(found: Understood) -> Iterator[str]:
    """How much can be cut by several labels, by one, by none."""
    yield "  ".join(HEADER)
    many = [row for row in found.rows if len(row.labels) >= ENOUGH]
    one = [row for row in found.rows if len(row.labels) == 1]
    none = [row for row in found.rows if not row.labels]
    yield _line(many, found, f"can be cut by {ENOUGH} labels or more")
    yield _line(one, found, "by 1 label")
    yield _line(none, found, "by none: every device repeats this work")


def _groups(found: Understood, full: bool) -> Iterator[str]:
    """For each set of labels what it can cut, and of which kinds that is."""
    yield "  ".join((*HEADER, "can be cut by these labels, of these kinds"))
    groups: dict[tuple[object, ...], list[Row]] = {}
    for row in found.rows:
        labels = (frozenset(row.labels), frozenset(row.whole)) if row.labels else (_runs_whole(row),)
        groups.setdefault(labels, []).append(row)
    rest: list[Row] = []
    for rows in groups.values():
        if full or _is_large(rows, found) or _runs_whole(rows[0]):
            yield from _group(rows, found, full)
        else:
            rest += rows
    if len(rest) == 1:
        yield from _group(rest, found, full)
    elif rest:
        yield _line(rest, found, f"others: {len(rest)} small kinds; --full lists them")


def _group(rows: Sequence[Row], found: Understood, full: bool) -> Iterator[str]:
    """The labels with all that they can cut, and below them its kinds, with figures where those are others."""
    first, *more = textwrap.wrap(_cut_text(rows[0]), WIDTH - MARGIN, break_on_hyphens=False)
    yield _line(rows, found, first)
    yield from (" " * MARGIN + line for line in more)
    if len(rows) == 1:
        yield " " * (MARGIN + 2) + _tail(rows[0].kind, WIDTH - MARGIN - 2)
        return
    large = [row for row in rows if full or _is_large([row], found)]
    small = [row for row in rows if row not in large]
    for row in [*large, *small] if len(small) == 1 else large:
        yield _line([row], found, "  " + _tail(row.kind, WIDTH - MARGIN - 2))
    if not large:
        yield " " * (MARGIN + 2) + f"{len(small)} small kinds; --full lists them"
    elif len(small) > 1:
        yield _line(small, found, f"  {len(small)} small kinds; --full lists them")


def _reasons(found: Understood) -> Iterator[str]:
    """What runs whole, why, and the user's line."""
    whole = [row for row in found.rows if _runs_whole(row)]
    if not whole:
        return
    yield ""
    yield f"{_counted(len(whole), 'kind')} {'run' if len(whole) > 1 else 'runs'} whole"
    for row in whole:
        yield from textwrap.wrap(f"{row.kind}: {row.why}", WIDTH, initial_indent="  ", subsequent_indent="    ")
        line = line_text(row.source, short=True)
        if line:
            yield f"    {line}" if len(line) <= WIDTH - 4 else f"    {line[: WIDTH - 7]}..."


def _cut_text(row: Row) -> str:
    """The labels that can cut a row's nodes, and those that must be whole there."""
    if not row.labels:
        return "nothing: a single number" if row.why == SINGLE else "nothing: runs whole"
    return _labels_text(row.labels) + (f"; whole: {_labels_text(row.whole)}" if row.whole else "")


def _line(rows: Sequence[Row], found: Understood, text: str) -> str:
    """Number of nodes and shares of several rows, under the words of the header, and what they are."""
    cells = (
        str(sum(row.nodes for row in rows)),
        percent_text(sum(row.operations for row in rows), found.operations),
        percent_text(sum(row.bytes for row in rows), found.bytes),
        percent_text(sum(row.parameter_bytes for row in rows), found.parameter_bytes),
    )
    return "  ".join([*(cell.rjust(len(word)) for cell, word in zip(cells, HEADER, strict=True)), text])


def percent_text(part: int, total: int) -> str:
    """`12.3 %`; nothing but all is `100 %`, and nothing but nothing is `0 %`."""
    if part in (0, total):
        return "0 %" if part == 0 else "100 %"
    value = 100 * part / total
    return "<0.1 %" if value < 0.05 else f"{min(value, 99.9):.1f} %"


def _runs_whole(row: Row) -> bool:
    return row.why not in ("", SINGLE)


def _is_large(rows: Sequence[Row], found: Understood) -> bool:
    """Whether the rows together have a hundredth of anything."""
    parts = (
        (sum(row.operations for row in rows), found.operations),
        (sum(row.bytes for row in rows), found.bytes),
        (sum(row.parameter_bytes for row in rows), found.parameter_bytes),
    )
    return any(part and part >= LEAST * total for part, total in parts)


def _labels_text(labels: Sized) -> str:
    return " ".join(f"{label}={size}" for label, size in labels)


def _counted(count: int, word: str) -> str:
    return f"{count} {word}" + ("" if count == 1 else "s")


def _tail(name: str, width: int) -> str:
    """The name, or as much of its end as fits."""
    return name if len(name) <= width else "..." + name[3 - width :]
