"""The door of the notation: `einsum` on numpy arrays, torch tensors and symbolic values."""

from einsplit.einsum.door import einsum

__all__ = ["einsum"]
