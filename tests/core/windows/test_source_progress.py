"""The progress of source partitions, compared with a model without arrays."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from driftgauge.core.counting.partial import PartitionProgress
from driftgauge.core.windows.changelog import BLOCK_PARTITIONS
from driftgauge.core.windows.source_progress import NULL, Continuity, SourceProgress

NOW_MS = 1_000_000


def build_minimal_progress(index=0, *, topic="embeddings", start=0, end=0, begins=False, **changes):
    fields = {"topic_id": "one", "partitions": 1, "lost": 0, "since_ms": NOW_MS, "caught_up_ms": None}
    fields |= changes
    return PartitionProgress(partition=(topic, index), start=start, end=end, begins=begins, **fields)


def expect(known, progress, log_ms):
    """The continuity and the new row after a progress."""
    end, since_ms, caught_up_ms, moved_ms = known
    if end == NULL:
        continuity = Continuity.CONTIGUOUS if progress.begins else Continuity.GAP
    elif progress.start > end:
        continuity = Continuity.GAP
    elif progress.start < min(end, progress.end):
        continuity = Continuity.OVERLAP
    else:
        continuity = Continuity.CONTIGUOUS
    reached_ms = NULL if progress.caught_up_ms is None else progress.caught_up_ms
    if progress.end > end or reached_ms > caught_up_ms:
        moved_ms = log_ms
    since_ms = progress.since_ms if since_ms == NULL else since_ms
    return continuity, (max(end, progress.end), since_ms, max(caught_up_ms, reached_ms), moved_ms)


some = st.integers(0, 9)
progresses = st.lists(
    st.builds(
        build_minimal_progress,
        st.integers(0, 2 * BLOCK_PARTITIONS),
        topic=st.sampled_from(["embeddings", "others"]),
        start=some,
        end=some,
        begins=st.booleans(),
        since_ms=some,
        caught_up_ms=st.none() | some,
        partitions=st.integers(1, 2 * BLOCK_PARTITIONS),
    )
)


@given(progresses)
def test_accept_equals_model(progresses):
    sources = SourceProgress(["embeddings"])
    rows = {}
    for log_ms, progress in enumerate(progresses, NOW_MS):
        at, known = progress.partition, sources.topics.get(progress.partition[0])
        # The wait for a new partition starts at its first report.
        unheard = (NULL, NULL, NULL, NULL if at == ("embeddings", 0) else log_ms)
        if known is not None and at[1] < len(known.values):
            unheard = (NULL, NULL, NULL, int(known.values[at[1], 3]))
        continuity, rows[at] = expect(rows.get(at, unheard), progress, log_ms)
        assert sources.accept(progress, log_ms) is continuity
        assert tuple(sources.topics[at[0]].values[at[1]].tolist()) == rows[at]


@given(progresses)
def test_drained_changes_restore_equal_progress(progresses):
    sources, copy = SourceProgress(["embeddings"]), SourceProgress(["embeddings"])
    for number, progress in enumerate(progresses):
        sources.accept(progress, NOW_MS)
        if number % 3 == 0:
            keep(copy, sources)
    keep(copy, sources)
    assert sources.topics.keys() == copy.topics.keys()
    for name, topic in sources.topics.items():
        heard = topic.values[:, 0] != NULL
        np.testing.assert_array_equal(topic.values[heard], copy.topics[name].values[heard])
    assert not list(sources.drain_changes())


def keep(copy, sources):
    changes = list(sources.drain_changes())
    keys = [key for key, _ in changes]
    assert keys == sorted(keys, key=lambda key: (key.topic, key.block))
    for key, block in changes:
        copy.restore(key, block)


def test_streams_wait_for_partitions_of_configured_topics_only():
    sources = SourceProgress(["embeddings", "others"])
    sources.accept(build_minimal_progress(partitions=3), NOW_MS)
    sources.accept(build_minimal_progress(topic="unknown", partitions=2), NOW_MS)
    assert sources.columns.partitions == [*(("embeddings", index) for index in range(3)), ("others", 0)]
