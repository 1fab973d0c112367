"""One hypothesis profile for every run: a fixed seed, failures repeat everywhere; no deadline."""

from hypothesis import settings

settings.register_profile("ci", derandomize=True, deadline=None)
settings.load_profile("ci")
