"""Doing it: Program + tensors -> tensors, on threads or on Ray."""
