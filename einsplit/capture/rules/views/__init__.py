"""Operators that move elements: views, parts, concatenations."""
