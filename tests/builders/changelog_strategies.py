"""Hypothesis strategies for changelog records."""

import numpy as np
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from driftgauge.core.windows.changelog import (
    BLOCK,
    DataLoss,
    EventTimeKey,
    ExamplesKey,
    HistoryKey,
    PaneKey,
    PositionKey,
    PublishedKey,
    ShardPosition,
    SourceBlock,
    SourcesKey,
    StreamKey,
    StreamStatus,
)
from driftgauge.core.windows.window import Window
from tests.builders.strategies import (
    EXAMPLES,
    HISTORIES,
    LAST,
    PARTITIONS,
    RESULTS,
    SEGMENTS,
    STREAMS,
    TEXTS,
    TIMES,
    VERDICTS,
)

SCHEMES = st.from_regex("[0-9a-f]{16}-[0-9a-f]{8}", fullmatch=True)
TOPICS = st.from_regex("[a-zA-Z0-9._-]{1,249}", fullmatch=True)
COUNTS = st.integers(0, LAST)
OPTIONAL_TIMES = st.none() | TIMES
INTEGERS = st.integers(0, 10**18 - 1)
BLOCKS = st.integers(0, 2**14 - 1)
PANES = st.builds(Window, INTEGERS, INTEGERS)
# Counts first, then sums of coordinates.
TALLIES = st.builds(
    lambda counts, sums: np.concatenate((counts, sums)),
    st.sampled_from([0, 255, 256, 10_000, 2**32, LAST]).flatmap(
        lambda most: arrays.arrays(np.int64, st.integers(0, 70), elements=st.integers(0, most))
    ),
    arrays.arrays(np.int64, st.integers(0, 33), elements=st.integers(-LAST - 1, LAST)),
)


def blocks(columns: int) -> st.SearchStrategy[np.ndarray]:
    """Return a strategy for the rows of a block, (n, columns)."""
    rows = st.integers(1, BLOCK)
    return rows.flatmap(
        lambda n: arrays.arrays(np.int64, (n, columns), elements=st.integers(-LAST - 1, LAST))
    )


POSITIONS = st.builds(
    ShardPosition,
    st.integers(1, 2**31 - 1),
    COUNTS,
    TIMES,
    st.dictionaries(st.tuples(TEXTS, COUNTS), st.tuples(COUNTS, TIMES), max_size=3),
    COUNTS,
    COUNTS,
    COUNTS,
)
PAIRS = st.lists(st.tuples(TIMES, TIMES), max_size=3).map(tuple)
STATUSES = st.builds(
    StreamStatus,
    watermark_ms=OPTIONAL_TIMES,
    final_ms=OPTIONAL_TIMES,
    pending_watermark=st.none() | st.tuples(TIMES, TIMES),
    foremost=PAIRS,
    given_up=st.frozensets(PARTITIONS, max_size=3),
    losses=st.lists(st.builds(DataLoss, PARTITIONS, OPTIONAL_TIMES, OPTIONAL_TIMES), max_size=3).map(tuple),
    counted_twice=PAIRS,
    late=st.dictionaries(COUNTS, COUNTS, max_size=3),
    closed=st.dictionaries(st.tuples(COUNTS, VERDICTS), COUNTS, max_size=3),
    revised=st.dictionaries(COUNTS, COUNTS, max_size=3),
    alarms=st.frozensets(COUNTS, max_size=3),
)
RECORDS = st.one_of(
    st.tuples(st.just(PositionKey()), POSITIONS),
    st.tuples(
        st.builds(SourcesKey, TOPICS, BLOCKS),
        st.builds(
            SourceBlock,
            st.sampled_from(["", "ab" * 16]),
            st.sampled_from([(), ("",), ("cd" * 16,) * 6]),
            st.integers(0, 2**20),
            blocks(4),
        ),
    ),
    st.tuples(st.builds(StreamKey, STREAMS), STATUSES),
    st.tuples(st.builds(EventTimeKey, STREAMS, TOPICS, BLOCKS), blocks(2)),
    st.tuples(st.builds(PaneKey, STREAMS, SCHEMES, PANES), TALLIES),
    st.tuples(st.builds(PaneKey, STREAMS, SCHEMES, PANES, SEGMENTS), TALLIES),
    st.tuples(st.builds(ExamplesKey, STREAMS, SCHEMES, PANES), EXAMPLES),
    st.tuples(st.builds(PublishedKey, STREAMS, PANES), RESULTS),
    st.tuples(st.builds(HistoryKey, STREAMS, INTEGERS), HISTORIES),
)
