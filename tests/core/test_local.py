"""The local driver: recorded events through both stages in one process."""

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from driftgauge.core.local import LocalDriver
from driftgauge.core.windows.changelog import ExamplesKey
from driftgauge.records.changelog_records import encode_value
from tests.builders.batches import build_batch, counts_of, windows_of
from tests.builders.clocks import DAY_MS, HOUR_MS, MINUTE_MS, MONDAY_MS
from tests.builders.references import CLUSTERS
from tests.builders.results import plain
from tests.builders.specs import build_spec
from tests.examples import examples


@pytest.mark.parametrize(("kept", "text"), [(5, "grö"), (0, None)])
def test_snippet_is_cut_and_published_and_purged_with_its_window(kept, text):
    driver = LocalDriver([build_spec(snippet_bytes=kept)], "embeddings", 1)
    batch = build_batch([(0, number, MONDAY_MS, 1) for number in range(20)], event_ids=["a", *[""] * 19])
    driver.count([replace(batch, snippets=["größer", *[None] * 19])], MONDAY_MS)
    driver.count([build_batch([(0, 20, MONDAY_MS + HOUR_MS, 0)])], MONDAY_MS)
    (result,) = driver.commit(MONDAY_MS, {0: 21}).results
    assert result.examples == {1: ("a",)}
    assert result.snippets == ({} if text is None else {1: (text,)})

    written = {key: encode_value(value) for key, value in driver.shard.drain_changes()}
    held = [key for key, value in written.items() if "grö".encode() in value]
    assert [type(key) for key in held] == [ExamplesKey] * bool(kept)
    driver.count([build_batch([(0, 21, MONDAY_MS + DAY_MS, 0)])], MONDAY_MS)
    driver.commit(MONDAY_MS, {0: 22})
    purged = dict(driver.shard.drain_changes())
    assert [purged[key] for key in held] == [None] * bool(kept)


@settings(max_examples=examples(20))
@given(
    st.lists(
        st.tuples(st.integers(0, 2), st.integers(0, 30 * 60), st.integers(0, CLUSTERS - 1)),
        min_size=1,
        max_size=80,
    ),
    st.lists(st.integers(0, 80), max_size=8),
    st.sampled_from([(HOUR_MS,), (HOUR_MS, DAY_MS), (7 * MINUTE_MS, HOUR_MS)]),
)
def test_results_are_same_for_any_batches_and_commits(drawn, cuts, sizes_ms):
    events = [(p, i, MONDAY_MS + minute * MINUTE_MS, c) for i, (p, minute, c) in enumerate(drawn)]
    seen = []
    for ends in ([len(events)], [*sorted(min(cut, len(events)) for cut in cuts), len(events)]):
        driver = LocalDriver([build_spec(sizes_ms=sizes_ms, lateness_ms=2 * DAY_MS)], "embeddings", 3)
        published = {}
        for number, (start, end) in enumerate(zip([0, *ends], ends, strict=False)):
            if events[start:end]:
                driver.count([build_batch(events[start:end])], MONDAY_MS)
            positions = dict.fromkeys(range(3), end)
            is_last = number == len(ends) - 1
            done = driver.commit(MONDAY_MS, positions, has_source_ended=is_last)
            for result in done.results:
                before = published.get(result.window)
                assert result.revision == (0 if before is None else before.revision + 1)
                published[result.window] = result
            assert done.late == []
        seen.append(published)
        assert {window: tuple(result.counts.tolist()) for window, result in published.items()} == {
            window: counts_of(events, window) for window in windows_of(events, sizes_ms)
        }
    assert [plain(result.score) for _, result in sorted(seen[0].items())] == [
        plain(result.score) for _, result in sorted(seen[1].items())
    ]
