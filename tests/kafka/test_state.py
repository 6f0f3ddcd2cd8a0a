import base64
import zlib
from dataclasses import dataclass, field

import orjson
import pytest
from confluent_kafka import OFFSET_INVALID, KafkaError, KafkaException
from hypothesis import given, settings
from hypothesis import strategies as st

from driftgauge.core.result import Window
from driftgauge.core.windows import WindowsSnapshot
from driftgauge.errors import BrokerError, StateError
from driftgauge.kafka import client
from driftgauge.kafka.embedded import EmbeddedBroker
from driftgauge.kafka.state import OffsetState, Progress, Restored
from tests.kafka.parts import TOPIC

LIMIT = 4_095  # what a broker takes unless told otherwise
EMPTY = WindowsSnapshot()

WINDOWS = st.builds(
    lambda size_ms, number: Window(size_ms, size_ms * number), st.integers(1, 10**9), st.integers(0, 10**6)
)
SNAPSHOTS = st.builds(
    WindowsSnapshot,
    st.none() | st.integers(1, 2**53),
    st.lists(st.tuples(WINDOWS, st.integers(0, 10**6), st.integers(0, 2**53)), max_size=4).map(tuple),
)
STREAMS = st.dictionaries(st.text("abcXYZ019._-", min_size=1, max_size=20), SNAPSHOTS, max_size=6)


@dataclass
class Committed:
    topic: str
    partition: int
    offset: int = OFFSET_INVALID
    metadata: str | None = None
    error: KafkaError | None = None


@dataclass
class Group:
    """A group's coordinator, and the consumer that asks it; `failures` answer the next requests."""

    kept: dict[tuple[str, int], Committed] = field(default_factory=dict)
    failures: list[KafkaError] = field(default_factory=list)
    refused: KafkaError | None = None
    asked: int = 0

    def commit(self, *, offsets, asynchronous):
        assert not asynchronous
        if self.failures:
            raise KafkaException(self.failures.pop(0))
        answers = []
        for offset in offsets:
            if self.refused is None:
                at = Committed(offset.topic, offset.partition, offset.offset, offset.metadata)
                self.kept[offset.topic, offset.partition] = at
            answers.append(Committed(offset.topic, offset.partition, error=self.refused))
        return answers

    def committed(self, partitions, timeout):
        assert timeout > 0
        self.asked += 1
        if self.failures:
            raise KafkaException(self.failures.pop(0))
        places = [(partition.topic, partition.partition) for partition in partitions]
        return [self.kept.get(place, Committed(*place)) for place in places]


@pytest.fixture
def group():
    return Group()


@pytest.fixture
def state(group):
    return OffsetState(group)


def held(partitions):
    return [(TOPIC, index) for index in range(partitions)]


def progress(partitions, position=100, first_open=40):
    return [Progress(TOPIC, index, position + index, first_open + index) for index in range(partitions)]


@given(st.integers(1, 5), st.integers(0, 2**62), st.integers(0, 10**6), STREAMS)
def test_what_is_committed_is_restored(partitions, first_open, read, streams):
    state = OffsetState(Group())
    committed = progress(partitions, first_open + read, first_open)
    state.commit(committed, streams)
    assert state.restore(held(partitions)) == Restored(tuple(committed), streams)


@given(st.lists(STREAMS, min_size=1, max_size=3))
def test_the_last_commit_is_the_one_that_counts(commits):
    state = OffsetState(Group())
    for streams in commits:
        state.commit(progress(3), streams)
    assert state.restore(held(3)).snapshots == commits[-1]


@given(STREAMS)
def test_metadata_is_plain_text(streams):
    group = Group()
    OffsetState(group).commit(progress(1), streams)
    (kept,) = group.kept.values()
    assert kept.metadata.isascii()
    assert kept.metadata.isprintable()


def test_the_committed_offset_is_the_first_open_one(group, state):
    state.commit([Progress(TOPIC, 3, position=100, first_open=40)], {})
    assert group.kept[TOPIC, 3].offset == 40


def test_a_group_that_has_committed_nothing_starts_from_nothing(state):
    assert state.restore(held(2)) == Restored((), {})


def test_only_partitions_that_were_read_before_have_progress(state):
    state.commit([Progress(TOPIC, 1, 9, 9)], {})
    assert state.restore(held(3)).progress == (Progress(TOPIC, 1, 9, 9),)


def test_an_offset_without_metadata_is_a_place_to_start_from(group, state):
    # Committed by Kafka's own tools, to reset the group.
    group.kept[TOPIC, 0] = Committed(TOPIC, 0, 17, "")
    assert state.restore(held(1)) == Restored((Progress(TOPIC, 0, 17, 17),), {})


def test_streams_are_spread_over_the_partitions(group, state):
    streams = {f"stream-{number}": WindowsSnapshot(number + 1) for number in range(40)}
    state.commit(progress(4), streams)
    alone = [set(state.restore([partition]).snapshots) for partition in held(4)]
    assert all(3 < len(names) < 20 for names in alone)
    assert sum(len(names) for names in alone) == len(streams)
    assert state.restore(held(4)).snapshots == streams


def test_streams_are_found_again_after_the_topic_has_grown(state):
    streams = {f"stream-{number}": WindowsSnapshot(number + 1) for number in range(20)}
    state.commit(progress(2), streams)
    assert state.restore(held(5)).snapshots == streams
    later = {name: WindowsSnapshot(snapshot.horizon_ms + 100) for name, snapshot in streams.items()}
    state.commit(progress(5), later)
    assert state.restore(held(5)).snapshots == later


def test_of_two_states_of_a_stream_the_one_that_has_come_further_counts():
    for horizons in [(None, 5), (5, None), (5, 7), (7, 5)]:
        group = Group()
        for index, horizon_ms in enumerate(horizons):
            own = Group()
            OffsetState(own).commit([Progress(TOPIC, index, 1, 1)], {"a": WindowsSnapshot(horizon_ms)})
            group.kept |= own.kept
        restored = OffsetState(group).restore(held(2)).snapshots
        assert restored == {"a": WindowsSnapshot(max(horizon or 0 for horizon in horizons))}


def test_many_streams_with_many_windows_fit_what_a_broker_takes(group, state):
    # 24 hourly windows and a day, open to correction, in each of 20 streams, on 6 partitions.
    hour_ms, start_ms = 3_600_000, 1_762_128_000_000
    windows = tuple((Window(hour_ms, start_ms + n * hour_ms), n % 5, 1_000 + n) for n in range(24))
    streams = {f"model-{n}": WindowsSnapshot(start_ms, windows) for n in range(20)}
    state.commit(progress(6), streams)
    assert max(len(kept.metadata) for kept in group.kept.values()) < LIMIT
    assert state.restore(held(6)).snapshots == streams


def packed(document):
    return base64.b85encode(zlib.compress(orjson.dumps(document))).decode()


FOREIGN = {
    "a word": "checkpoint-17",
    "another tool's json": '{"lastSeen": 12}',
    "not compressed": base64.b85encode(b"{}").decode(),
    "not json": base64.b85encode(zlib.compress(b"{")).decode(),
    "no mapping": packed([1, 2]),
    "no version": packed({"position": 1, "streams": {}}),
    "a later version": packed({"v": 2, "position": 1, "streams": {}}),
    "no position": packed({"v": 1, "streams": {}}),
    "no streams": packed({"v": 1, "position": 1}),
    "streams a list": packed({"v": 1, "position": 1, "streams": [1]}),
    "a stream without a horizon": packed({"v": 1, "position": 1, "streams": {"a": ["b", []]}}),
    "half a revision": packed({"v": 1, "position": 1, "streams": {"a": [1, "b", [[1, 2]]]}}),
}


@pytest.mark.parametrize("metadata", FOREIGN.values(), ids=FOREIGN)
def test_foreign_metadata_is_refused_with_its_place_and_a_remedy(group, state, metadata):
    group.kept[TOPIC, 3] = Committed(TOPIC, 3, 17, metadata)
    with pytest.raises(StateError, match=r"embeddings\[3\].*another group\.id, or reset"):
        state.restore([(TOPIC, 3)])


@settings(max_examples=300)
@given(STREAMS, st.integers(0, 10**6), st.sampled_from(["cut", "flip", "insert"]))
def test_damaged_metadata_is_refused_and_never_half_read(streams, place, damage):
    group = Group()
    OffsetState(group).commit(progress(1), streams)
    kept = group.kept[TOPIC, 0]
    place %= len(kept.metadata)
    before, character, after = kept.metadata[:place], kept.metadata[place], kept.metadata[place + 1 :]
    other = "0" if character != "0" else "1"
    kept.metadata = {
        "cut": before,
        "flip": before + other + after,
        "insert": before + "~" + character + after,
    }[damage]
    if not kept.metadata:
        return  # an offset that was reset
    try:
        restored = OffsetState(group).restore(held(1))
    except StateError:
        return
    # Only what stands behind the packed state, and says nothing, can be damaged unseen.
    assert restored == Restored(tuple(progress(1)), streams)


def test_metadata_that_is_too_large_says_what_to_raise(group, state):
    group.failures = [KafkaError(KafkaError.OFFSET_METADATA_TOO_LARGE)]
    with pytest.raises(StateError, match=r"raise offset\.metadata\.max\.bytes .* or give the topic more"):
        state.commit(progress(1), {"a": EMPTY})


@pytest.mark.parametrize("whole_request", [True, False])
def test_a_refused_commit_is_the_callers_to_try_again(group, state, whole_request):
    error = KafkaError(KafkaError.REBALANCE_IN_PROGRESS)
    if whole_request:
        group.failures = [error]
    else:
        group.refused = error
    with pytest.raises(KafkaException) as raised:
        state.commit(progress(2), {"a": EMPTY})
    assert raised.value.args[0] is error
    assert group.kept == {}


def test_too_large_for_one_partition_alone_is_told_as_well(group, state):
    group.refused = KafkaError(KafkaError.OFFSET_METADATA_TOO_LARGE)
    with pytest.raises(StateError, match="does not fit"):
        state.commit(progress(2), {"a": EMPTY})


@pytest.mark.parametrize(
    "error",
    [KafkaError(KafkaError._TIMED_OUT), KafkaError(KafkaError.COORDINATOR_LOAD_IN_PROGRESS, retriable=True)],
)
def test_a_coordinator_that_is_busy_is_asked_again(group, state, error):
    state.commit(progress(1), {"a": EMPTY})
    group.failures = [error, error]
    assert state.restore(held(1)).snapshots == {"a": EMPTY}
    assert group.asked == 3


def test_a_coordinator_that_stays_silent_is_a_broker_error(group, state):
    group.failures = [KafkaError(KafkaError._TIMED_OUT)] * 10
    with pytest.raises(BrokerError, match=r"committed offsets cannot be read .*; check the brokers"):
        state.restore(held(1))
    assert group.asked == 3


def test_a_coordinator_that_refuses_is_not_asked_again(group, state):
    group.failures = [KafkaError(KafkaError.GROUP_AUTHORIZATION_FAILED)]
    with pytest.raises(BrokerError):
        state.restore(held(1))
    assert group.asked == 1


def test_a_partition_whose_offset_is_refused_does_not_pass_for_a_new_one(group, state):
    group.kept[TOPIC, 1] = Committed(TOPIC, 1, error=KafkaError(KafkaError.TOPIC_AUTHORIZATION_FAILED))
    with pytest.raises(BrokerError, match="cannot be read"):
        state.restore(held(2))


def test_state_outlives_its_consumer_on_a_broker():
    streams = {"a": WindowsSnapshot(5, ((Window(1_000, 4_000), 2, 7),)), "b": EMPTY}
    with EmbeddedBroker([TOPIC]) as broker:
        properties = {"bootstrap.servers": broker.bootstrap, "group.id": "g"}
        writer = client.consumer(properties)
        OffsetState(writer).commit(progress(4), streams)
        writer.close()
        reader = client.consumer(properties)
        restored = OffsetState(reader).restore(held(4))
        reader.close()
    assert restored == Restored(tuple(progress(4)), streams)
