"""Fixtures for every test, and how the tests share the machine."""

import pytest

pytest_plugins = ["tests.kafka.fixtures"]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Keep the tests on the real broker together: one process runs them, one by one, another all the rest.

    Those that say where they belong have a broker of their own.
    """
    for item in items:
        if item.get_closest_marker("xdist_group"):
            continue
        if "kafka_broker" in getattr(item, "fixturenames", ()) or item.get_closest_marker("integration"):
            item.add_marker(pytest.mark.xdist_group("broker"))
