"""Sums of products: matrices, attention, convolutions, experts."""
