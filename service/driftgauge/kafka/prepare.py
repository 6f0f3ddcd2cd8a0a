"""What a replica asks of the cluster before it joins a group, and creates there."""

from contextlib import ExitStack, closing

from confluent_kafka.admin import AdminClient

from driftgauge.config import Settings
from driftgauge.kafka import client
from driftgauge.kafka.internal_topics import InternalTopics
from driftgauge.kafka.metadata import count_partitions
from driftgauge.kafka.topics import create_missing_topics, prepare_internal_topics, replication_factor

__all__ = ["prepare_topics"]


def prepare_topics(admin: AdminClient, settings: Settings, *, are_new: bool = False) -> None:
    """Create the topics that are written to, and check those that are there.

    Args:
        admin: An administration client.
        settings: Name the topics.
        are_new: The internal topics are of another number of shards: what is missing of them is not lost.

    Raises:
        AuthorizationError: This client may not do, or not see, what is needed.
        BrokerError: The cluster does not answer or refuses.
        StateError: An internal topic is lost, has another number of partitions, or would lose records.
    """
    names = settings.topics
    replication = replication_factor(admin, names.events, names.replication_factor)
    create_missing_topics(admin, [names.windows, names.dead_letters], replication)
    with ExitStack() as stack:
        count, windows = (
            stack.enter_context(closing(client.consumer(settings.kafka, group)))
            for group in (settings.group, settings.windows_group)
        )
        prepare_internal_topics(
            admin,
            InternalTopics(settings.partials_topic, settings.changelog_topic, settings.shards),
            replication=replication,
            events=count_partitions(admin, names.events),
            count=count,
            windows=windows,
            are_new=are_new,
        )
