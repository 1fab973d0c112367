"""Aggregations, and what is composed of them: softmax, norms, losses."""
