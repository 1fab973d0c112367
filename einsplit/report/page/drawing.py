"""Folded -> SVG: boxes in layers, operands above their readers, coloured by cut."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from itertools import groupby

from einsplit.report.page.boxes import WHOLE, Box, Folded
from einsplit.report.page.text import quoted, tail
from einsplit.solver.plan.words import words_text
from einsplit.solver.units import bytes_text, seconds_text

__all__ = ["draw", "drawn"]

MAX_BOXES = 600  # that are drawn; of more those that cost most
MAX_EDGES = 6000  # likewise, of more those that lead the shortest way
PER_LINE = 4
WIDTH, HEIGHT = 184, 40  # of a box
ACROSS, DOWN = 18, 30  # between boxes
MARGIN = 44  # at the sides, for edges that lead back up
LETTERS = 24  # of a name, in a box
FAR = 4  # lines that an edge leads down: if more, it is drawn faintly
NUM_PASSES = 4  # over the lines, to put boxes near what they read and who reads them

NEWLINE = "\n"

Place = tuple[float, float]


def drawn(folded: Folded) -> list[int]:
    """Which boxes are drawn, in order: all, or those that cost most."""
    every = range(len(folded.boxes))
    dearest = sorted(every, key=lambda at: (-folded.boxes[at].seconds, -folded.boxes[at].bytes, at))
    return sorted(dearest[:MAX_BOXES])


def draw(folded: Folded) -> str:
    """The whole graph as one SVG element. Box k has data-box="k", an edge data-edge="operand reader"."""
    shown = drawn(folded)
    known = set(shown)
    edges = [(read, reader) for read, reader in folded.edges if read in known and reader in known]
    edges = sorted(edges, key=lambda edge: abs(folded.depths[edge[0]] - folded.depths[edge[1]]))[:MAX_EDGES]
    lines = _lines(folded, shown, edges)
    widest = max(map(len, lines), default=1)
    wide = widest * (WIDTH + ACROSS) - ACROSS + 2 * MARGIN
    tall = len(lines) * (HEIGHT + DOWN) - DOWN + 24
    places: dict[int, Place] = {}
    for number, line in enumerate(lines):
        left = (wide - len(line) * (WIDTH + ACROSS) + ACROSS) / 2
        for k, at in enumerate(line):
            places[at] = (left + k * (WIDTH + ACROSS), 12 + number * (HEIGHT + DOWN))
    dearest = max((folded.boxes[at].seconds for at in shown), default=0.0)
    paths = [_edge(edge, places) for edge in edges]
    boxes = [_box(at, folded.boxes[at], places[at], dearest) for at in shown]
    return (
        f'<svg id="graph" viewBox="0 0 {wide} {tall}" width="{wide}" height="{tall}" role="img" '
        'aria-label="The graph, operands above their readers">'
        '<defs><pattern id="hatch" width="6" height="6" patternUnits="userSpaceOnUse" '
        'patternTransform="rotate(45)"><rect class="hatch-ground" width="6" height="6"/>'
        '<rect class="hatch-line" width="2.4" height="6"/></pattern></defs>'
        f'<g class="edges">{"".join(paths)}</g>{"".join(boxes)}</svg>'
    )


def _lines(folded: Folded, shown: Sequence[int], edges: Sequence[tuple[int, int]]) -> list[list[int]]:
    """Boxes of equal depth side by side, near what they read and who reads them; a long line goes on in the next."""
    layers: dict[int, list[int]] = defaultdict(list)
    for at in shown:
        layers[folded.depths[at]].append(at)
    order = [layers[depth] for depth in sorted(layers)]
    beside: dict[int, list[int]] = defaultdict(list)
    for read, reader in edges:
        if folded.depths[read] < folded.depths[reader]:
            beside[read].append(reader)
            beside[reader].append(read)
    across = {at: k - (len(line) - 1) / 2 for line in order for k, at in enumerate(line)}
    for number in range(NUM_PASSES):
        for line in order if number % 2 == 0 else reversed(order):
            wanted = {at: _middle([across[other] for other in beside[at]], across[at]) for at in line}
            line.sort(key=lambda at: (wanted[at], at))
            across |= {at: k - (len(line) - 1) / 2 for k, at in enumerate(line)}
    return [line[k : k + PER_LINE] for line in order for k in range(0, len(line), PER_LINE)]


def _middle(values: Sequence[float], default: float) -> float:
    return sum(values) / len(values) if values else default


def _edge(edge: tuple[int, int], places: dict[int, Place]) -> str:
    """A curve down from the operand to its reader; where layers were folded, back up at the side, dashed."""
    (x1, y1), (x2, y2) = places[edge[0]], places[edge[1]]
    if y2 > y1:
        x1, y1, x2 = x1 + WIDTH / 2, y1 + HEIGHT, x2 + WIDTH / 2
        bend = min((y2 - y1) / 2, 60)
        kind = "far" if y2 - y1 > FAR * (HEIGHT + DOWN) else "near"
        path = f"M{x1:g} {y1:g}C{x1:g} {y1 + bend:g} {x2:g} {y2 - bend:g} {x2:g} {y2:g}"
    else:
        x1, x2, y1, y2 = x1 + WIDTH, x2 + WIDTH, y1 + HEIGHT / 2, y2 + HEIGHT / 2
        bend = max(x1, x2) + MARGIN - 6
        kind, path = "up", f"M{x1:g} {y1:g}C{bend:g} {y1:g} {bend:g} {y2:g} {x2:g} {y2:g}"
    return f'<path class="{kind}" data-edge="{edge[0]} {edge[1]}" d="{path}"/>'


def _box(at: int, box: Box, place: Place, dearest: float) -> str:
    """A rectangle with a stretch of colour for each mesh axis, name, figures, and a bar as long as its price."""
    x, y = place
    count = f" ×{box.count}" if box.count > 1 else ""
    moves = f" · {bytes_text(box.bytes)}" if box.bytes else ""
    figures = f"{seconds_text(box.seconds)}{moves}" if not box.is_free else box.work
    bar = WIDTH * box.seconds / dearest if dearest else 0.0
    told = [f"{box.name}{count}", f"cut by {box.cut}", f"{seconds_text(box.seconds)}, {bytes_text(box.bytes)} moved"]
    if box.runner_up:
        told.append(f"runner-up {box.runner_up} {box.more}")
    if box.words:
        told.append(f"words {words_text(box.words)}")
    return (
        f'<g class="box" data-box="{at}" tabindex="0" transform="translate({x:g} {y:g})">'
        f"<title>{NEWLINE.join(map(quoted, told))}</title>"
        f"{_stretches(box.colours)}"
        + (f'<rect class="price" y="{HEIGHT - 3}" width="{bar:.1f}" height="3"/>' if bar >= 0.5 else "")
        + f'<rect class="frame" width="{WIDTH}" height="{HEIGHT}"/>'
        f'<text x="8" y="16">{quoted(tail(box.name, LETTERS - len(count)))}<tspan class="count">{count}</tspan></text>'
        f'<text class="figures" x="8" y="30">{quoted(figures)}</text></g>'
    )


def _stretches(colours: Sequence[str]) -> str:
    """A rectangle for each run of axes that do the same; all of it plain where there is one device."""
    found = []
    start = 0
    for colour, run in groupby(colours or (WHOLE,)):
        size = len(list(run))
        step = WIDTH / max(1, len(colours))
        found.append(f'<rect class="{colour}" x="{start * step:g}" width="{size * step:g}" height="{HEIGHT}"/>')
        start += size
    return "".join(found)
