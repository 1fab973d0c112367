"""Operators that choose by index: gathers, scatters, embedding bags."""
