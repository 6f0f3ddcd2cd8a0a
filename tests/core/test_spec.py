"""How a stream is watched."""

import pytest

from tests.core.builders import DAY_MS, HOUR_MS, MINUTE_MS, build_spec


@pytest.mark.parametrize(
    ("sizes_ms", "pane_ms"),
    [
        ((HOUR_MS,), HOUR_MS),
        ((HOUR_MS, DAY_MS), HOUR_MS),
        ((90 * MINUTE_MS, 2 * HOUR_MS), 30 * MINUTE_MS),
        ((7 * MINUTE_MS, HOUR_MS), MINUTE_MS),
    ],
)
def test_a_pane_is_the_longest_stretch_that_every_window_is_a_multiple_of(sizes_ms, pane_ms):
    assert build_spec(sizes_ms=sizes_ms).pane_ms == pane_ms
