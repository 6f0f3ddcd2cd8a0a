"""The state of one stream: open windows, newest results, and the order of changelog entries."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from driftgauge.core.counting.partial import PaneDelta
from driftgauge.core.counting.scheme import Scheme
from driftgauge.core.counting.tally import TallyField
from driftgauge.core.windows.changelog import PaneKey, PublishedKey, StreamStatus
from driftgauge.core.windows.stream_state import StreamState
from driftgauge.core.windows.window import Window
from tests.builders.clocks import HOUR_MS, MINUTE_MS
from tests.builders.results import build_result

SIZES_MS = (10 * MINUTE_MS, HOUR_MS)
# Panes of two lengths overlap after a change of the window sizes.
SCHEMES = tuple(
    Scheme("first", pane_ms, (), (TallyField("cluster_counts", 1),)) for pane_ms in (10 * MINUTE_MS, HOUR_MS)
)
SEGMENTS = (None, ("country", "de"))

starts = st.integers(0, 40).map(lambda number: number * 10 * MINUTE_MS)
panes = st.tuples(st.sampled_from(SCHEMES), starts, st.sampled_from(SEGMENTS))
steps = st.one_of(
    st.tuples(st.just("add"), panes),
    st.tuples(st.just("restore"), panes),
    st.tuples(st.just("final"), starts),
    st.tuples(st.just("forget"), st.tuples(starts, st.integers(0, 5))),
)


class Model:
    """A stream's state, and the panes in its changelog."""

    def __init__(self):
        self.state = StreamState("images")
        self.panes = set()

    def do(self, step, what):
        if step == "final":
            self.state.set_status(StreamStatus(final_ms=what))
        elif step == "forget":
            self.state.purge_panes(*what)
        else:
            scheme, start_ms, segment = what
            start_ms -= start_ms % scheme.pane_ms
            ones = np.ones(1, dtype=np.int64)
            if step == "add":
                self.state.add_pane(PaneDelta("images", scheme, start_ms, segment, ones, 1, (("a", 0), 0)))
            else:
                key = PaneKey("images", scheme.key, Window(scheme.pane_ms, start_ms), segment)
                self.state.restore(key, ones)
                self.panes.add(key)
        for key, value in self.state.drain_changes():
            if isinstance(key, PaneKey):
                (self.panes.discard if value is None else self.panes.add)(key)

    def open_windows(self, size_ms):
        """Count the open windows without a cache."""
        final_ms = self.state.status.final_ms
        windows = {Window.around(key.pane.start_ms, size_ms) for key in self.panes if key.segment is None}
        return sum(final_ms is None or window.end_ms > final_ms for window in windows)


@given(st.lists(steps, max_size=30))
def test_cached_open_windows_equal_fresh_count(steps):
    model = Model()
    for step, what in steps:
        model.do(step, what)
        expected = {size_ms: model.open_windows(size_ms) for size_ms in SIZES_MS}
        assert model.state.open_windows(SIZES_MS) == expected


def test_drain_yields_each_key_once_in_order_of_first_change():
    state = StreamState("images")
    ones = np.ones(1, dtype=np.int64)
    late, early = (
        PaneDelta("images", SCHEMES[0], start_ms, None, ones, 1, (("a", 0), 0)) for start_ms in (6, 0)
    )
    state.add_pane(late)
    state.set_status(StreamStatus(final_ms=0))
    state.add_pane(early)
    state.add_pane(late)
    changes = list(state.drain_changes())
    assert [getattr(key, "pane", None) and key.pane.start_ms for key, _ in changes] == [6, None, 0]
    assert changes[0][1].tolist() == [2], "a key that changes again is written with its newest value"
    assert not list(state.drain_changes())


COUNTS = (1, 2, 0, 0)


results = st.builds(Window, st.sampled_from(SIZES_MS), st.integers(0, 6).map(lambda number: number * HOUR_MS))


@given(
    st.lists(
        st.one_of(
            st.tuples(st.sampled_from(["publish", "restore"]), results), st.tuples(st.just("forget"), results)
        ),
        max_size=20,
    )
)
def test_newest_is_last_published_window_of_each_size(steps):
    state = StreamState("images")
    for step, window in steps:
        if step == "forget":
            state.purge_results([window] if window in state.published else [])
        elif step == "publish":
            state.publish(build_result(COUNTS, window))
        elif window not in state.published:
            state.restore(PublishedKey("images", window), build_result(COUNTS, window))
        sizes = {window.size_ms for window in state.published}
        assert state.newest == {
            size_ms: state.published[max(w for w in state.published if w.size_ms == size_ms)]
            for size_ms in sizes
        }
