"""What a replica needs of the cluster, asked before the start; each shortfall with its remedy."""

from collections.abc import Collection
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from threading import Event
from typing import Final

from confluent_kafka import KafkaError
from confluent_kafka.admin import AdminClient, ClusterMetadata

from driftgauge.clock import Clock
from driftgauge.config import Settings
from driftgauge.engine.clock_guard import MAX_OFFSET_MS
from driftgauge.engine.producer.transaction import Transaction
from driftgauge.errors import AuthorizationError, BrokerError
from driftgauge.kafka import client
from driftgauge.kafka.calls import AUTHORIZATION
from driftgauge.kafka.cluster import has_controller, hidden_topics, metadata, settings_of
from driftgauge.kafka.rights import connection, missing_topic_rights, needed_rights, unreadable_groups
from driftgauge.kafka.topics import OwnTopic, own_topics, try_to_create, wrong_settings
from driftgauge.telemetry.health import Role

__all__ = ["Cluster", "Shortfall", "inspect_cluster"]

_TRANSACTION_S: Final = 20.0
# With three, two still accept a write while one broker is down.
_SAFE_REPLICAS: Final = 3
# No request of the protocol returns it.
_VERSION: Final = (
    "the brokers' version: clients cannot ask for it; do not use Kafka 4.3.0 to 4.4.0, which can leave "
    "transactions open (KAFKA-20734)"
)


@dataclass(frozen=True, slots=True)
class Shortfall:
    """Something that the service needs and the cluster does not give.

    Attributes:
        problem: What is missing or wrong, and what would follow.
        remedy: The command that mends it, or a sentence if there is none.
    """

    problem: str
    remedy: str


@dataclass(frozen=True, slots=True)
class Cluster:
    """What the brokers answered.

    Attributes:
        brokers: The number of brokers.
        topics: The partitions and the replicas of each topic that is there.
        created: The topics that the service will create at its start.
        clock_offset_ms: This machine's clock minus the brokers', as far as a record proves it; None: unknown.
        shortfalls: What is missing.
        unknown: What could not be asked, and why.
    """

    brokers: int
    topics: dict[str, tuple[int, int]]
    created: list[str]
    clock_offset_ms: int | None
    shortfalls: list[Shortfall]
    unknown: list[str]


def inspect_cluster(settings: Settings, clock: Clock) -> Cluster:
    """Return whether a replica could start on the cluster; change nothing that stays.

    A transaction is begun with an id of its own, and aborted. Missing topics are created on trial only, as
    Kafka offers it.

    Raises:
        AuthorizationError, BrokerError: No broker answers, or the login is refused.
    """
    errors: list[KafkaError] = []
    admin = client.admin(settings.kafka, on_error=errors.append)
    with connection(admin, errors):
        known = metadata(admin)
    return _Preflight(settings, admin, clock).run(known)


class _Preflight:
    def __init__(self, settings: Settings, admin: AdminClient, clock: Clock) -> None:
        self._settings, self._admin, self._clock = settings, admin, clock
        self._own = own_topics(settings)
        self._servers = str(settings.kafka["bootstrap.servers"])
        # The service's own login may not grant or alter anything.
        protocol = str(settings.kafka.get("security.protocol", "plaintext")).lower()
        self._login = "" if protocol == "plaintext" else " --command-config admin.properties"
        self._shortfalls: list[Shortfall] = []
        self._unknown = [_VERSION]

    def run(self, known: ClusterMetadata) -> Cluster:
        settings, names = self._settings, self._settings.topics
        topics = {
            name: (len(topic.partitions), max(len(each.replicas) for each in topic.partitions.values()))
            for name, topic in known.topics.items()
            if name in {*names.events, *self._own} and topic.partitions
        }
        absent = [name for name in (*names.events, *self._own) if name not in topics]
        safe = min(_SAFE_REPLICAS, len(known.brokers))
        hidden = dict(hidden_topics(self._admin, absent))
        for name, error in hidden.items():
            operation = "Read" if name in names.events else "Write --operation Create"
            self._lack(f"topic {name} is hidden ({error.str()})", self._grant(operation, f"--topic {name}"))
        self._check_events([name for name in names.events if name in absent and name not in hidden], safe)
        missing = [name for name in self._own if name in absent and name not in hidden]
        if missing:
            replicas = [topics[name][1] for name in names.events if name in topics]
            self._try_to_create(missing, names.replication_factor or max(replicas, default=safe))
        self._check_internal({name: count for name, (count, _) in topics.items()})
        self._check_rights(topics.keys())
        if unasked := [name for name in absent if name not in hidden]:
            self._unknown.append(
                f"rights on topics that do not exist yet: {', '.join(unasked)}; check again once they do"
            )
        offset_ms = self._check_transaction(has_partials=settings.partials_topic in topics)
        return Cluster(len(known.brokers), topics, missing, offset_ms, self._shortfalls, self._unknown)

    def _lack(self, problem: str, remedy: str) -> None:
        self._shortfalls.append(Shortfall(problem, remedy))

    def _command(self, tool: str, arguments: str) -> str:
        return f"{tool} --bootstrap-server {self._servers}{self._login} {arguments}"

    def _grant(self, operation: str, resource: str) -> str:
        user = self._settings.kafka.get("sasl.username", "NAME")
        return self._command(
            "kafka-acls.sh", f"--add --allow-principal User:{user} --operation {operation} {resource}"
        )

    def _check_events(self, missing: Collection[str], replication: int) -> None:
        for name in missing:
            create = f"--create --topic {name} --partitions 12 --replication-factor {replication}"
            self._lack(f"events topic {name} is missing", self._command("kafka-topics.sh", create))

    def _try_to_create(self, missing: Collection[str], replication: int) -> None:
        for name, error in try_to_create(
            self._admin, {each: self._own[each] for each in missing}, replication
        ):
            own = self._own[name]
            if error.code() in AUTHORIZATION:
                remedy = self._grant("Create", f"--topic {name}")
            else:
                remedy = self._command("kafka-topics.sh", _creation(name, own, replication))
            self._lack(f"topic {name} is missing and cannot be created ({error.str()})", remedy)

    def _check_internal(self, partitions: dict[str, int]) -> None:
        """Check the partitions and settings of the internal topics that are there."""
        there = {name: own for name, own in self._own.items() if own.settings and name in partitions}
        for name, own in there.items():
            if partitions[name] != own.partitions:
                problem = (
                    f"internal topic {name} has {partitions[name]} partitions and must have {own.partitions}"
                )
                remedy = "restore it with its own number, or set another topics.internal and kafka.group.id"
                self._lack(problem, remedy)
        try:
            found = settings_of(self._admin, there) if there else {}
        except AuthorizationError as error:
            self._lack(str(error), self._grant("DescribeConfigs", f"--topic {' --topic '.join(there)}"))
            return
        if found is None:
            self._unknown.append("settings of topics: the cluster has no controller to ask")
            return
        for name, settings in found.items():
            if wrong := wrong_settings(there[name], settings):
                values = ", ".join(f"{key}={settings[key]}" for key in wrong)
                new = ",".join(f"{key}={value}" for key, value in wrong.items())
                alter = f"--alter --entity-type topics --entity-name {name} --add-config {new}"
                self._lack(f"internal topic {name} has {values}", self._command("kafka-configs.sh", alter))

    def _check_rights(self, known: Collection[str]) -> None:
        settings = self._settings
        needed = {right for role in Role for right in needed_rights(settings, role) if right[0] in known}
        if not has_controller(self._admin):
            self._unknown.append("rights: the cluster has no controller to ask")
            return
        for topic, operation in missing_topic_rights(self._admin, sorted(needed)):
            name = operation.name.title()
            self._lack(f"missing: {name} on topic {topic}", self._grant(name, f"--topic {topic}"))
        unreadable, unanswered = unreadable_groups(self._admin, [settings.group, settings.windows_group])
        for group in unreadable:
            self._lack(f"missing: Read on group {group}", self._grant("Read", f"--group {group}"))
        self._unknown += [f"rights on the group {group}: {error.str()}" for group, error in unanswered]

    def _check_transaction(self, *, has_partials: bool) -> int | None:
        """Append a record in a transaction if its topic is there, and abort; return the clock's offset."""
        prefix = f"driftgauge.{self._settings.group}."
        transaction = Transaction(
            partial(client.transactional_producer, self._settings.kafka),
            f"{prefix}check",
            self._clock,
            group=self._settings.group,
            stopping=Event(),
        )
        append = None
        with closing(transaction):
            try:
                transaction.start(_TRANSACTION_S)
                if has_partials:
                    append = transaction.measure(self._settings.partials_topic, 0, b"", _TRANSACTION_S)
            except AuthorizationError as error:
                # Replicas have other ids with this prefix.
                ids = f"--transactional-id {prefix} --resource-pattern-type prefixed"
                self._lack(str(error), self._grant("Write --operation Describe", ids))
            except BrokerError as error:
                remedy = (
                    "use Kafka 2.5 or later with transactions, and transaction.timeout.ms as brokers allow"
                )
                self._lack(f"transactions do not work: {error}", remedy)
        if append is None:
            self._unknown.append(f"the clock: it is measured once {self._settings.partials_topic} is there")
            return None
        offset_ms = append.least_offset_ms
        if abs(offset_ms) > MAX_OFFSET_MS:
            problem = (
                f"this machine's clock differs from the brokers' by {offset_ms} ms, and {MAX_OFFSET_MS} ms "
                "are allowed"
            )
            self._lack(problem, "set the clocks: check NTP here and on the brokers")
        return offset_ms


def _creation(name: str, own: OwnTopic, replication: int) -> str:
    """Return the arguments of kafka-topics.sh that create a topic as the service would."""
    options = [f"--create --topic {name} --replication-factor {replication}"]
    options += [f"--partitions {own.partitions}"] * (own.partitions > 0)
    return " ".join([*options, *(f"--config {key}={value}" for key, value in own.settings.items())])
