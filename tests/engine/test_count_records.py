"""COUNT's counts of records: accepted, filtered, rejected, and those that wait for a schema."""

import json
import re
from collections import Counter
from unittest.mock import DEFAULT, MagicMock, Mock

import numpy as np
import pytest
from confluent_kafka import KafkaError
from hypothesis import given, settings
from hypothesis import strategies as st

from driftgauge.config.inputs import InputSettings
from driftgauge.core.commit_limit import CommitLimit
from driftgauge.engine.count.count_worker import CountWorker
from driftgauge.engine.count.topic_watch import EventsTopic
from driftgauge.errors import ClientLost
from driftgauge.events.decoder import Decoder
from driftgauge.events.mapped_readers import build_readers
from driftgauge.events.outcomes import RecordLoss, RecordOutcome, SkipPlace
from driftgauge.events.rejection import Reason, SchemaPending
from driftgauge.telemetry.health import Role
from driftgauge.telemetry.roles import RoleTelemetry
from tests.builders.clocks import HOUR_MS, MONDAY_MS, ManualClock
from tests.builders.messages import TOPIC, FakeMessage
from tests.builders.references import CLUSTERS
from tests.builders.telemetry import SHARDS, build_telemetry, sample_reader
from tests.engine.parts import CONTRACTS, SPECS, STREAM, GroupConsumer, QuickAdmin, build_settings
from tests.examples import examples

FIRST, SECOND = (TOPIC, 0), (TOPIC, 1)
MAPPING = {
    "where": [{"path": "op", "in": ["c"]}],
    "stream": {"constant": STREAM},
    "timestamp": {"record": "timestamp"},
    "embedding": "v",
}
ACCEPTED, FILTERED, REJECTED = RecordOutcome


class Worker:
    """A count worker of two partitions without a broker, which has started at the committed offsets.

    Attributes:
        unknown: Values that cannot be read, for their schema is not known yet.
        error: What is raised for them.
    """

    def __init__(self, telemetry=None, timestamp=None, begin=0):
        self.unknown: set[bytes] = set()
        self.error: type[Exception] = SchemaPending
        self.clock, self.letters = ManualClock(), Mock(is_full=False)
        self.consumer = GroupConsumer(dict.fromkeys((0, 1), (0, "id")))
        self.telemetry = telemetry or MagicMock(spec=RoleTelemetry)
        mapping = MAPPING | {"timestamp": timestamp or MAPPING["timestamp"]}
        (reader,) = build_readers({TOPIC: InputSettings.model_validate(mapping)}).values()
        decode = Mock(wraps=reader._encoding.decode_mapped, side_effect=self._require_known)
        reader._encoding.decode_mapped = decode
        self.worker = CountWorker(
            build_settings(
                {"bootstrap.servers": "a:1", "group.id": "g"}, windows="w", letters="l", events=TOPIC
            ),
            SPECS,
            Decoder(CONTRACTS, lead_ms=0, readers={TOPIC: reader}),
            consumer=self.consumer,
            admin=QuickAdmin(begin, 100),
            transaction=Mock(producer="p", epoch=0),
            letters=self.letters,
            topics=Mock(known={TOPIC: EventsTopic("id", 2)}, missing=frozenset()),
            guard=Mock(),
            telemetry=self.telemetry,
            clock=self.clock.clock,
            part_bytes=100_000,
            limit=CommitLimit(),
        )
        self.worker.assign([FIRST, SECOND])
        self.start()

    def start(self):
        """Let the worker find the starts of its partitions; return what it gives the client."""
        logged = len(self.consumer.log)
        for _ in range(5):
            self.worker.step(1.0)
        return self.consumer.log[logged:]

    def _require_known(self, record):
        if record.value() in self.unknown:
            raise self.error
        return DEFAULT

    def process(self, *values, partition=0, offset=0):
        """Process values at consecutive offsets of a partition."""
        self.worker.process(
            [
                FakeMessage(content, partition=partition, offset=offset + index, leader_epoch=3)
                for index, content in enumerate(values)
            ]
        )

    @property
    def rejections(self):
        return [each for call in self.letters.add.call_args_list for each in call.args[1]]

    def position(self, partition=FIRST):
        return self.worker._held.find(partition).position

    def commit(self):
        """Commit, and return the records by outcome and the events by outcome, as telemetry gets them."""
        self.worker._commit(1.0)
        (counts,) = self.telemetry.counted.call_args.args
        return (
            {outcome: number for (_, outcome), number in counts.records.items() if number},
            (counts.events.total(), counts.rejected.total()),
        )


@pytest.fixture
def worker():
    return Worker()


def content(*vectors, op="c"):
    return json.dumps({"op": op, "v": vectors[0] if len(vectors) == 1 else vectors}).encode()


UNIT = [1.0, *[0.0] * (CLUSTERS - 1)]
SOUND, TWO = content(UNIT), content(UNIT, UNIT)
# Its products overflow float32, which only counting finds.
LARGEST = 3.4028234663852886e38
OVERFLOWING = content(UNIT, [-LARGEST, LARGEST, *[0.0] * (CLUSTERS - 2)])


@pytest.mark.parametrize("vectors", [1, 100])
def test_share_of_rejected_records_does_not_depend_on_their_vectors(vectors):
    metrics = build_telemetry(STREAM)
    worker = Worker(telemetry=RoleTelemetry(metrics, Role.COUNT, SHARDS))
    worker.process(*[content(*[UNIT] * vectors), b"{", content(UNIT, op="d")] * 3, OVERFLOWING)
    worker.worker._commit(1.0)
    names = "events_total", "records_total", "stream_records_total", "records_rejected_total"
    events, records, of_stream, rejected = sample_reader(metrics.registry)(*names).values()
    assert events == {STREAM: 3 * vectors}
    assert records == {f"accepted {TOPIC}": 3, f"filtered {TOPIC}": 3, f"rejected {TOPIC}": 4}
    assert of_stream == {STREAM: 3}
    refused = {f"undecodable {STREAM} {TOPIC}": 3, f"non_finite {STREAM} {TOPIC}": 1}
    assert rejected == {**refused, f"fault  {TOPIC}": 0}
    assert [metrics.activity.take("a").read for _ in range(2)] == [{TOPIC: 7}, {}]


@pytest.mark.parametrize("vectors", [1, 100])
@pytest.mark.parametrize(
    ("hours", "number", "gap", "refused", "said"),
    [
        (-2, 8, 4, {}, "in 8 of 10 records the event time is 2h before the record's time"),
        (
            2,
            10,
            -4,
            {(TOPIC, STREAM, "future"): 10},
            "in 10 of 10 records the event time is 2h after the record's time: .*a clock is 2h ahead",
        ),
    ],
)
def test_records_some_hours_off_their_events_are_counted_and_logged_once(
    caplog, vectors, hours, number, gap, refused, said
):
    metrics = build_telemetry(STREAM)
    worker = Worker(telemetry=RoleTelemetry(metrics, Role.COUNT, SHARDS), timestamp="at")
    event = json.loads(content(*[UNIT] * vectors))
    times_ms = [MONDAY_MS + hours * HOUR_MS] * number + [MONDAY_MS - 250] * (10 - number)
    for offset in (0, 10):
        worker.process(*(json.dumps(event | {"at": each}).encode() for each in times_ms), offset=offset)
        worker.worker._commit(1.0)
        heartbeat = metrics.activity.take("a")
        assert (heartbeat.gaps, heartbeat.refused) == ({(STREAM, gap): number}, refused)
    (found,) = (each.found for each in caplog.records if "whole hours" in each.message)
    assert re.match(said, found)


def test_record_without_schema_pauses_its_partition_at_its_offset(worker):
    worker.unknown = {b"unknown"}
    worker.process(SOUND, b"unknown", SOUND, b"{", offset=4)
    worker.process(SOUND, partition=1, offset=8)
    # What was fetched before the pause is left, the end of the partition as well.
    worker.process(SOUND, offset=8)
    worker.worker.process([end(9)])
    assert (worker.position(FIRST), worker.position(SECOND)) == (5, 9)
    assert worker.consumer.log[1:] == [("unassign", [FIRST])]
    assert worker.rejections == []
    assert worker.commit()[0] == {ACCEPTED: 2}
    assert list(worker.telemetry.waiting_for_schema.call_args.args[0]) == [FIRST]
    worker.unknown = set()
    worker.clock.advance(1)
    # The leader epoch is that of the last record read.
    assert worker.start() == [("assign", [(*FIRST, 5, 3)])]
    worker.process(b"unknown", SOUND, b"{", offset=5)
    assert worker.position() == 8
    assert worker.commit()[0] == {ACCEPTED: 1, REJECTED: 2}


def read_for_two_minutes(worker, poll=lambda: None):
    for _ in range(25):
        worker.clock.advance(5)
        poll()
        worker.worker.step(1.0)


def test_client_that_gives_no_record_is_lost(worker):
    with pytest.raises(ClientLost, match=r"nothing of embeddings\[0\], embeddings\[1\], and"):
        read_for_two_minutes(worker)
    worker.telemetry.read_to.assert_called_with(*SECOND, position=0, end=100)


@pytest.mark.parametrize(
    "error", [KafkaError(KafkaError._BAD_COMPRESSION), None], ids=["damaged", "no schema"]
)
def test_client_whose_partitions_say_why_they_wait_is_not_lost(worker, error):
    worker.unknown = {b"unknown"}

    def poll():
        worker.worker.process([FakeMessage(b"unknown", partition=part, error=error) for part in (0, 1)])

    read_for_two_minutes(worker, poll)


def test_lack_of_memory_is_no_fault_of_the_record(worker):
    worker.unknown.add(SOUND)
    worker.error = MemoryError
    with pytest.raises(MemoryError):
        worker.process(SOUND)
    assert (worker.rejections, worker.position()) == ([], 0)


@pytest.mark.parametrize("culprits", [{0}, {3, 4}, {7}, set(range(8))])
def test_record_on_which_the_code_fails_is_refused_and_the_others_counted(worker, culprits):
    decode = worker.worker._decoder.decode

    def decode_or_fail(records):
        if culprits & set(records.offset.tolist()):
            raise RecursionError("a fault of a library")
        return decode(records)

    worker.worker._decoder = Mock(decode=decode_or_fail)
    for _ in range(40):
        worker.start()
        worker.process(*[SOUND] * (8 - worker.position()), offset=worker.position())
    assert worker.position() == 8
    assert {rejection.reason for rejection in worker.rejections} == {Reason.FAULT}
    counted = {ACCEPTED: 8 - len(culprits), REJECTED: len(culprits)}
    assert worker.commit()[0] == {outcome: number for outcome, number in counted.items() if number}


def end(offset):
    return FakeMessage(None, offset=offset, error=KafkaError(KafkaError._PARTITION_EOF))


@pytest.mark.parametrize("ends_later", [0, 7])
@pytest.mark.parametrize(
    ("delivered", "start", "between"), [([0, 1, 2], 0, 0), ([3, 4], 3, 0), ([0, 2, 5], 0, 3), ([2, 4], 2, 1)]
)
def test_offsets_without_a_record_are_counted_by_place(worker, delivered, start, between, ends_later):
    for offset in delivered:
        worker.process(SOUND, offset=offset)
    after = delivered[-1] + 1
    worker.worker.process([end(after + ends_later)])
    progress = worker.worker._held.find(FIRST).progress(2)
    assert (progress.end, progress.skipped) == (after + ends_later, start + between + ends_later)
    for expected in (
        {SkipPlace.START: start, SkipPlace.BETWEEN: between + ends_later},
        {SkipPlace.BETWEEN: 2},
    ):
        worker.commit()
        (counts,) = worker.telemetry.counted.call_args.args
        assert +counts.skipped == +Counter({(TOPIC, place): number for place, number in expected.items()})
        worker.process(SOUND, offset=after + ends_later + 2)


def test_commit_reports_once_what_kafka_deleted_before_it_was_read():
    worker = Worker(begin=20)
    for losses in (dict.fromkeys((FIRST, SECOND), RecordLoss(20, 0)), {}):
        worker.commit()
        (counts,) = worker.telemetry.counted.call_args.args
        assert counts.losses == losses


VALUES = st.sampled_from(
    [SOUND, TWO, content(UNIT, op="d"), b"{", None, content([1.0]), OVERFLOWING, b"null"]
)


@settings(max_examples=examples(50))
@given(
    batches=st.lists(
        st.lists(st.tuples(st.integers(0, 1), VALUES | st.binary(max_size=5)), max_size=8), max_size=3
    )
)
def test_records_read_are_accepted_filtered_or_rejected(batches):
    worker = Worker()
    offsets = [0, 0]
    for batch in batches:
        messages = []
        for partition, each in batch:
            messages.append(FakeMessage(each, partition=partition, offset=offsets[partition]))
            offsets[partition] += 1
        worker.worker.process(messages)
    records, (_, rejected) = worker.commit()
    assert sum(records.values()) == sum(offsets)
    assert records.get(REJECTED, 0) == rejected == len(worker.rejections)
    assert [worker.position(FIRST), worker.position(SECOND)] == offsets
    assert np.all(np.array(list(records.values()), int) >= 0)
