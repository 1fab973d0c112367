"""One hypothesis profile for every run: a fixed seed, failures repeat everywhere; no deadline; no cached plans."""

import os

from hypothesis import settings

settings.register_profile("ci", derandomize=True, deadline=None)
settings.load_profile("ci")

os.environ["EINSPLIT_CACHE"] = "off"  # plans of tests are searched, and leave nothing in anybody's home
