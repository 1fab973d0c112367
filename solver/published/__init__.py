"""Plans that people write by hand, as rivals under the same price."""
