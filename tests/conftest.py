"""Fixtures for every test, and how many examples Hypothesis tries.

`--hypothesis-profile=full` takes the place of the profile `development`.
"""

from hypothesis import HealthCheck, settings

from tests.examples import DEVELOPMENT, FULL

pytest_plugins = ["tests.kafka.fixtures"]

# No deadline and no check of speed: a verdict must not depend on how busy the machine is.
settings.register_profile(
    "full", max_examples=FULL, deadline=None, suppress_health_check=[HealthCheck.too_slow], derandomize=True
)
settings.register_profile(
    "development", settings.get_profile("full"), max_examples=DEVELOPMENT, derandomize=False
)
settings.load_profile("development")
