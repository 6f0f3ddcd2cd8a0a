"""Replicas: both roles are the service's own sessions and workers, over a simulated Kafka."""

import tempfile
from collections.abc import Collection, Generator, Iterator, Mapping
from concurrent.futures import Future
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import msgspec
import yaml

from driftgauge.config import Settings, load_settings
from driftgauge.core.commit_limit import CommitLimit
from driftgauge.core.partition import Partition
from driftgauge.core.spec import StreamSpec
from driftgauge.core.windows.shard import RoundResult, ShardState
from driftgauge.engine.clock_guard import ClockGuard
from driftgauge.engine.count.count_worker import CountWorker
from driftgauge.engine.count.dead_letters import DeadLetters
from driftgauge.engine.count.topic_watch import TopicWatch
from driftgauge.engine.session import Session
from driftgauge.engine.windows.window_worker import WindowWorker
from driftgauge.errors import AuthorizationError, BrokerError
from driftgauge.events.decoder import Decoder
from driftgauge.events.outcomes import CommitOutcomes
from driftgauge.kafka.shared_admin import SharedAdmin
from driftgauge.records.descriptions import BaselineDescription
from driftgauge.records.window_results import result_record
from driftgauge.streams import ConfiguredStream, build_decoder, describe_baselines, load_streams, watch
from driftgauge.telemetry.health import Health, Role
from driftgauge.telemetry.metrics import Telemetry
from driftgauge.telemetry.roles import RoleTelemetry
from tests.builders.baselines import SEGMENTS, save_baseline
from tests.builders.references import build_reference
from tests.simulation.kafka import SimulatedAdmin, SimulatedConsumer, SimulatedTransaction
from tests.simulation.producers import SCHEMAS, VERSION, inputs


@cache
def baselines_folder() -> Path:
    """Return a folder with three baselines of each kind of stream, which the process keeps.

    The second assigns every vector to another cluster than the first; the third was fitted on more vectors.
    """
    folder = Path(tempfile.mkdtemp(prefix="driftgauge-simulation-"))
    for family, stream in (("images", "images"), ("texts", "texts"), ("shop", "shop/a")):
        for number, (shift, count) in enumerate(((0, 1_000), (1, 1_000), (0, 100_000))):
            save_baseline(
                folder,
                stream,
                file=f"{family}-{number}.safetensors",
                reference=build_reference(f"{family}-{number}", shift=shift, count=count),
                segments=SEGMENTS,
                model_version=VERSION,
            )
    return folder


@dataclass(frozen=True)
class Deployment:
    """A configuration, and what the service makes of it."""

    settings: Settings
    streams: list[ConfiguredStream]
    specs: list[StreamSpec]
    descriptions: Mapping[str, BaselineDescription]

    @classmethod
    def load(cls, tree: dict[str, Any], encodings: Mapping[str, str]) -> "Deployment":
        """Return the deployment of a configuration file with these contents."""
        registry = {"schema_registry": {"url": "http://simulated"}, "inputs": inputs(encodings)}
        path = baselines_folder() / "driftgauge.yaml"
        path.write_text(yaml.safe_dump({**tree, **registry}), "utf-8")
        settings = load_settings(path, {})
        streams = load_streams(settings)
        return cls(settings, streams, [each.spec for each in streams], describe_baselines(streams))

    def decoder(self) -> Decoder:
        """Return a decoder of the events topics."""
        settings = self.settings
        return build_decoder(
            self.streams,
            settings.allowed_lead,
            settings.largest_record,
            settings.inputs,
            SCHEMAS,
            age_ms=settings.allowed_age,
        )


if TYPE_CHECKING:
    from tests.simulation.run import Run

ALL = 10**6
"""More records than any log holds."""
QUIET: Mapping[str, Any] = {
    "login": SimpleNamespace(needs_new_clients=lambda: False, require_accepted=lambda: None),
    "pulse": SimpleNamespace(require_joined=lambda: None),
}
"""A login and a pulse with nothing to say."""


class Replica:
    """One process with both roles.

    Attributes:
        deployment: Its configuration; `clock`: its clock; `telemetry`: what it exports.
        count, windows: Its roles.
    """

    def __init__(self, run: "Run", index: int, deployment: Deployment) -> None:
        self._run, self._name, self.deployment = run, f"replica-{index}", deployment
        self.clock = run.kafka.clock(run.plan.skews_ms[index])
        settings = deployment.settings
        self.telemetry = Telemetry(
            "simulated",
            [watch(stream) for stream in deployment.streams],
            settings.topics.events,
            settings.partials_topic,
            Health(tuple(Role), self.clock),
            tuple(Role),
            self.clock,
        )
        # Every second one is of a later version.
        transaction = LaterTransaction if index % 2 else SimulatedTransaction
        self.count = Member(run, self, Role.COUNT, self._name, transaction)
        self.windows = Member(run, self, Role.WINDOWS, self._name, transaction)

    def beat(self) -> None:
        """Send a heartbeat."""
        self._run.page.hear(self.telemetry.activity.take(self._name), self._run.now_ms)


class LaterTransaction(SimulatedTransaction):
    """A transaction of a later version, whose internal records have a field more."""

    def produce(
        self, topic: str, partition: int, key: bytes | None, value: bytes | None, headers: Any = None
    ) -> bool:
        settings = self.tag.settings
        if value and topic in {settings.partials_topic, settings.changelog_topic}:
            names, fields = msgspec.msgpack.decode(value[1:])
            value = value[:1] + msgspec.msgpack.encode((names, {**fields, "further": 7}))
        return super().produce(topic, partition, key, value, headers)


class Killed(BaseException):
    """A process was killed while it waited for the brokers."""


class Observer(RoleTelemetry):
    """Notes of a role which commits its metrics show, and the closing rounds."""

    def __init__(self, run: "Run", replica: Replica, role: Role) -> None:
        super().__init__(replica.telemetry, role, run.shards)
        self._run, self._deployment = run, replica.deployment
        self._rounds: dict[int, RoundResult] = {}

    def counted(self, outcomes: CommitOutcomes) -> None:
        super().counted(outcomes)
        self._run.seen[self._run.settings.group] += 1

    def stopped(self, partitions: Collection[Partition]) -> None:
        super().stopped(partitions)
        assert all(shard in self._run.beheaded_s for _, shard in partitions), f"stopped: {partitions}"
        self._run.stopped |= {*partitions}
        for _, shard in partitions:
            self._run.has_backlog.pop(shard, None)

    def started(self, waited_s: float, partitions: Collection[Partition]) -> None:
        super().started(waited_s, partitions)
        for _, shard in partitions if self._role is Role.WINDOWS else ():
            self._run.check_restore(shard, self._run.kafka.now_s - waited_s)

    def closed(self, shard: int, round_: RoundResult) -> None:
        super().closed(shard, round_)
        self._run.chain_errors += round_.chain_errors
        self._rounds[shard] = round_

    def show(self, shard: int, state: ShardState) -> None:
        super().show(shard, state)
        self._run.seen[shard] = self._run.commits[shard]
        self._run.has_backlog[shard] = state.has_backlog
        if round_ := self._rounds.pop(shard, None):
            descriptions = self._deployment.descriptions
            records = [result_record(each, descriptions.get(each.baseline_id)) for each in round_.results]
            results = None if state.has_backlog else records
            self._run.rounds[shard].append((self._deployment, state.next_offset, results))


class Member:
    """A role of a replica, which runs one session after another, as the service does.

    Attributes:
        transaction: Its transaction, which outlives sessions; `consumer`: that of the last session.
        is_busy: A commit of it is under way.
    """

    def __init__(
        self, run: "Run", replica: Replica, role: Role, name: str, transaction: type[SimulatedTransaction]
    ) -> None:
        self._run, self._replica, self._role = run, replica, role
        settings = replica.deployment.settings
        self.group = settings.group if role is Role.COUNT else settings.windows_group
        self.transaction = transaction(
            run.kafka, f"{name}.{role.value}", self.group, replica.clock, replica.deployment
        )
        self.transaction.on_pause = self._pause
        self._limit = CommitLimit()
        self._telemetry = Observer(run, replica, role)
        self.consumer = SimulatedConsumer(run.kafka, self.group)
        self.is_busy = self._is_killed = False
        self._steps = self._sessions()

    def step(self, most: int = ALL) -> None:
        """Poll once, and take at most so many messages."""
        if self.is_busy:
            return
        self.consumer.most, self.is_busy = most, True
        try:
            next(self._steps)
        except Killed:
            pass
        finally:
            self.is_busy = False

    @property
    def is_steady(self) -> bool:
        """Whether it owns what it is to own, and has no commit under way."""
        return not self.is_busy and self.consumer.is_steady

    def kill(self) -> None:
        """End the role, without a word to the brokers."""
        self._is_killed = True
        self.transaction.close()
        self.consumer.unsubscribe()
        if not self.is_busy:
            self._steps.close()

    def _pause(self) -> None:
        """Let others work while a commit is under way; the group may not wait for this member."""
        if self._run.kafka.random.random() < 0.3:
            self._run.kafka.group(self.group).expel(self.consumer)
        self._run.meanwhile()
        if self._is_killed:
            raise Killed

    def _sessions(self) -> Generator[float]:
        while True:
            try:
                yield from self._session()
            except (BrokerError, AuthorizationError) as error:
                self._telemetry.session_lost(str(error), 1.0, error.reason)
            yield 1.0

    def _session(self) -> Iterator[float]:
        kafka, deployment, clock = self._run.kafka, self._replica.deployment, self._replica.clock
        settings, specs, transaction = deployment.settings, deployment.specs, self.transaction
        self.consumer = SimulatedConsumer(kafka, self.group)
        transaction.start(10.0)
        admin = SharedAdmin(lambda: SimulatedAdmin(kafka), clock)
        parts: dict[str, Any] = {
            "consumer": self.consumer,
            "admin": admin,
            "transaction": transaction,
            "telemetry": self._telemetry,
            "clock": clock,
            "limit": self._limit,
        }
        worker: CountWorker | WindowWorker
        if self._role is Role.COUNT:
            topics = settings.topics.events
            worker = CountWorker(
                settings,
                specs,
                deployment.decoder(),
                letters=DeadLetters(transaction, settings.topics.dead_letters, 10**6),
                topics=TopicWatch(admin, topics, clock),
                guard=ClockGuard(self._telemetry, has_append_time=True),
                part_bytes=self._run.plan.part_bytes,
                **parts,
            )
        else:
            topics = [settings.partials_topic]
            changelog = SimulatedConsumer(kafka)
            worker = WindowWorker(
                settings, specs, deployment.descriptions, changelog=changelog, check_settings=sound, **parts
            )
        session = Session(
            topics,
            worker,
            consumer=self.consumer,
            transaction=transaction,
            **QUIET,
            telemetry=self._telemetry,
            clock=clock,
        )
        try:
            yield from session.steps(lambda: False)
        finally:
            self.consumer.close()
            transaction.close()


def sound() -> Future[None]:
    """Answer that the settings of the changelog are sound."""
    answer: Future[None] = Future()
    answer.set_result(None)
    return answer
