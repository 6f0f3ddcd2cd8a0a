"""The errors for rights that the cluster denies, with the right that is missing."""

from collections.abc import Collection, Iterator, MutableSequence, Sequence
from contextlib import contextmanager, suppress
from time import sleep
from typing import Final

from confluent_kafka import KafkaError, KafkaException, TopicCollection
from confluent_kafka.admin import AclOperation, AdminClient

from driftgauge.config import Settings
from driftgauge.errors import AuthorizationError, BrokerError
from driftgauge.kafka.calls import AUTHORIZATION
from driftgauge.kafka.client import REQUEST_TIMEOUT_S
from driftgauge.kafka.cluster import failures
from driftgauge.telemetry.health import Role

__all__ = [
    "LOGIN_REFUSED",
    "TopicRight",
    "cannot_connect",
    "connection",
    "connection_refused",
    "missing_right",
    "missing_topic_rights",
    "needed_rights",
    "reading_denied",
    "unreadable_groups",
]

TopicRight = tuple[str, AclOperation]
"""A topic, and an operation on it."""

LOGIN_REFUSED: Final = frozenset({KafkaError._AUTHENTICATION, KafkaError.SASL_AUTHENTICATION_FAILED})
"""The codes of the errors that say that a broker, or a token endpoint, refuses a login."""

_NO_COORDINATOR: Final = frozenset(
    {
        KafkaError.NOT_COORDINATOR,
        KafkaError.COORDINATOR_NOT_AVAILABLE,
        KafkaError.COORDINATOR_LOAD_IN_PROGRESS,
    }
)
# A cluster chooses its first coordinator within a second or two.
_COORDINATOR_TRIES: Final = 25
_COORDINATOR_PAUSE_S: Final = 0.2


def missing_right(
    error: KafkaError,
    *,
    topic: str | None = None,
    group: str | None = None,
    transactional_id: str | None = None,
) -> str:
    """Return the remedy for what the cluster denies.

    Args:
        error: The error; its code is one of `calls.AUTHORIZATION`.
        topic: The topic that is read, if known.
        group: The consumer's group, if it has one.
        transactional_id: The producer's transactional id, if it has one.
    """
    if error.code() in LOGIN_REFUSED:
        return "check the login: sasl.* and ssl.* under kafka"
    if error.code() == KafkaError.GROUP_AUTHORIZATION_FAILED and group:
        return f"grant Read on the group {group}"
    if error.code() == KafkaError.TOPIC_AUTHORIZATION_FAILED and topic:
        return f"grant Read and Describe on the topic {topic}"
    if error.code() == KafkaError.TRANSACTIONAL_ID_AUTHORIZATION_FAILED and transactional_id:
        return f"grant Write and Describe on the transactional id {transactional_id}"
    return "check the client's rights"


def reading_denied(
    error: KafkaError, what: str, *, topic: str | None = None, group: str | None = None
) -> AuthorizationError:
    """Return the error to raise if this client is not allowed to read; arguments as `missing_right`."""
    remedy = missing_right(error, topic=topic, group=group)
    message = f"this client is not allowed to read {what} ({error.str()}); {remedy}"
    return AuthorizationError(message, reason=error.name())


def needed_rights(settings: Settings, role: Role) -> list[TopicRight]:
    """Return the rights on topics that a role needs."""
    names, partials, changelog = settings.topics, settings.partials_topic, settings.changelog_topic
    if role is Role.COUNT:
        return [
            *((topic, AclOperation.READ) for topic in names.events),
            (partials, AclOperation.WRITE),
            (names.dead_letters, AclOperation.WRITE),
        ]
    return [
        (partials, AclOperation.READ),
        (changelog, AclOperation.READ),
        (changelog, AclOperation.WRITE),
        (names.windows, AclOperation.WRITE),
    ]


def unreadable_groups(
    admin: AdminClient, groups: Collection[str]
) -> tuple[list[str], list[tuple[str, KafkaError]]]:
    """Return the groups that this client may not read, and those that do not answer, with the error."""
    # Listing a group's offsets would say as much, but ends the process by a signal if the coordinator has
    # just been chosen (https://github.com/confluentinc/librdkafka/issues/5040).
    for _ in range(_COORDINATOR_TRIES):
        pending = admin.describe_consumer_groups(
            list(groups), include_authorized_operations=True, request_timeout=REQUEST_TIMEOUT_S
        )
        errors = dict(failures(pending))
        if not any(error.code() in _NO_COORDINATOR for error in errors.values()):
            break
        sleep(_COORDINATOR_PAUSE_S)
    held = {group: pending[group].result().authorized_operations for group in groups if group not in errors}
    unreadable = [group for group, error in errors.items() if error.code() in AUTHORIZATION]
    unreadable += [
        group for group, rights in held.items() if rights is not None and AclOperation.READ not in rights
    ]
    return unreadable, [each for each in errors.items() if each[0] not in unreadable]


def missing_topic_rights(admin: AdminClient, needed: Collection[TopicRight]) -> list[TopicRight]:
    """Return those of the needed rights that the client lacks (KIP-430).

    A topic whose rights the cluster does not report, such as one that it hides, is left out.
    """
    topics = TopicCollection(sorted({topic for topic, _ in needed}))
    pending = admin.describe_topics(
        topics, include_authorized_operations=True, request_timeout=REQUEST_TIMEOUT_S
    )
    held = {}
    for topic, future in pending.items():
        with suppress(KafkaException):
            held[topic] = future.result().authorized_operations
    return [
        (topic, operation)
        for topic, operation in needed
        if held.get(topic) is not None and operation not in held[topic]
    ]


def connection_refused(errors: Sequence[KafkaError]) -> BrokerError | None:
    """Return why a client has no connection, from the errors of its connections; None if they do not say.

    A refused login or handshake says more than a broker that is away.
    """
    errors = [error for error in errors if error.code() != KafkaError._ALL_BROKERS_DOWN]
    refusals = [error for error in errors if error.code() != KafkaError._TRANSPORT]
    return next((cannot_connect(error) for error in reversed(refusals or errors)), None)


def cannot_connect(error: KafkaError) -> BrokerError:
    """Return the error to raise if this error of a client's connections keeps it from the cluster."""
    message = (
        f"this client cannot connect to the Kafka cluster ({error.str()}); check "
        "bootstrap.servers, sasl.* and ssl.* under kafka"
    )
    return BrokerError(message, reason=error.name())


@contextmanager
def connection(admin: AdminClient, errors: MutableSequence[KafkaError]) -> Iterator[None]:
    """Replace the error that no broker answers by the reason, if the client's connections say one.

    Args:
        admin: The client that asks.
        errors: Where the client's `on_error` appends; earlier errors are dropped.

    Raises:
        BrokerError: As within, or the reason.
    """
    admin.poll(0)
    errors.clear()
    try:
        yield
    except BrokerError as error:
        # An error of the client itself says that no broker answers, and those of its connections say why.
        admin.poll(0)
        refusal = connection_refused(errors) if error.reason.startswith("_") else None
        if refusal is None:
            raise
        raise refusal from error
