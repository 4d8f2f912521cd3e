"""Hypothesis profiles: `dev` is quick, `ci` (chosen by CI=true) is thorough and repeatable."""

import os

from hypothesis import settings

settings.register_profile("dev", max_examples=25, deadline=None)
settings.register_profile("ci", max_examples=100, deadline=None, derandomize=True)
settings.load_profile("ci" if os.environ.get("CI") else "dev")
