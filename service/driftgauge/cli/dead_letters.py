"""`driftgauge dead-letters`: look at refused records, and send them back after a mend."""

from collections import Counter, defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from heapq import merge, nlargest
from itertools import compress
from pathlib import Path
from typing import Self

import click
import numpy as np
from confluent_kafka import KafkaException, TopicPartition

from driftgauge.cli.options import TIME, config_option, open_schemas, read_settings
from driftgauge.cli.printing import json_option, print_report
from driftgauge.clock import SYSTEM_CLOCK
from driftgauge.config import Settings
from driftgauge.core.counting.interval import IntervalCounter
from driftgauge.core.durations import format_duration
from driftgauge.core.window import Window
from driftgauge.engine.producer.transaction import ANY
from driftgauge.errors import AuthorizationError, InputError
from driftgauge.events.records import FIRST_ORIGIN, Records, credible_ms
from driftgauge.events.refusals import Refusals
from driftgauge.events.rejection import Reason, Rejection, overflow
from driftgauge.events.schemas import SchemaSource
from driftgauge.events.timestamps import LAST_MS, format_timestamp
from driftgauge.kafka import client
from driftgauge.kafka.client import REQUEST_TIMEOUT_S, KafkaProperties
from driftgauge.kafka.cluster import count_partitions, failure
from driftgauge.layout import Block, Table
from driftgauge.records.dead_letter import RefusedRecord, read_letter
from driftgauge.report.reading import topic_results
from driftgauge.streams import ConfiguredStream, build_decoder, load_streams
from driftgauge.topics.topic_range import TopicRange

__all__ = ["dead_letters_group"]

_DAY_MS = 86_400_000
_MOST_SHOWN, _MOST_SENT = 1_000, 100_000
# In a run, which is one transaction, and in memory for each partition.
_MOST_BYTES = 64 * 1024 * 1024
_SHOWN_CHARACTERS, _SHOWN_ORIGINS = 200, 3

# More than a failover, 12 s.
_TRANSACTION_S = 30.0

_NONE = "no such record in the range; --from reaches further back"
_REASONS = click.Choice([reason.value for reason in Reason])
_from_option = click.option(
    "--from", "from_ms", type=TIME, help="The first time of refusal, RFC 3339.  [default: a day ago]"
)


class Requeue:
    """Sends the dead letters of one reason back.

    A group of its own holds the offsets up to which they were sent. The transactional id has its name, so
    that the start of another run fences this one.
    """

    def __init__(self, properties: KafkaProperties, topic: str, group: str, events: Collection[str]) -> None:
        """Create the clients.

        Args:
            properties: librdkafka's properties.
            topic: The dead-letter topic.
            group: The group of the offsets.
            events: The topics that records are sent back to.
        """
        self._topic = topic
        self._group = group
        self._events = events
        self._admin = client.admin(properties)
        self._consumer = client.consumer(properties, group)
        # The prefix is that of the service's ids, so that the same right covers it.
        self._id = f"driftgauge.{group}"
        self._producer = client.transactional_producer(properties, self._id, lambda _: None)
        self._sizes: dict[str, int] = {}  # the numbers of partitions of these topics

    def __enter__(self) -> Self:
        return self

    def __exit__(self, _: object, error: BaseException | None, __: object) -> None:
        """Close the consumer; raise AuthorizationError or BrokerError for what the client raised."""
        self._consumer.close()
        if isinstance(error, KafkaException):
            raise failure(
                error.args[0],
                "refused records cannot be sent back",
                right=f"grant Read on group {self._group}, Write on transactional id {self._id} and on "
                f"{', '.join(sorted(self._events))}",
                remedy="check the brokers and run again: nothing is sent twice",
            ) from error

    def start(self) -> None:
        """End the transactions of every other run."""
        self._sizes = count_partitions(self._admin, self._events)
        self._producer.init_transactions(_TRANSACTION_S)

    def positions(self, partitions: Sequence[int]) -> dict[int, int]:
        """Return the offsets up to which letters were sent, by partition; -1001 if none was."""
        asked = [TopicPartition(self._topic, partition) for partition in partitions]
        found = self._consumer.committed(asked, REQUEST_TIMEOUT_S)
        return {each.partition: each.offset for each in found}

    def send(self, records: Sequence[RefusedRecord], positions: Mapping[int, int]) -> None:
        """Send records back, and commit the offsets by partition up to which letters were then sent.

        A record keeps its key, value, headers, timestamp, which may be its event time, and partition, if the
        topic still has it. If this fails, nothing was sent, or that is unknown; the positions after the
        next start show it.
        """
        offsets = [TopicPartition(self._topic, partition, end) for partition, end in positions.items()]
        try:
            self._producer.begin_transaction()
            for record in records:
                first = (
                    [] if FIRST_ORIGIN in dict(record.headers) else [(FIRST_ORIGIN, record.origin.encode())]
                )
                self._producer.produce(
                    record.topic,
                    record.letter.value(),
                    record.letter.key(),
                    self._partition(record),
                    headers=[*record.headers, *first],
                    timestamp=record.time_ms,
                )
            self._producer.send_offsets_to_transaction(
                offsets, self._consumer.consumer_group_metadata(), _TRANSACTION_S
            )
            self._producer.commit_transaction(_TRANSACTION_S)
        except KafkaException:
            with suppress(KafkaException):
                self._producer.abort_transaction(_TRANSACTION_S)
            raise

    def _partition(self, record: RefusedRecord) -> int:
        return int(record.partition) if int(record.partition) < self._sizes.get(record.topic, 0) else ANY


@click.group("dead-letters")
def dead_letters_group() -> None:
    """Look at refused records, and send them back after a mend."""


@dead_letters_group.command("list")
@config_option
@_from_option
@json_option
def _list(config_path: Path, from_ms: int | None, *, as_json: bool) -> None:
    """Count the refused records by topic and reason."""
    records = _read(read_settings(config_path), from_ms)
    found = sorted(Counter((record.topic, record.reason) for record in records).items())
    counts = [{"topic": topic, "reason": reason, "records": number} for (topic, reason), number in found]
    rows = [(topic, reason, f"{number:,}") for (topic, reason), number in found]
    blocks = [Table(("topic", "reason", "records"), rows, text=(0, 1))] if rows else [_NONE]
    print_report({"refused": counts}, lambda _: blocks, as_json=as_json)


@dead_letters_group.command("show")
@config_option
@click.option("--reason", type=_REASONS, help="Only records that were refused for it.")
@_from_option
@click.option(
    "--last",
    "number",
    type=click.IntRange(1, _MOST_SHOWN),
    default=10,
    show_default=True,
    help="Number of records.",
)
@json_option
def _show(config_path: Path, reason: str | None, from_ms: int | None, number: int, *, as_json: bool) -> None:
    """Show the last refused records: origin, reason, and the beginnings of key, headers and value.

    With --json these are whole.
    """
    records = _read(read_settings(config_path), from_ms)
    chosen = (record for record in records if reason in {None, record.reason})
    shown = []
    blocks: list[Block] = []
    for record in nlargest(number, chosen, key=lambda record: record.letter.timestamp()[1])[::-1]:
        found = [("key", record.letter.key()), *record.headers, ("value", record.letter.value())]
        parts = [(name, None if part is None else _to_text(part)) for name, part in found]
        parts += [("omitted", record.omitted)] if record.omitted else []
        shown.append(
            {"origin": record.origin, "reason": record.reason, "detail": record.detail, "parts": parts}
        )
        rows = [(name, "none" if text is None else _shorten(text)) for name, text in parts]
        blocks += [f"{record.origin}: {record.reason}: {record.detail}", Table((), rows, text=(0, 1))]
    print_report({"records": shown}, lambda _: blocks or [_NONE], as_json=as_json)


@dead_letters_group.command("requeue")
@config_option
@click.option("--reason", type=_REASONS, required=True, help="What was mended.")
@click.option(
    "--most", type=click.IntRange(1, _MOST_SENT), default=1_000, show_default=True, help="Number of records."
)
@click.option("--send", is_flag=True, help="Send them; without it, only say what would be sent.")
@json_option
def _requeue(config_path: Path, reason: str, most: int, *, send: bool, as_json: bool) -> None:
    """Send refused records of a reason back to their topics after a mend, each once.

    Each is read by the configuration first. A record is not sent if it would be refused again, if its letter
    does not hold it as a whole, or if its topic is not read. A run sends in the order of the events' times,
    so that none is late because of another: let one run send all. A group of its own,
    GROUP.requeue.REASON, keeps how far records were sent: a later run goes on after the last of them.
    """
    settings = read_settings(config_path)
    topic, group = settings.topics.dead_letters, f"{settings.group}.requeue.{reason}"
    passed: list[str] = []
    refusals = Refusals()
    streams = load_streams(settings)
    with (
        open_schemas(settings, settings.inputs.values()) as schemas,
        Requeue(settings.kafka, topic, group, settings.topics.events) as requeue,
        TopicRange(settings.kafka, topic, 0, LAST_MS, events=settings.topics.events) as span,
    ):
        trial = _Trial(settings, streams, schemas)
        if send:
            requeue.start()
        done = requeue.positions([each.index for each in span.ranges])
        if any(done[each.index] > each.stop for each in span.ranges):
            fault = f"{topic} was created again; delete the offsets of the group {group}, then run again"
            raise InputError(fault)
        partitions = {each.index: _Sendable(most) for each in span.ranges}
        for each in span.ranges:
            span.ranges = (replace(each, start=max(each.start, done[each.index])),)
            sendable = partitions[each.index]
            for letters in span.batches():
                records = [*map(read_letter, letters)]
                usable = [
                    each.reason == reason and each.is_whole and each.topic in settings.topics.events
                    for each in records
                ]
                judged = trial.judge([*compress(records, usable)])
                for record, is_usable in zip(records, usable, strict=True):
                    outcome = next(judged) if is_usable else None
                    sendable.add(record, outcome)
                    if isinstance(outcome, Rejection):
                        refusals.add(record.origin, outcome.reason, outcome.detail, outcome.stream)
                    elif outcome is None and record.reason == reason:
                        passed.append(record.origin)
                if send and sendable.left:
                    break
        chosen, positions = _choose(partitions, most)
        if send and positions:
            requeue.send([each.record for each in chosen], positions)
    sent = Counter(each.record.topic for each in chosen)
    found = sum(len(each.letters) + each.left for each in partitions.values())
    times = _describe_times(settings, chosen) if chosen and not send else []
    report = {
        "is_sent": send,
        "sent": sent,
        "left": found - len(chosen),
        "passed_by": passed,
        "refused_again": refusals.by_reason(),
        "times": times,
    }
    blocks = _describe_sent(sent, found - len(chosen), passed, refusals, times, send=send)
    print_report(report, lambda _: blocks, as_json=as_json)


@dataclass(frozen=True, slots=True)
class _Letter:
    """A record that can be sent.

    Attributes:
        record: The record.
        streams: The streams of its events; none if the configuration filters it out.
        time_ms: The time of its events, or its own.
    """

    record: RefusedRecord
    streams: frozenset[str]
    time_ms: int


class _Sendable:
    """The first records of a partition that can be sent, up to a number and a size.

    Attributes:
        letters: The records, in the order of their letters.
        ends: The offset up to which letters are done once so many of these are sent; 0 for no change.
        left: The number of those after them.
    """

    def __init__(self, most: int) -> None:
        self.letters: list[_Letter] = []
        self.ends = [0]
        self.left = 0
        self._most, self._bytes = most, 0
        self._is_held = False

    def add(self, record: RefusedRecord, outcome: "_Letter | Rejection | None") -> None:
        """Add a record, with what it is if it is usable; of one that would be refused again none is done."""
        end = (record.letter.offset() or 0) + 1
        if isinstance(outcome, _Letter):
            self._bytes += len(record.letter.value() or b"")
            if self.left or len(self.letters) == self._most or (self.letters and self._bytes > _MOST_BYTES):
                self.left += 1
                return
            self.letters.append(outcome)
            self.ends.append(end)
            self._is_held = False
        elif isinstance(outcome, Rejection):
            self._is_held = True
        elif not self._is_held and not self.left:
            self.ends[-1] = end


def _choose(partitions: Mapping[int, _Sendable], most: int) -> tuple[list[_Letter], dict[int, int]]:
    """Return the records to send in the order of their events' times, and the positions after them.

    Each partition gives its first records: the next one taken is always that with the earliest time.
    """
    taken = dict.fromkeys(partitions, 0)
    chosen: list[_Letter] = []
    size = 0
    by_partition = ([(index, each) for each in own.letters] for index, own in sorted(partitions.items()))
    for index, letter in merge(*by_partition, key=lambda each: each[1].time_ms):
        if len(chosen) == most or size >= _MOST_BYTES:
            break
        chosen.append(letter)
        size += len(letter.record.letter.value() or b"")
        taken[index] += 1
    chosen.sort(key=lambda each: each.time_ms)
    ends = {index: own.ends[taken[index]] for index, own in partitions.items()}
    return chosen, {index: end for index, end in ends.items() if end}


class _Trial:
    """Reads refused records as the service would by a configuration."""

    def __init__(
        self, settings: Settings, streams: Sequence[ConfiguredStream], schemas: SchemaSource | None
    ) -> None:
        self._decoder = build_decoder(
            streams,
            settings.allowed_lead,
            settings.largest_record,
            settings.inputs,
            schemas,
            age_ms=settings.allowed_age,
        )
        self._counter = IntervalCounter(stream.spec for stream in streams)

    def judge(self, records: Sequence[RefusedRecord]) -> Iterator[_Letter | Rejection]:
        """Yield why each record would be refused again, or what is to be sent."""
        now_ms = SYSTEM_CLOCK.wall_ms()
        raw = [record.raw for record in records]
        zeros = np.zeros(len(raw), np.int32)
        decoded = self._decoder.decode(Records(raw, zeros, np.arange(len(raw)), credible_ms(raw, now_ms)))
        refused = self._counter.count(decoded.batches, now_ms)
        self._counter.drop()
        rejections = [*map(overflow, refused, refused.values()), *decoded.rejections]
        by_row = {rejection.row: rejection for rejection in rejections}
        streams: defaultdict[int, set[str]] = defaultdict(set)
        times_ms = {row: record.time_ms for row, record in enumerate(records)}
        for batch in decoded.batches:
            times_ms |= zip(batch.row.tolist(), batch.time_ms.tolist(), strict=True)
            for row in batch.row.tolist():
                streams[row].add(batch.stream)
        for row, record in enumerate(records):
            yield by_row.get(row) or _Letter(record, frozenset(streams[row]), times_ms[row])


def _describe_times(settings: Settings, chosen: Sequence[_Letter]) -> list[str]:
    """Return sentences about the times of events, and how many come after their windows are final."""
    span = f"{format_timestamp(chosen[0].time_ms)} to {format_timestamp(chosen[-1].time_ms)}"
    said = [f"their events are from {span}, and are sent in this order"]
    try:
        with topic_results(settings, SYSTEM_CLOCK) as material:
            history = material.results.history
    except (AuthorizationError, InputError) as error:
        return [*said, f"it is not known how many come too late: {error}"]
    newest_ms: dict[str, int] = {}
    for series in history.series():
        end_ms = int(history.windows(series, 1)["start_ms"][0]) + series.size_ms
        newest_ms[series.stream] = max(end_ms, newest_ms.get(series.stream, 0))
    late: Counter[int] = Counter()
    for letter in chosen:
        sizes_ms = {
            size_ms
            for stream in letter.streams & newest_ms.keys()
            for size_ms in settings.by_stream[stream].windows
            if Window.around(letter.time_ms, size_ms).end_ms + settings.by_stream[stream].allowed_lateness
            <= newest_ms[stream]
        }
        late.update(sizes_ms)
    listed = ", ".join(
        f"{late[size_ms]:,} for windows of {format_duration(size_ms)}" for size_ms in sorted(late)
    )
    late_ones = f"{listed}; they are counted as late, and change no such window" if late else "none"
    return [*said, f"come too late, by the newest published windows and allowed_lateness: {late_ones}"]


def _describe_sent(
    sent: Mapping[str, int],
    left: int,
    passed: Sequence[str],
    refusals: Refusals,
    times: Sequence[str],
    *,
    send: bool,
) -> list[Block]:
    listed = ", ".join(f"{number:,} to {name}" for name, number in sorted(sent.items()))
    if send:
        lines: list[Block] = [f"sent {listed or 'none'}{'; more are left: run again' if left else ''}"]
    elif listed:
        lines = [
            f"would send {listed}{f', and {left:,} more in later runs' if left else ''}; start the service "
            "with this configuration first, then add --send"
        ]
    else:
        lines = ["there is nothing to send"]
    lines += [f"  {sentence}" for sentence in times]
    if passed:
        more = ", …" if len(passed) > _SHOWN_ORIGINS else ""
        lines.append(
            f"passed by {len(passed):,}, whose letters do not hold them whole or whose topic is not read: "
            f"{', '.join(passed[:_SHOWN_ORIGINS])}{more}"
        )
    if by_reason := refusals.by_reason():
        numbers = ", ".join(f"{number:,} {reason}" for reason, number in by_reason.items())
        lines += [
            f"not sent, because this configuration would refuse them again: {numbers}",
            *(f"  {line}" for line in refusals.first),
            "a later run offers those of them that come after the last record sent; mend all of them first",
        ]
    return lines


def _read(settings: Settings, from_ms: int | None) -> Iterator[RefusedRecord]:
    """Yield the records that were refused from a time on, by default within a day."""
    start_ms = SYSTEM_CLOCK.wall_ms() - _DAY_MS if from_ms is None else from_ms
    with TopicRange(
        settings.kafka, settings.topics.dead_letters, start_ms, LAST_MS, events=settings.topics.events
    ) as span:
        for letters in span.batches():
            yield from map(read_letter, letters)


def _to_text(part: bytes | str) -> str:
    return part if isinstance(part, str) else part.decode(errors="backslashreplace")


def _shorten(text: str) -> str:
    return (
        text if len(text) <= _SHOWN_CHARACTERS else f"{text[:_SHOWN_CHARACTERS]}… ({len(text):,} characters)"
    )
