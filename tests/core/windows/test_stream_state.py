"""The state of one stream: open windows, newest results, and the order of changelog entries."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from driftgauge.core.counting.partial import PaneDelta
from driftgauge.core.counting.scheme import Scheme
from driftgauge.core.counting.tally import TallyField
from driftgauge.core.windows.changelog import PublishedKey, StreamStatus
from driftgauge.core.windows.stream_state import StreamState
from driftgauge.core.windows.window import Window
from tests.builders.clocks import HOUR_MS, MINUTE_MS
from tests.builders.results import build_result

SIZES_MS = (10 * MINUTE_MS, HOUR_MS)
# Panes of two lengths overlap after a change of the window sizes.
SCHEMES = tuple(
    Scheme("first", pane_ms, (), (TallyField("cluster_counts", 1),)) for pane_ms in (10 * MINUTE_MS, HOUR_MS)
)


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
