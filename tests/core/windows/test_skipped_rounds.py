"""Closing rounds of silent streams, which are skipped."""

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.builders.clocks import MINUTE_MS, SECOND_MS
from tests.builders.results import plain
from tests.builders.specs import build_minute_spec
from tests.core.shard import Shard, read_now, run_for
from tests.examples import examples

PLAN = st.lists(
    st.tuples(
        st.sampled_from([1, 5, 25, 25, 29, 29]),  # seconds; longer steps would be pauses
        st.sets(st.tuples(st.sampled_from(["images", "texts"]), st.integers(0, 1)), max_size=2),
        st.sampled_from([0, 0, 0, 40, 400, 900]),  # age of the events in seconds
        st.sampled_from([(0, 1), (0, 1), (0, 1), (0,), ()]),  # caught-up partitions
    ),
    min_size=10,
    max_size=60,
)


@settings(max_examples=examples(12))
@given(PLAN, st.sampled_from([(), (1,)]), st.integers(0, 20), st.integers(10, 40))
def test_skipped_rounds_change_nothing(plan, unread, first, number):
    kept = []
    for is_skipped in (True, False):
        specs = [
            build_minute_spec(
                name, sizes_ms=(MINUTE_MS, 5 * MINUTE_MS), incomplete_ms=MINUTE_MS, give_up_ms=3 * MINUTE_MS
            )
            for name in ("images", "texts")
        ]
        shard = Shard(*specs, partitions=2)
        seen = []
        for step, (seconds, speaking, old_s, caught_up) in enumerate(plan):
            shard.now_ms += seconds * SECOND_MS
            missing = unread if first <= step < first + number else ()
            for stream, partition in sorted(speaking):
                if partition not in missing:
                    read_now(shard, partition, stream=stream, behind_ms=old_s * SECOND_MS)
            shard.write(caught_up=caught_up, unread=missing)
            shard.apply()
            if not is_skipped:
                for state in shard.state.streams.values():
                    state.has_changed = True
            seen.append(([plain(result) for result in shard.close()], dict(shard.changelog)))
        kept.append(seen)
    assert kept[0] == kept[1]


def test_loss_of_silent_stream_ends():
    shard = Shard(build_minute_spec())
    read_now(shard, 0)
    shard.commit()
    shard.commit(lost=2)
    assert [each.to_ms for each in shard.status().losses] == [None]
    run_for(shard, 10 * MINUTE_MS)
    assert [each.to_ms is None for each in shard.status().losses] == [False]
