"""What holds for every test."""

import os

from hypothesis import settings

# CI judges a change, so that the same commit gets the same examples there; every other run draws new ones.
settings.register_profile("ci", derandomize=True, print_blob=True)
if os.environ.get("CI"):
    settings.load_profile("ci")
