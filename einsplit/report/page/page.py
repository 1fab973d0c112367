"""Plan -> one HTML page: no network, no external font or script, and no text of the plan that becomes markup."""

from __future__ import annotations

import base64
import hashlib
import os
from collections.abc import Iterator
from contextlib import suppress
from importlib.resources import files
from pathlib import Path
from string import Template

from einsplit.errors import PlanError
from einsplit.report.page.boxes import SUM, WHOLE, Box, Folded, fold
from einsplit.report.page.charts import bytes_bars, memory_chart, work_bars
from einsplit.report.page.drawing import draw, drawn
from einsplit.report.page.text import clean, json_block, quoted
from einsplit.solver.plan import Plan
from einsplit.solver.plan.explain import headline, price_text, proof_text
from einsplit.solver.plan.words import NOTES, count_text, ratio, ratio_text, summed_text, words_text
from einsplit.solver.units import bytes_text, seconds_text

__all__ = ["page", "write_page"]

MAX_ROWS = 600  # of the table; of more kinds of nodes those that cost most
MAX_NOTE = 400  # letters of a sentence of our own
COLUMNS = (
    ("node", ""),
    ("nodes", "n"),
    ("cut by", ""),
    ("moves", "n"),
    ("price", "n"),
    ("runner-up", ""),
    ("costs more", "n"),
    ("words", "n"),
    ("/ bound", "n"),
    ("/ grid", "n"),
)
WORDS = {WHOLE: "whole: devices repeat the work", SUM: "sum: devices hold addends"}


def write_page(plan: Plan, path: str | Path) -> None:
    """Write the page of a plan; an old one, if any, is replaced in one step. Raises PlanError if that fails."""
    text = page(plan).encode()
    try:
        target = Path(os.path.realpath(path))  # a link stays one
        if target.exists() and not target.is_file():  # a pipe, /dev/stdout
            target.write_bytes(text)
            return
        partial = target.with_name(f".{target.name}.{os.getpid()}.partial")
        try:
            partial.write_bytes(text)
            partial.replace(target)
        finally:
            with suppress(OSError):
                partial.unlink(missing_ok=True)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise PlanError(f"page {path} cannot be written: {reason}") from error


def page(plan: Plan) -> str:
    """The page's text."""
    folded = fold(plan)
    shown = drawn(folded)
    rows = _dearest(folded)
    style, script = _part("page.css"), _part("page.js")
    return Template(_part("page.html")).substitute(
        policy=f"default-src 'none'; style-src '{_digest(style)}'; script-src '{_digest(script)}'; "
        "base-uri 'none'; form-action 'none'",
        style=style,
        script=script,
        title=quoted(headline(plan).splitlines()[0]),
        machine=quoted(plan.machine.name),
        total=quoted(price_text(plan)),
        proof=quoted(proof_text(plan)),
        facts="".join(f"<div><dt>{quoted(name)}</dt><dd>{quoted(value)}</dd></div>" for name, value in _facts(plan)),
        counted=quoted(_counted(plan, folded, len(shown))),
        legend="".join(f'<li><i class="{kind}"></i>{quoted(name)}</li>' for kind, name in _legend(folded)),
        graph=draw(folded),
        charts=memory_chart(plan) + bytes_bars(plan) + work_bars(plan),
        head="".join(_column(name, kind) for name, kind in COLUMNS),
        rows="".join(_row(at, folded.boxes[at]) for at in rows),
        rest=quoted(_rest(folded, rows)),
        words=_words(plan),
        data=json_block({"boxes": [_fields(at, folded.boxes[at]) for at in sorted({*rows, *shown})]}),
    )


def _part(name: str) -> str:
    return files(__package__).joinpath(name).read_text(encoding="utf-8")


def _digest(text: str) -> str:
    """What lets the browser run this text, and no other."""
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


def _facts(plan: Plan) -> Iterator[tuple[str, str]]:
    """The plan's figures, by name."""
    mesh = " × ".join(f"{axis.name}:{axis.size}" for axis in plan.machine.axes)
    yield "devices", f"{plan.machine.num_devices:,}" + (f" ({mesh})" if mesh else "")
    yield "a step", seconds_text(plan.seconds)
    yield "sent by each device", bytes_text(plan.bytes)
    if plan.peak_bytes:
        yield "peak memory of a device", f"{bytes_text(plan.peak_bytes)} of {bytes_text(plan.machine.memory_bytes)}"
    yield "bound", "none" if plan.bound is None else seconds_text(plan.bound)
    yield "gap", "none" if plan.gap is None else f"{100 * plan.gap:.2g} %"
    yield "method", plan.method
    yield "graph", plan.graph[:12]


def _counted(plan: Plan, folded: Folded, num_shown: int) -> str:
    """What the drawing holds, and what it leaves out."""
    said = [f"{len(plan.nodes):,} nodes, folded into {len(folded.boxes):,} kinds"]
    if num_shown < len(folded.boxes):
        said.append(f"the {num_shown:,} that cost most are drawn")
    if folded.num_hidden:
        said.append(f"{folded.num_hidden:,} copies that cost nothing are drawn as edges")
    return "; ".join(said) + "."


def _legend(folded: Folded) -> list[tuple[str, str]]:
    met = {colour for box in folded.boxes for colour in box.colours}
    return [*folded.legend, *((colour, WORDS[colour]) for colour in (WHOLE, SUM) if colour in met)]


def _dearest(folded: Folded) -> list[int]:
    """The boxes that have a row, those that cost most first."""
    order = sorted(range(len(folded.boxes)), key=lambda at: (-folded.boxes[at].seconds, -folded.boxes[at].bytes, at))
    return order[:MAX_ROWS]


def _rest(folded: Folded, rows: list[int]) -> str:
    left = set(range(len(folded.boxes))).difference(rows)
    if not left:
        return ""
    return f"and {len(left):,} more kinds, {seconds_text(sum(folded.boxes[at].seconds for at in left))} together"


def _words(plan: Plan) -> str:
    """What the words of all nodes come to, with the caveats; empty where none are known."""
    summed = summed_text(node.words for node in plan.nodes)
    notes = "".join(f"<li>{quoted(note, MAX_NOTE)}</li>" for note in NOTES)
    return f"<p>{quoted(summed, MAX_NOTE)}</p><ul>{notes}</ul>" if summed else ""


def _column(name: str, kind: str) -> str:
    return f'<th scope="col" class="{kind}"><button type="button">{name}</button></th>'


def _row(at: int, box: Box) -> str:
    marks = "".join(f'<i class="{colour}"></i>' for colour in dict.fromkeys(box.colours))
    cells = (
        f'<th scope="row">{quoted(box.name)}</th>',
        f'<td class="n">{box.count:,}</td>',
        f"<td>{marks}{quoted(box.cut)}</td>",
        f'<td class="n">{bytes_text(box.bytes)}</td>',
        f'<td class="n">{seconds_text(box.seconds)}</td>',
        f"<td>{quoted(box.runner_up)}</td>",
        f'<td class="n">{quoted(box.more)}</td>',
        *(f'<td class="n">{text}</td>' for text in _words_cells(box)),
    )
    return f'<tr data-row="{at}" class="{"free" if box.is_free else ""}">{"".join(cells)}</tr>'


def _words_cells(box: Box) -> tuple[str, ...]:
    """Words moved, and how many times the lower bound and the best grid that is."""
    words = box.words
    if words is None:
        return ("", "", "")
    return count_text(words.moved), *(ratio_text(words.moved, least) for least in (words.bound, words.grid))


def _words_order(box: Box) -> tuple[float, ...]:
    """By which the columns of words are sorted: what is not known comes first, what is over 0 last."""
    words = box.words
    if words is None:
        return (-1, -1, -1)
    return words.moved, *(ratio(words.moved, least) for least in (words.bound, words.grid))


def _fields(at: int, box: Box) -> dict[str, object]:
    """What the script knows of a box: to show it beside the drawing, to sort and to filter."""
    return {
        "at": at,
        "name": clean(box.name),
        "sort": [
            clean(box.name),
            box.count,
            clean(box.cut),
            box.bytes,
            box.seconds,
            clean(box.runner_up),
            box.more_seconds,
            *_words_order(box),
        ],
        "facts": [
            ["nodes", f"{box.count:,}"],
            ["cut by", clean(box.cut)],
            ["price", seconds_text(box.seconds)],
            ["moves", bytes_text(box.bytes)],
            ["runner-up", f"{clean(box.runner_up)}  {box.more}".strip() or "none"],
            ["words", words_text(box.words)],
            ["work", box.work],
            ["does", clean(box.does)],
            ["source", clean(box.source)],
        ],
    }
