"""Lookup by window among the panes of several schemes, each with a length of its own."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from driftgauge.core.window import Window
from driftgauge.core.windows.changelog import PaneCounts, PaneKey
from driftgauge.core.windows.pane_store import PaneStore

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
