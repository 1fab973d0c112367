"""Kernels: what is not an einsum, with a label signature. One file per family."""
