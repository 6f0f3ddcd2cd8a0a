"""`driftgauge kafka reshard`: rewrites the state for another number of shards while no replica runs."""

from collections.abc import Mapping, Sequence
from contextlib import closing

from confluent_kafka import Consumer, KafkaException, Producer, TopicPartition
from confluent_kafka.admin import AdminClient

from driftgauge.clock import Clock
from driftgauge.config import Settings
from driftgauge.core.windows.changelog import Key, Value
from driftgauge.core.windows.resharding import ShardsDifferError, reshard
from driftgauge.errors import BrokerError, StateError
from driftgauge.kafka import client
from driftgauge.kafka.changelog_reader import ChangelogReader
from driftgauge.kafka.client import REQUEST_TIMEOUT_S
from driftgauge.kafka.topics import prepare_topics
from driftgauge.progress import Track, WorkProgress, ignore_progress
from driftgauge.records.changelog import encode_key, encode_value

__all__ = ["reshard_topics"]

_READ_S = 300.0
_POLL_S = 0.1
_START_S = 60.0
_WRITER = "driftgauge-reshard"


def reshard_topics(settings: Settings, shards: int, clock: Clock, track: Track = ignore_progress) -> None:
    """Write the changelogs for another number of shards; the old topics stay unchanged.

    The progress is reported to `track`.

    Raises:
        StateError: Replicas run, partials are not applied yet, or the new topics are already in use.
        BrokerError: The cluster does not answer.
    """
    admin = client.admin(settings.kafka)
    resharded = settings.model_copy(update={"shards": shards})
    _require_stopped(admin, settings)
    _require_drained(settings)
    with closing(client.groupless_consumer(settings.kafka)) as consumer:
        contents = _read(consumer, settings.changelog_topic, settings.shards, clock, track)
        if not all(contents):
            message = f"a shard of {settings.changelog_topic} holds no state; there is nothing to rewrite yet"
            raise StateError(message)
        try:
            changelogs = reshard(contents, shards, _WRITER)
        except ShardsDifferError as error:
            message = f"{error}; start `driftgauge serve --role windows` until its lag is 0, and stop it"
            raise StateError(message) from error
        prepare_topics(admin, resharded, clock, are_new=True)
        if any(_read(consumer, resharded.changelog_topic, shards, clock, ignore_progress)):
            message = (
                f"{resharded.changelog_topic} already holds state; delete it and "
                f"{resharded.partials_topic}, or choose another number of shards"
            )
            raise StateError(message)
    writer = client.transactional_producer(settings.kafka, _WRITER, lambda _: None)
    _write(writer, resharded, changelogs, track)


def _require_stopped(admin: AdminClient, settings: Settings) -> None:
    """Require that neither group has members.

    Raises:
        StateError: A group has members.
        BrokerError: The cluster does not answer.
    """
    groups = [settings.group, settings.windows_group]
    asked = admin.describe_consumer_groups(groups, request_timeout=REQUEST_TIMEOUT_S)
    for group, future in asked.items():
        try:
            members = len(future.result().members)
        except KafkaException as error:
            message = f"cannot list the members of group {group} ({error.args[0].str()}); check the brokers"
            raise BrokerError(message) from error
        if members:
            message = f"group {group} has {members} members; stop every replica first"
            raise StateError(message)


def _require_drained(settings: Settings) -> None:
    """Require that all partials are applied.

    Raises:
        StateError: A shard is not applied to its end.
        BrokerError: The cluster does not answer.
    """
    with closing(client.consumer(settings.kafka, settings.windows_group)) as consumer:
        partials = [TopicPartition(settings.partials_topic, shard) for shard in range(settings.shards)]
        try:
            committed = consumer.committed(partials, timeout=REQUEST_TIMEOUT_S)
            ends = [consumer.get_watermark_offsets(at, timeout=REQUEST_TIMEOUT_S)[1] for at in partials]
        except KafkaException as error:
            message = (
                f"cannot read the offsets of group {settings.windows_group} ({error.args[0].str()}); "
                "check the brokers"
            )
            raise BrokerError(message) from error
    behind = [at.partition for at, end in zip(committed, ends, strict=True) if at.offset < end]
    if behind:
        message = (
            f"shards {', '.join(map(str, behind))} of {settings.partials_topic} are not applied to their "
            "end; start `driftgauge serve --role windows` until its lag is 0, and stop it"
        )
        raise StateError(message)


def _read(
    consumer: Consumer, topic: str, shards: int, clock: Clock, track: Track
) -> list[Mapping[Key, Value]]:
    """Return the values of each shard's changelog, by shard.

    Raises:
        BrokerError: A changelog was not read to its end in time.
        StateError: A record is damaged, or has another version.
    """
    reader = ChangelogReader(consumer, topic)
    deadline_s = clock.monotonic_s() + _READ_S
    contents = []
    for shard in range(shards):
        track(WorkProgress("shards read", shard, shards))
        _, end = consumer.get_watermark_offsets(TopicPartition(topic, shard), timeout=REQUEST_TIMEOUT_S)
        reader.begin(shard)
        while not reader.has_reached(shard, end):
            if clock.monotonic_s() > deadline_s:
                message = f"{topic}[{shard}] was not read to its end within {_READ_S:g} s; check the brokers"
                raise BrokerError(message)
            reader.poll(_POLL_S)
        contents.append(reader.content(shard))
        reader.end(shard)
    return contents


def _write(
    producer: Producer, settings: Settings, changelogs: Sequence[Mapping[Key, Value]], track: Track
) -> None:
    """Write all changelogs in one transaction, so that the new shards have all of their state or none.

    Raises:
        BrokerError: The transaction was not committed.
    """
    try:
        producer.init_transactions(_START_S)
        producer.begin_transaction()
        for shard, content in enumerate(changelogs):
            track(WorkProgress("shards written", shard, len(changelogs)))
            for key, value in content.items():
                producer.produce(
                    settings.changelog_topic,
                    partition=shard,
                    key=encode_key(key),
                    value=encode_value(value),
                )
                producer.poll(0)
        producer.commit_transaction(_START_S)
    except KafkaException as error:
        message = (
            f"cannot write {settings.changelog_topic} ({error.args[0].str()}); no record was committed: "
            "check the brokers, then run the command again"
        )
        raise BrokerError(message) from error
