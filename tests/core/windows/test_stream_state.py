"""The state of one stream: panes, open windows, newest results, and the order of changelog entries."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from driftgauge.core.counting.partial import PaneDelta
from driftgauge.core.counting.scheme import Scheme
from driftgauge.core.counting.tally import TallyField
from driftgauge.core.judging.verdict import Verdict
from driftgauge.core.window import Window
from driftgauge.core.windows.changelog import PaneCounts, PaneKey, PublishedKey, StreamKey, StreamStatus
from driftgauge.core.windows.pane_store import PaneStore
from driftgauge.core.windows.stream_state import StreamState
from driftgauge.core.windows.work_budget import WorkBudget
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
    assert changes[0][1].values.tolist() == [2], "a key that changes again is written with its newest value"
    assert not list(state.drain_changes())


COUNTS = (1, 2, 0, 0)


results = st.builds(Window, st.sampled_from(SIZES_MS), st.integers(0, 6).map(lambda number: number * HOUR_MS))


@given(
    st.lists(
        st.one_of(
            st.tuples(results, st.sampled_from(Verdict), st.sampled_from([{}, {7: ("a text",)}])),
            st.integers(0, 7 * HOUR_MS),
            st.none(),
        ),
        max_size=20,
    )
)
def test_newest_and_conclusive_follow_from_all_that_was_published(steps):
    """Whatever is purged or restored, and whether results hold texts."""
    state, verdicts, final_ms = StreamState("images"), {}, 0
    for step in steps:
        if step is None:
            kept, state = state.published, StreamState("images")
            state.restore(StreamKey("images"), StreamStatus(final_ms=final_ms))
            for window, result in kept.items():
                state.restore(PublishedKey("images", window), result)
        elif isinstance(step, int):
            final_ms = max(final_ms, step)
            state.set_status(StreamStatus(final_ms=final_ms))
            state.purge_final_results(SIZES_MS, WorkBudget())
        else:
            window, verdict, snippets = step
            if window.end_ms > final_ms:
                state.publish(build_result(COUNTS, window, verdict=verdict, snippets=snippets))
                verdicts[window] = verdict
        conclusive = {window: each for window, each in verdicts.items() if each.is_conclusive}
        for shown, expected in ((state.newest, verdicts), (state.conclusive, conclusive)):
            newest = {window.size_ms: window for window in sorted(expected)}
            assert {size_ms: result.window for size_ms, result in shown.items()} == newest
            assert all(result.verdict is verdicts[result.window] for result in shown.values())
            assert not any(result.snippets for result in shown.values())


LENGTHS = (1, 2, 3, 5, 12)
PANES = st.sets(
    st.builds(
        lambda length, number: Window(length, length * number), st.sampled_from(LENGTHS), st.integers(0, 20)
    )
)


# A scan of the milliseconds of the longest windows would not end.
@given(PANES, st.sampled_from([*LENGTHS, 2**40]), st.integers(0, 20), st.integers(0, 300))
def test_lookup_and_purge_equal_scan_of_all_panes(panes, length, number, purgeable_ms):
    store, window = PaneStore("images"), Window(length, length * number)
    keys = {PaneKey("images", f"of-{pane.size_ms}", pane): pane for pane in panes}
    for key, pane in keys.items():
        store.put(key, PaneCounts(np.array([pane.start_ms]), {"a": np.array([[pane.start_ms]])}))
    overlapping = [pane for pane in panes if pane.start_ms < window.end_ms and window.start_ms < pane.end_ms]
    assert store.schemes(window) == {f"of-{pane.size_ms}" for pane in overlapping}
    for divisor in (each for each in LENGTHS if length % each == 0):
        own = [pane.start_ms for pane in overlapping if pane.size_ms == divisor]
        found = store.counts(f"of-{divisor}", window)
        assert (None if found is None else found.values.tolist()) == ([sum(own)] if own else None)
        assert found is None or found.numbers["a"].tolist() == [[sum(own)]]
    purged, is_done = store.purge(purgeable_ms, len(panes))
    assert is_done
    assert set(purged) == {key for key, pane in keys.items() if pane.end_ms <= purgeable_ms}
    assert {key for key in keys if store.get(key) is None} == set(purged)
