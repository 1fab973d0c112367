"""EinDecomp's dynamic program over partition vectors (Bourgeois et al. 2024, arXiv 2410.02682), as a rival."""

from einsplit.solver.published.eindecomp.door import VARIANTS, eindecomp

__all__ = ["VARIANTS", "eindecomp"]
