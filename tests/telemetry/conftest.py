"""Fixtures for the tests of the window collector and of the metrics it exports."""

import pytest

from driftgauge.telemetry.snapshot import take_snapshot
from driftgauge.telemetry.window_collector import WindowCollector
from tests.builders.results import build_result
from tests.builders.telemetry import STREAMS, build_shard, registry_of, sample_reader


@pytest.fixture
def collector(clock):
    return WindowCollector(STREAMS, clock.clock)


@pytest.fixture
def exported(collector):
    return sample_reader(registry_of(collector))


@pytest.fixture
def show(collector):
    """Show a shard, 0 by default, with fields as for `build_shard`."""

    def show(*published, shard=0, streams=("images",), **fields):
        collector.show(shard, take_snapshot(build_shard(*published, **fields), streams))

    return show


@pytest.fixture
def close(show):
    """Close a window of `images`, and show the shard with all windows closed so far."""
    published = {}

    def close(**window):
        result = build_result(**window)
        published[result.window] = result
        show(*published.values())

    return close
