"""Fixtures that the Kafka tests share: the service's topics on the broker, and a slow admin client."""

import pytest

from tests.harness.internal_topics import InternalTopicsCluster
from tests.kafka.slow_admin import SlowAdmin


@pytest.fixture
def internal(bootstrap):
    """The test's topics, those of the service included."""
    return InternalTopicsCluster(bootstrap)


@pytest.fixture
def admin():
    return SlowAdmin()
