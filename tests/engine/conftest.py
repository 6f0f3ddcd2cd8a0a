"""The fixture that the engine's tests share: a slow admin client."""

import pytest

from tests.kafka.slow_admin import SlowAdmin


@pytest.fixture
def admin():
    return SlowAdmin()
