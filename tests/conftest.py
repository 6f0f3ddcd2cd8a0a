"""Fixtures and Hypothesis profiles of all tests.

`--hypothesis-profile=full` replaces the profile `development`.
"""

import pytest
from hypothesis import HealthCheck, settings

from tests.builders.clocks import ManualClock
from tests.examples import DEVELOPMENT, FULL

pytest_plugins = ["tests.harness.fixtures"]

# No deadline and no check of speed, so that results do not depend on the machine's load.
settings.register_profile(
    "full", max_examples=FULL, deadline=None, suppress_health_check=[HealthCheck.too_slow], derandomize=True
)
settings.register_profile(
    "development", settings.get_profile("full"), max_examples=DEVELOPMENT, derandomize=False
)
settings.load_profile("development")


@pytest.fixture
def clock():
    return ManualClock()
