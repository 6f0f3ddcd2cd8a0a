"""What is kept of a partition: how far it has come, and what it lost."""

import pytest

from driftgauge.core.state import Gap, StreamProgress
from driftgauge.core.windows.window import Window


@pytest.mark.parametrize(
    ("newest_ms", "idle_to_ms", "reached_ms"),
    [(None, None, None), (5, None, 5), (None, 7, 7), (5, 7, 7), (9, 7, 9)],
)
def test_a_partition_has_come_to_its_newest_event_or_to_where_it_was_proven_idle(
    newest_ms, idle_to_ms, reached_ms
):
    assert StreamProgress(newest_ms, idle_to_ms).reached_ms == reached_ms


@pytest.mark.parametrize(
    ("gap", "touched"),
    [
        (Gap(None), [0, 100, 200, 300, 400]),
        (Gap(200), [200, 300, 400]),
        (Gap(199), [100, 200, 300, 400]),
        (Gap(None, 199), [0, 100]),
        (Gap(None, 200), [0, 100, 200]),
        (Gap(250, 320), [200, 300]),
        (Gap(250, 250), [200]),
    ],
)
def test_a_gap_touches_the_windows_that_it_may_have_taken_events_from(gap, touched):
    windows = [Window(100, start_ms) for start_ms in (0, 100, 200, 300, 400)]
    assert [window.start_ms for window in windows if gap.touches(window)] == touched
