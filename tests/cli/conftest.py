"""Fixtures that the tests of several commands share."""

import pytest

from driftgauge.baseline.artifact import ClusterDescription
from tests.builders.baselines import HOSTILE_NAMES, save_baseline
from tests.builders.clocks import HOUR_MS, MONDAY_MS
from tests.builders.configs import write_config
from tests.builders.events import build_event, write_events


@pytest.fixture
def config(tmp_path):
    """A configuration of a baseline with names that must stay text."""
    named = [ClusterDescription(name=name, example_ids=("b-1",)) for name in HOSTILE_NAMES[:3]]
    save_baseline(tmp_path, descriptions=(*named, ClusterDescription()))
    return write_config(tmp_path)


@pytest.fixture
def events(tmp_path):
    """Events of a scored hour, of an hour with too few events, and two rejected records."""
    return write_events(
        tmp_path / "events.jsonl.gz",
        [
            # A verdict makes no result of an event.
            *[build_event(MONDAY_MS + i, i % 2, verdict="ok", start=1) for i in range(20)],
            *[build_event(MONDAY_MS + HOUR_MS + i, 3) for i in range(4)],
            b"{",
            build_event(MONDAY_MS, 0, stream="sounds"),
        ],
    )
