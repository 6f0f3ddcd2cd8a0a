"""Fixtures that the tests of several commands share."""

import pytest

from tests.builders.baselines import save_baseline
from tests.builders.clocks import HOUR_MS, MONDAY_MS
from tests.builders.configs import write_config
from tests.builders.events import build_event, write_events


@pytest.fixture
def config(tmp_path):
    save_baseline(tmp_path)
    return write_config(tmp_path)


@pytest.fixture
def events(tmp_path):
    """Events of a scored hour, of an hour with too few events, and two rejected records."""
    return write_events(
        tmp_path / "events.jsonl.gz",
        [
            *[build_event(MONDAY_MS + i, i % 2) for i in range(20)],
            *[build_event(MONDAY_MS + HOUR_MS + i, 3) for i in range(4)],
            b"{",
            build_event(MONDAY_MS, 0, stream="sounds"),
        ],
    )
