"""Operators that act element by element: arithmetic, casts and constants, random numbers."""
