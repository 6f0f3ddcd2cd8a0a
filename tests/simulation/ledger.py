"""What is known of a run: what producers wrote, what the brokers have committed, and what follows from both.

None of it comes from the workers under test, but what their telemetry shows of closing rounds.
"""

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Any

import orjson

from driftgauge.core.by_stream import ByStream
from driftgauge.core.counting.partial import CommitId, PartitionProgress, shard_of
from driftgauge.core.durations import parse_duration
from driftgauge.core.partition import Partition
from driftgauge.core.spec import StreamSpec
from driftgauge.core.window import Window
from driftgauge.core.windows.changelog import ShardPosition, StreamStatus
from driftgauge.events.records import StoredRecord
from driftgauge.events.timestamps import parse_timestamp
from driftgauge.records.changelog_records import decode
from driftgauge.records.partials import decode_part
from tests.builders.batches import partitions_of
from tests.simulation.kafka import Sent as SentTransaction
from tests.simulation.kafka import SimulatedKafka
from tests.simulation.page import Page
from tests.simulation.plan import START_MS, Plan
from tests.simulation.producers import Sent, encode
from tests.simulation.replicas import Deployment

WindowKey = tuple[str, int, int]
"""Stream, size in ms, start in ms."""
CONCLUSIVE = ("ok", "warning", "misfit", "drift")
"""The verdicts that say whether there is drift."""


@dataclass
class Fate:
    """What became of the events of one commit in one shard, by the documents.

    Attributes:
        applied: The events of admitted streams; `surplus`: of others, by their entry.
        late: By stream, size and start, those whose window was final.
        otherwise: The windows with events under another scheme than that of the last configuration.
    """

    applied: Counter[str] = field(default_factory=Counter)
    surplus: Counter[str] = field(default_factory=Counter)
    late: Counter[WindowKey] = field(default_factory=Counter)
    otherwise: set[WindowKey] = field(default_factory=set)


@dataclass(frozen=True)
class Counted:
    """A commit of COUNT in one shard, which WINDOWS has not committed.

    Attributes:
        commit: The commit; `last`: the offset of its last part.
        deployment: The configuration that its events were counted with.
        events: Its sound records of the shard's streams; `lost`: those lost before it that must be marked.
    """

    commit: CommitId
    last: int
    deployment: Deployment
    events: list[Sent]
    lost: list[Sent]


class Ledger:
    """What is known of a run.

    Attributes:
        kafka: The brokers.
        logs: What the records of each source partition say.
        committed: The offsets that COUNT committed; `reported`: when it last did.
        commits: The number of commits by group, and by shard.
        changelogs: The compacted changelog of each shard; `positions` and `statuses`: what it says.
        seen: How many commits of each shard a replica's telemetry shows, and of COUNT.
        rounds: The committed rounds of each shard: the deployment, the next offset, and the results; None
            of a round that leaves windows to the next.
        results: The published results as JSON, the last of each window.
        closed: How many results were published by stream, size and verdict; a verdict that stays counts once.
        passed: How many drifts have passed by stream and size.
        letters: The dead letters.
        page: The page, which reads results and heartbeats.
        fates: What became of the events of each applied commit, by shard.
        lost: The records that were deleted before they were read; `doubtful`: those whose windows
            must be marked, with each.
        truncated: How many logs have lost records that were counted.
        stopped: The partials of shards that a replica has stopped, because their changelogs lack records.
        unheard: The streams without an event since a topic was deleted and created again.
    """

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.deployments = [Deployment.load(each, plan.encodings) for each in plan.configurations]
        self.settings = self.deployments[0].settings
        self.shards = self.settings.shards
        self.kafka = SimulatedKafka(START_MS, Random(repr(plan.configurations)))
        self.kafka.on_end = self._end
        self.sizes = dict(plan.partitions)
        self.logs: dict[Partition, list[Sent]] = {at: [] for at in partitions_of(self.sizes)}
        self.former: dict[tuple[str, Partition], tuple[list[Sent], int]] = {}
        self.committed: dict[Partition, int] = {}
        self.reported: Counter[Partition] = Counter()
        self.commits: Counter[str | int] = Counter()
        self.seen: Counter[str | int] = Counter()
        self.changelogs: list[dict[bytes, bytes]] = [{} for _ in range(self.shards)]
        self.positions: dict[int, ShardPosition] = {}
        self.statuses: list[dict[str, StreamStatus]] = [{} for _ in range(self.shards)]
        self.rounds: list[list[tuple[Deployment, int, list[bytes] | None]]] = [[] for _ in range(self.shards)]
        self.results: dict[WindowKey, dict[str, Any]] = {}
        self.closed: Counter[tuple[str, int, str]] = Counter()
        self.passed: Counter[tuple[str, int]] = Counter()
        self.letters: list[StoredRecord] = []
        self.page = Page(lambda: self.now_ms)
        self.fates: list[dict[CommitId, Fate]] = [{} for _ in range(self.shards)]
        self.lost: list[Sent] = []
        self.doubtful: list[tuple[Sent, WindowKey]] = []
        self.truncated = 0
        self.stopped: set[Partition] = set()
        self.unheard: set[str] = set()
        self.chain_errors: list[str] = []
        self._measured: dict[tuple[str, int, str], int] = {}
        self._counted: list[list[Counted]] = [[] for _ in range(self.shards)]

    @property
    def now_ms(self) -> int:
        return self.kafka.now_ms

    def publish(self, *records: Sent) -> None:
        """Write records; one that the topic does not have a partition for goes to another one."""
        for sent in records:
            at = sent.topic, sent.partition % self.sizes[sent.topic]
            for (value, headers), each in encode(self.plan.encodings[sent.topic], sent):
                self.logs[at].append(each)
                self.kafka.logs[at].append(self.now_ms, value=value, headers=[*headers])

    def newest(self, stream: str, size_ms: int, *verdicts: str) -> dict[str, Any] | None:
        """Return the last published result of the newest window of a size, of those with some verdicts."""
        starts_ms = [
            key[2]
            for key, found in self.results.items()
            if key[:2] == (stream, size_ms) and (not verdicts or found["verdict"] in verdicts)
        ]
        return self.results[stream, size_ms, max(starts_ms)] if starts_ms else None

    def has_alarm(self, stream: str, size_ms: int) -> bool:
        """Return whether the last conclusive window of a size says drift."""
        found = self.newest(stream, size_ms, *CONCLUSIVE)
        return found is not None and found["verdict"] == "drift"

    def spec_of(self, deployment: Deployment, stream: str) -> StreamSpec:
        """Return the specification of a stream."""
        return ByStream({spec.name: spec for spec in deployment.specs})[stream]

    @property
    def late(self) -> Counter[tuple[str, int]]:
        """The late events by stream and size."""
        found: Counter[tuple[str, int]] = Counter()
        for fate in self._every_fate():
            for (stream, size_ms, _), number in fate.late.items():
                found[stream, size_ms] += number
        return found

    @property
    def applied(self) -> Counter[str]:
        """The events of admitted streams by stream."""
        return sum((fate.applied for fate in self._every_fate()), Counter())

    @property
    def last(self) -> Deployment:
        """The last configuration, with which the group settles."""
        return self.deployments[-1]

    def _every_fate(self) -> list[Fate]:
        return [fate for of_shard in self.fates for fate in of_shard.values()]

    # What brokers have committed

    def _end(self, sent: SentTransaction) -> None:
        if sent.is_committed:
            self.commits[sent.group] += 1
            if sent.group == self.settings.group:
                self._end_of_count(sent)
            else:
                self._end_of_windows(sent)

    def _end_of_count(self, sent: SentTransaction) -> None:
        """Note what COUNT has committed."""
        parts = [
            (each.partition(), each.at, decode_part(each.value()))
            for each in sent.records
            if each.topic() == self.settings.partials_topic
        ]
        progress: dict[Partition, PartitionProgress] = {
            each.partition: each for _, _, part in parts for each in part.partitions
        }
        # A loss does not mark a stream whose first event comes with it.
        committed = dict(self.committed)
        events: list[Sent] = []
        doubtful: list[Sent] = []
        for at, each in progress.items():
            self.reported[at] = self.now_ms
            former, begin = self.former.get((each.topic_id, at), (None, self.kafka.logs[at].begin))
            first = each.start
            if each.lost:
                is_deleted = first + each.lost <= begin
                assert is_deleted or self.truncated or former is not None, f"not lost: {at}"
                # Of a log that was truncated, COUNT may only know that it has missed some; and until it knows
                # that a topic was created again, the shorter log is one that was truncated.
                first += each.lost if is_deleted else 0
                # What nobody had counted of a topic that was created again is lost already.
                deleted = (
                    [] if former is not None else self.logs[at][self.committed.get(at, each.start) : first]
                )
                self.lost += deleted
                doubtful += self._doubtful(deleted, at, committed)
            read = (self.logs[at] if former is None else former)[first : each.end]
            events += [found for found in read if not found.fault]
            if former is None:
                self.unheard -= {found.stream for found in events}
            counted = {id(found) for found in read}
            self.lost = [found for found in self.lost if id(found) not in counted]
            # Before COUNT notices that a log was truncated, its progress says where the log ended before.
            if former is None and (each.end > each.start or each.lost or each.begins):
                self.committed[at] = each.end
        for shard in range(self.shards):
            last = max(at for partition, at, _ in parts if partition == shard)
            own, lost = (
                [each for each in found if shard_of(each.stream, self.shards) == shard]
                for found in (events, doubtful)
            )
            self._counted[shard].append(Counted(parts[0][2].commit, last, sent.tag, own, lost))
        for record in sent.records:
            if record.topic() == self.settings.topics.dead_letters:
                content = record.value(), "letters", 0, len(self.letters), record.key(), record.headers()
                self.letters.append(StoredRecord(*content, self.now_ms))

    def _doubtful(
        self, deleted: Sequence[Sent], at: Partition, committed: Mapping[Partition, int]
    ) -> list[Sent]:
        """Return the deleted records that must mark their windows, by the offsets committed before."""
        # A loss marks windows from the partition's newest counted event on, less the allowed disorder, up to
        # the clock. It does not mark a stream that is retired, or without a counted event on the topic.
        newest_ms: dict[str, int] = {}
        for other, log in self.logs.items():
            for sent in log[: committed.get(other, 0)]:
                if other[0] == at[0] and not sent.fault and not any(sent is each for each in self.lost):
                    known_ms = newest_ms.setdefault(sent.stream, 0)
                    newest_ms[sent.stream] = max(known_ms, sent.time_ms if other == at else 0)
        return [
            sent
            for sent in deleted
            if not sent.fault
            and sent.stream in newest_ms
            and newest_ms[sent.stream] - self.spec_of(self.last, sent.stream).disorder_ms
            <= sent.time_ms
            <= self.now_ms
        ]

    def _end_of_windows(self, sent: SentTransaction) -> None:
        """Note what WINDOWS has committed."""
        for _, shard in sent.offsets:
            self.commits[shard] += 1
            before = dict(self.statuses[shard])
            final_ms = {stream: status.final_ms for stream, status in before.items()}
            for each in sent.records:
                if (each.topic(), each.partition()) == (self.settings.changelog_topic, shard):
                    self._keep(shard, each.key() or b"", each.value())
            position, waiting = self.positions[shard], []
            # A stream may retire in the commit that applies its events.
            admitted = {
                name
                for name, each in self.statuses[shard].items()
                if each.retired_ms is None or (name in before and each.applied > before[name].applied)
            }
            for counted in self._counted[shard]:
                commit = counted.commit
                number, *_ = position.producers.get((commit.producer, commit.epoch), (-1,))
                if counted.last >= position.offset and number < commit.number:
                    waiting.append(counted)
                    continue
                assert commit not in self.fates[shard], "a commit was applied twice"
                self.fates[shard][commit] = self._fate(sent.tag, counted, admitted, final_ms)
                self.doubtful += [
                    (lost, key)
                    for lost in counted.lost
                    for key in windows_of(self.spec_of(self.last, lost.stream), lost)
                    if lost.stream in admitted and not _is_final(key, final_ms)
                ]
            self._counted[shard] = waiting
        for each in sent.records:
            if each.topic() == self.settings.topics.windows:
                self._publish(each.value() or b"")

    def _keep(self, shard: int, key: bytes, value: bytes | None) -> None:
        """Keep a record of a changelog."""
        kind, content = orjson.loads(key)
        if value is None:
            # A baseline that is superseded may be taken back for a month, which is longer than any run.
            assert kind not in ("history", "calibration"), f"forgotten: {content}"
            self.changelogs[shard].pop(key, None)
        else:
            self.changelogs[shard][key] = value
        if kind == "stream":
            status = self.statuses[shard].pop(content["stream"], None)
            if value is not None:
                self.statuses[shard][content["stream"]] = found = decode(key, value)[1]
                before_ms = status and status.watermark_ms
                went_back = before_ms is not None and found.watermark_ms < before_ms
                assert not went_back, f"the watermark of {content['stream']} went back"
        elif kind == "position":
            position = decode(key, value)[1]
            before = self.positions.get(shard, position)
            assert before.offset <= position.offset, "the covered offset went back"
            self.positions[shard] = position

    def _fate(
        self,
        deployment: Deployment,
        counted: Counted,
        admitted: Collection[str],
        final_ms: Mapping[str, int | None],
    ) -> Fate:
        """Return what became of the events of a commit in a shard.

        Args:
            deployment: The configuration of the replica that applies the commit.
            counted: The commit.
            admitted: The streams that are admitted once it is applied.
            final_ms: The horizon of each stream before.
        """
        fate = Fate()
        for sent in counted.events:
            spec = self.spec_of(deployment, sent.stream)
            by, last = (self.spec_of(each, sent.stream) for each in (counted.deployment, self.last))
            if by.scheme(by.baseline_at(sent.time_ms)) != last.scheme(last.baseline_at(sent.time_ms)):
                fate.otherwise |= {*windows_of(last, sent)}
            if sent.stream not in admitted:
                fate.surplus[spec.name] += len(sent.vectors)
                continue
            fate.applied[sent.stream] += len(sent.vectors)
            # What comes to a final window is late, also where the replica does not have its size.
            for key in {*windows_of(spec, sent), *windows_of(last, sent)}:
                fate.late[key] += len(sent.vectors) * _is_final(key, final_ms)
        return fate

    def _publish(self, value: bytes) -> None:
        """Take a result, and count it: by verdict, and the drifts that have passed."""
        self.page.publish(value, self.now_ms)
        found = orjson.loads(value)
        key = found["stream"], parse_duration(found["window"]), parse_timestamp(found["start"])
        series, before = key[:2], self.results.get(key)
        expected = 0 if before is None else before["revision"] + 1
        assert found["revision"] == expected, f"revisions: not {expected} but {found}"
        of_baseline = *series, found["baseline"]
        if found["calibrated"]:
            end = found["calibration"]["end"]
            self._measured[of_baseline] = max(
                self._measured.get(of_baseline, 0), parse_timestamp(end) if end else 0
            )
        elif found["p_value"] is not None and len(self.deployments) == 1 and of_baseline in self._measured:
            # Windows that measured it, and those before, are judged without it.
            assert key[2] + key[1] <= self._measured[of_baseline], f"calibration: forgotten by {found}"
        had_alarm, is_new = self.has_alarm(*series), before is None or before["verdict"] != found["verdict"]
        self.results[key] = found | {"published": self.now_ms}
        self.closed[*series, found["verdict"]] += is_new
        may_pass = had_alarm or (is_new and found["verdict"] == "drift")
        self.passed[series] += may_pass and not self.has_alarm(*series)


def windows_of(spec: StreamSpec, sent: Sent) -> list[WindowKey]:
    """Return the windows of a record's events."""
    return [
        (sent.stream, size_ms, Window.around(sent.time_ms, size_ms).start_ms) for size_ms in spec.sizes_ms
    ]


def _is_final(key: WindowKey, final_ms: Mapping[str, int | None]) -> bool:
    stream, size_ms, start_ms = key
    ended_ms = final_ms.get(stream)
    return ended_ms is not None and start_ms + size_ms <= ended_ms
