"""Lookup by window among overlapping panes of several lengths."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from driftgauge.core.windows.pane_map import PaneMap
from driftgauge.core.windows.window import Window

LENGTHS = st.sampled_from([1, 2, 3, 5, 12])
PANES = st.sets(
    st.builds(lambda length, number: Window(length, length * number), LENGTHS, st.integers(0, 20))
)


def filled(panes):
    held = PaneMap()
    for pane in panes:
        held.put(pane, (pane.size_ms, pane.start_ms))
    return held


@given(PANES, LENGTHS, st.integers(0, 20))
def test_lookup_by_window_equals_scan_of_all_panes(panes, length, number):
    held, window = filled(panes), Window(length, length * number)
    within = {
        (pane.size_ms, pane.start_ms)
        for pane in panes
        if window.start_ms <= pane.start_ms and pane.end_ms <= window.end_ms
    }
    assert set(held.within(window)) == within
    overlapping = [pane for pane in panes if pane.start_ms < window.end_ms and window.start_ms < pane.end_ms]
    assert held.overlaps(window) is bool(overlapping)


@given(PANES)
def test_remove_deletes_only_named_pane(panes):
    held = filled(panes)
    assert set(held) == panes
    for pane in sorted(panes)[::2]:
        held.remove(pane)
        assert held.get(pane) is None
    assert set(held) == set(sorted(panes)[1::2])
    with pytest.raises(KeyError):
        held.remove(Window(7, 0))
