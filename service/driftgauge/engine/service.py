"""The replica's service: each role runs in its own thread, one session after another, until it is stopped."""

import gc
import logging
import threading
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import wait
from contextlib import ExitStack, closing, contextmanager, suppress
from functools import partial

from confluent_kafka import KafkaError, KafkaException, Producer

from driftgauge.clock import Clock
from driftgauge.config import Settings
from driftgauge.core.commit_limit import CommitLimit
from driftgauge.core.spec import StreamSpec
from driftgauge.engine.clock_guard import ClockGuard
from driftgauge.engine.count.count_worker import CountWorker
from driftgauge.engine.count.dead_letters import DeadLetters
from driftgauge.engine.count.topic_watch import TopicWatch
from driftgauge.engine.producer.transaction import Transaction
from driftgauge.engine.session import Session, Worker
from driftgauge.engine.windows.window_worker import WindowWorker
from driftgauge.errors import AuthorizationError, BrokerError, TransactionFailed
from driftgauge.events.decoder import Decoder
from driftgauge.kafka import client
from driftgauge.kafka.calls import in_thread
from driftgauge.kafka.cluster import has_controller, message_limit, metadata, missing_topics
from driftgauge.kafka.login import Login, LoginWatch
from driftgauge.kafka.rights import connection, missing_topic_rights, needed_rights
from driftgauge.kafka.shared_admin import SharedAdmin
from driftgauge.kafka.topics import prepare_topics, require_changelog_settings
from driftgauge.nearest import suggest
from driftgauge.records.descriptions import BaselineDescription
from driftgauge.telemetry.health import Role
from driftgauge.telemetry.roles import RoleTelemetry
from driftgauge.watchdog import Lifetime, Pulse

__all__ = ["Service"]

_log = logging.getLogger(__name__)

_TOPIC_RETRY_S = 1.0
_FIRST_PAUSE_S = 0.5
_LONGEST_PAUSE_S = 10.0
_CLOSE_S = 5.0
# A session that ran for this long was healthy, so its failure starts a new series of pauses.
_HEALTHY_S = 60.0
_START_S = 10.0
# Half of what brokers and the client take in a record by default: only a single pane may be larger.
_PART_BYTES = 500_000
# Upper bound of the key and the framing of a part.
_FRAME_BYTES = 1_000
# After these errors a role waits for an operator's change, as it does if a right is denied.
_TOO_LARGE = frozenset(
    KafkaError(code).name() for code in (KafkaError.MSG_SIZE_TOO_LARGE, KafkaError.RECORD_LIST_TOO_LARGE)
)
_JOIN_S = 0.2


class Service:
    """Serves roles until it is stopped.

    The service waits for brokers that are away, and for what they refuse: a login, a right. It ends only for
    configuration or state that an operator must repair.
    """

    def __init__(
        self,
        settings: Settings,
        specs: Sequence[StreamSpec],
        decoder: Decoder,
        *,
        login: Login,
        descriptions: Mapping[str, BaselineDescription],
        roles: Mapping[Role, RoleTelemetry],
        clock: Clock,
        lifetime: Lifetime,
    ) -> None:
        self._settings = settings
        self._descriptions = descriptions
        self._specs = specs
        self._decoder = decoder
        self._login = login
        self._roles = roles
        self._clock = clock
        self._lifetime, self._stopping = lifetime, lifetime.stopping
        name = settings.replica or uuid.uuid4().hex
        # Transactions outlive sessions, so that a transactional id that stays busy is not used again.
        self._transactions = {
            role: Transaction(
                self._make_producer,
                f"driftgauge.{settings.group}.{name}.{role.value}",
                clock,
                group=_group(settings, role),
                stopping=self._stopping,
            )
            for role in roles
        }
        # They outlive sessions as well, because brokers that are slow lose sessions.
        self._limits = {role: CommitLimit() for role in roles}
        for role, telemetry in roles.items():
            telemetry.watch_limit(self._limits[role])
        self._pulses: set[Pulse] = set()  # of the clients of the sessions
        self._failure: BaseException | None = None

    def _make_producer(self, transactional_id: str, on_error: Callable[[KafkaError], None]) -> Producer:
        return client.transactional_producer(self._login.properties(), transactional_id, on_error)

    def run(self) -> None:
        """Serve until the process is to end; what follows then has half a minute.

        Raises:
            StateError: The state in Kafka cannot be used.
        """
        threads = [
            threading.Thread(target=self._serve, args=(role,), name=role.value) for role in self._roles
        ]
        for thread in threads:
            thread.start()
        # Python runs signal handlers in the main thread only, between two short waits.
        try:
            while any(thread.is_alive() for thread in threads):
                for thread in threads:
                    thread.join(_JOIN_S)
                self._lifetime.come_round()
                for pulse in list(self._pulses):
                    pulse.check()
        finally:
            self._lifetime.stop()
        if self._failure is not None:
            raise self._failure

    def _serve(self, role: Role) -> None:
        try:
            self._run_sessions(role)
        except BaseException as error:  # noqa: BLE001 - raised again by the main thread
            # A failed role stops the other one as well, because a supervisor restarts both.
            self._failure = self._failure or error
            self._stopping.set()

    def _run_sessions(self, role: Role) -> None:
        telemetry = self._roles[role]
        pause_s = _FIRST_PAUSE_S
        while not self._stopping.is_set():
            # A restart does not bring brokers back, so the loop counts as alive while they are away.
            telemetry.polled()
            began_s = self._clock.monotonic_s()
            try:
                if not self._await_topics(telemetry):
                    return
                self._run_session(role, telemetry)
            except (BrokerError, AuthorizationError) as error:
                if self._clock.monotonic_s() - began_s > _HEALTHY_S:
                    pause_s = _FIRST_PAUSE_S
                is_denied = isinstance(error, AuthorizationError)
                missing = self._missing_rights(role) if is_denied else []
                why = "; ".join([str(error), *(f"missing: {right}" for right in missing)])
                is_refused = is_denied or error.reason in _TOO_LARGE
                telemetry.session_lost(why, pause_s, error.reason, is_refused=is_refused)
                if isinstance(error, TransactionFailed) and error.unwritable:
                    # The record that measures the clock was not delivered.
                    telemetry.unwritable(error.unwritable)
            else:
                # Nothing failed: the login needs new clients, or the service stops.
                pause_s = _FIRST_PAUSE_S
            # Cycles of the error's frames keep failed clients alive, which later fence their successors.
            gc.collect()
            self._stopping.wait(pause_s)
            pause_s = min(2 * pause_s, _LONGEST_PAUSE_S)

    def _run_session(self, role: Role, telemetry: RoleTelemetry) -> None:
        """Run one session; raise BrokerError even if its clients cannot be made."""
        try:
            with self._session(role, telemetry) as session:
                session.run(self._stopping)
        except KafkaException as error:
            # A session raises its own errors for what its clients raise.
            raise _no_client(error) from error

    def _await_topics(self, telemetry: RoleTelemetry) -> bool:
        """Create the output topics and wait for the events topics; return False if stopped meanwhile."""
        while not self._stopping.is_set():
            telemetry.polled()
            attempt = in_thread(self._prepare_topics)
            # Without a broker the attempt takes 5 s, and a shutdown does not wait for it.
            while wait([attempt], _JOIN_S).not_done:
                if self._stopping.is_set():
                    return False
            try:
                missing = attempt.result()
            except (BrokerError, AuthorizationError) as error:
                telemetry.waits("waiting for the cluster", str(error), error.reason)
            else:
                if not missing:
                    return True
                why = f"missing: {', '.join(missing)}; create them, or correct topics.events"
                telemetry.waits("waiting for topics to be created", why)
            # The error and its frames form a cycle, which keeps the attempt's client with its threads alive.
            gc.collect()
            self._stopping.wait(_TOPIC_RETRY_S)
        return False

    def _prepare_topics(self) -> list[str]:
        """Return missing events topics, each with a near name; create the output topics if all are there."""
        errors: list[KafkaError] = []
        try:
            admin = client.admin(self._login.properties(), on_error=errors.append)
        except KafkaException as error:
            raise _no_client(error) from error
        with connection(admin, errors):
            missing = missing_topics(admin, self._settings.topics.events)
            if not missing:
                prepare_topics(admin, self._settings, self._clock)
                return []
            known = metadata(admin).topics
        near = [suggest(topic, known, "") for topic in missing]
        return [f"{topic} ({hint})" if hint else topic for topic, hint in zip(missing, near, strict=True)]

    def _missing_rights(self, role: Role) -> list[str]:
        """Return the rights on topics that the role lacks; a denied transaction names no topic."""
        with suppress(KafkaException):
            admin, needed = client.admin(self._login.properties()), needed_rights(self._settings, role)
            return [
                f"{right.name.title()} on {topic}" for topic, right in missing_topic_rights(admin, needed)
            ]
        return []

    @contextmanager
    def _session(self, role: Role, telemetry: RoleTelemetry) -> Iterator[Session]:
        """Yield a session with the clients and the worker of a role."""
        settings, clock = self._settings, self._clock
        transaction = self._transactions[role]
        # The transaction outlives the session, so it is closed at once, not when the others are.
        with _closed_in_time() as stack, closing(transaction):
            login = LoginWatch(self._login, clock)
            kafka = self._login.properties()
            admin = SharedAdmin(lambda: client.admin(self._login.properties()), clock)
            group = _group(settings, role)
            pulse = Pulse(f"the consumer of the group {group}", clock.monotonic_s)
            pulses = {pulse}
            # Their records have no checksum of their own, so the client checks that of their batch.
            internal: client.KafkaProperties = {"check.crcs": True, **kafka}
            read = kafka if role is Role.COUNT else internal
            consumer = client.consumer(read, group, pulse.beat, login.observe)
            stack.callback(consumer.close)
            transaction.start(_START_S)
            telemetry.polled()
            if role is Role.COUNT:
                letters = settings.topics.dead_letters
                largest = client.largest_record(kafka)
                has_append_time = has_controller(admin.client)
                guard = ClockGuard(telemetry, has_append_time=has_append_time)
                if has_append_time:
                    # The check precedes joining the group, so that no event is counted by a wrong clock.
                    guard.observe(transaction.measure(settings.partials_topic, 0, b"", _START_S))
                worker: Worker = CountWorker(
                    settings,
                    self._specs,
                    self._decoder,
                    consumer=consumer,
                    admin=admin,
                    transaction=transaction,
                    letters=DeadLetters(
                        transaction, letters, message_limit(admin.client, [letters]) or largest
                    ),
                    topics=TopicWatch(admin, settings.topics.events, clock),
                    guard=guard,
                    telemetry=telemetry,
                    clock=clock,
                    part_bytes=min(
                        _PART_BYTES + _FRAME_BYTES,
                        largest,
                        message_limit(admin.client, [settings.partials_topic]) or largest,
                    )
                    - _FRAME_BYTES,
                    limit=self._limits[role],
                )
                topics = list(settings.topics.events)
            else:
                telemetry.partitions_known({settings.partials_topic: settings.shards})
                reader = Pulse(f"the reader of {settings.changelog_topic}", clock.monotonic_s)
                pulses.add(reader)
                changelog = client.groupless_consumer(internal, reader.beat)
                stack.callback(changelog.close)
                worker = WindowWorker(
                    settings,
                    self._specs,
                    self._descriptions,
                    consumer=consumer,
                    changelog=changelog,
                    admin=admin,
                    transaction=transaction,
                    check_settings=lambda: in_thread(
                        partial(require_changelog_settings, admin.client, settings.changelog_topic)
                    ),
                    telemetry=telemetry,
                    clock=clock,
                    limit=self._limits[role],
                )
                topics = [settings.partials_topic]
            # From here on the session polls; what came before may have taken long.
            for each in pulses:
                each.beat()
            self._pulses.update(pulses)
            # A client that is closed, or left behind, needs no pulse.
            stack.callback(self._pulses.difference_update, pulses)
            yield Session(
                topics,
                worker,
                consumer=consumer,
                transaction=transaction,
                login=login,
                pulse=pulse,
                telemetry=telemetry,
                clock=clock,
            )


@contextmanager
def _closed_in_time() -> Iterator[ExitStack]:
    """Yield a stack of what to close; leave behind what is not closed within 5 s.

    `Consumer.close` and the release of a client may never return (seen, librdkafka 2.16). A consumer that is
    left behind is no longer polled, so its group drops it.
    """
    stack = ExitStack()
    try:
        yield stack
    finally:
        closed = in_thread(stack.close)
        is_open = bool(wait([closed], _CLOSE_S).not_done)
        error = f"no answer within {_CLOSE_S:g} s" if is_open else closed.exception()
        if error is not None:
            remedy = "none: nothing is lost; if this repeats, report it"
            _log.warning("Kafka clients were left behind", extra={"error": str(error), "remedy": remedy})


def _no_client(error: KafkaException) -> BrokerError:
    cause: KafkaError = error.args[0]
    message = (
        f"no Kafka client can be made ({cause.str()}); correct the files of secrets and certificates, which "
        "were sound when the process started"
    )
    return BrokerError(message, reason=cause.name())


def _group(settings: Settings, role: Role) -> str:
    """Return the consumer group of a role."""
    return settings.group if role is Role.COUNT else settings.windows_group
