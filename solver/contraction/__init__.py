"""The exact least price of a network of tables: einsum in the (min,+) semiring."""
