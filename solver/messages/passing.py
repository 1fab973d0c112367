"""A bound on a core's least price, and choices near it, by messages that go forward and back along its variables.

For any p and q at all, one number for each option at both ends of each link,

    L(p, q) = constant + sum over v of min over x of (own[v][x] - sum of p and q of its links)
                       + sum over links of min over x, y of (table[x, y] + p[x] + q[y])

is no more than the price of any choice (weak duality). A message is such a number; sequential tree-reweighted passing
makes L grow with each turn. With n+ links to later variables and n- to earlier ones, a variable v gives each link the
share g = 1 / max(n+, n-) of what it knows:

    known[v][x]  = own[v][x] + sum over links of the message that came from the other end
    message[y]   = min over x of  g * known[v][x] - message back[x] + table[x, y]

Where the relaxation to the local polytope is tight, as it is on the train steps measured, choices made variable by
variable on the way forward are the optimum at the end, and L is their price.

Source: V. Kolmogorov, Convergent tree-reweighted message passing for energy minimization, IEEE Transactions on Pattern
Analysis and Machine Intelligence 28, 2006 (algorithm TRW-S, and section 2 for the bound).
"""

from __future__ import annotations

from math import fsum

import numpy as np
import numpy.typing as npt

from einsplit.solver.messages.core import Core

Prices = npt.NDArray[np.float64]
least = np.minimum.reduce  # what ndarray.min calls, at half the cost for arrays as small as these


class Passing:
    """Messages on a core; `turn` passes them once forward and once back."""

    def __init__(self, core: Core) -> None:
        self.core = core
        count = len(core.own)
        self._later: list[list[int]] = [[] for _ in range(count)]
        self._earlier: list[list[int]] = [[] for _ in range(count)]
        for at, link in enumerate(core.links):
            self._later[link.low].append(at)
            self._earlier[link.high].append(at)
        self._tables = [link.prices for link in core.links]
        self._turned = [np.ascontiguousarray(link.prices.T) for link in core.links]
        self._up = [np.zeros(prices.shape[1]) for prices in self._tables]  # to the later variable
        self._down = [np.zeros(prices.shape[0]) for prices in self._tables]  # to the earlier one
        pairs = zip(self._later, self._earlier, strict=True)
        self._share = [1.0 / max(len(later), len(earlier), 1) for later, earlier in pairs]

    def resume(self, before: Passing) -> None:
        """Begin with the messages of another core, where a link of it has the same variables and as many options."""
        known = {before._ends(at): at for at in range(len(before._tables))}
        for at, table in enumerate(self._tables):
            other = known.get(self._ends(at))
            if other is not None and before._tables[other].shape == table.shape:
                self._up[at], self._down[at] = before._up[other].copy(), before._down[other].copy()

    def _ends(self, at: int) -> tuple[int, int]:
        link = self.core.links[at]
        return self.core.variables[link.low], self.core.variables[link.high]

    def turn(self) -> tuple[float, tuple[int, ...]]:
        """Pass messages once forward and once back; returns the bound, nearly, and a choice for each variable."""
        chosen = self._forward()
        return self._backward(), chosen

    def _known(self, v: int) -> Prices:
        known = self.core.own[v].copy()
        for at in self._earlier[v]:
            known += self._up[at]
        for at in self._later[v]:
            known += self._down[at]
        return known

    def _forward(self) -> tuple[int, ...]:
        chosen: list[int] = []
        for v, own in enumerate(self.core.own):
            # What is chosen is the best given what earlier variables chose, later ones by their messages.
            given = own.copy()
            for at in self._earlier[v]:
                given += self._tables[at][chosen[self.core.links[at].low]]
            for at in self._later[v]:
                given += self._down[at]
            chosen.append(int(given.argmin()))
            known = self._known(v) * self._share[v]
            for at in self._later[v]:
                message: Prices = least((known - self._down[at]) + self._turned[at], axis=1)
                self._up[at] = message - message.min()
        return tuple(chosen)

    def _backward(self) -> float:
        bound = self.core.constant
        for v in reversed(range(len(self.core.own))):
            known = self._known(v)
            low = float(known.min())
            known = (known - low) * self._share[v]
            bound += low
            for at in self._earlier[v]:
                message = least((known - self._up[at]) + self._tables[at], axis=1)
                low = float(message.min())
                self._down[at] = message - low
                bound += low
        return bound

    def bound(self) -> float:
        """L for the messages as they stand: what `turn` says, computed anew from the tables, in one sum."""
        own, linked = self._slack()
        return fsum((self.core.constant, *(float(prices.min()) for prices in (*own, *linked))))

    def worth(self, price: float) -> list[npt.NDArray[np.bool_]]:
        """By variable, the options that choices of at most that price may have: no others do, by the same argument."""
        own, linked = self._slack()
        bound = fsum((self.core.constant, *(float(prices.min()) for prices in (*own, *linked))))
        beyond = [prices - prices.min() for prices in own]
        for link, prices in zip(self.core.links, linked, strict=True):
            prices = prices - prices.min()
            beyond[link.low] += prices.min(axis=1)
            beyond[link.high] += prices.min(axis=0)
        return [bound + more <= price for more in beyond]

    def _slack(self) -> tuple[list[Prices], list[Prices]]:
        """What is left of every variable's prices, and of every link's, when messages are taken from them."""
        up = [message.copy() for message in self._up]
        for v in range(len(self.core.own)):
            known = self._known(v)
            given = (known - known.min()) * self._share[v]
            for at in self._earlier[v]:
                up[at] -= given
        own = []
        for v, prices in enumerate(self.core.own):
            left = prices.copy()
            for at in self._earlier[v]:
                left += up[at]
            for at in self._later[v]:
                left += self._down[at]
            own.append(left)
        linked = [table - self._down[at][:, None] - up[at] for at, table in enumerate(self._tables)]
        return own, linked
