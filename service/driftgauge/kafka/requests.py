"""What is asked of a cluster through its administration client, and how a refusal is told."""

import logging
from collections.abc import Collection, Iterator, Mapping
from concurrent.futures import Future
from typing import Any

from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import AdminClient, ClusterMetadata, ConfigResource

from driftgauge.errors import AuthorizationError, BrokerError, ServiceError
from driftgauge.kafka.calls import AUTHORIZATION
from driftgauge.kafka.client import REQUEST_TIMEOUT_S

__all__ = ["failure", "failures", "has_controller", "metadata", "settings_of"]

_log = logging.getLogger(__name__)


def settings_of(admin: AdminClient, topics: Collection[str]) -> dict[str, dict[str, str]] | None:
    """Return the settings of each topic; None where the cluster cannot be asked.

    Raises:
        AuthorizationError: This client may not see them.
        BrokerError: The cluster does not answer, or has not all of the topics.
    """
    if not has_controller(admin):
        _log.info("settings of topics are not checked: the cluster has no controller to ask")
        return None
    resources = [ConfigResource(ConfigResource.Type.TOPIC, topic) for topic in topics]
    pending = admin.describe_configs(resources, request_timeout=REQUEST_TIMEOUT_S)
    for resource, error in failures(pending):
        what = f"the settings of topic {resource.name} are unknown"
        raise failure(error, what, right="grant DescribeConfigs on it")
    return {
        resource.name: {name: entry.value for name, entry in future.result().items()}
        for resource, future in pending.items()
    }


def has_controller(admin: AdminClient) -> bool:
    """Tell whether more than metadata can be asked for: librdkafka asks by way of the controller.

    The broker inside librdkafka names one that does not exist; requests wait for it in vain.
    """
    known = metadata(admin)
    return known.controller_id in known.brokers


def metadata(admin: AdminClient) -> ClusterMetadata:
    """Return what the cluster tells of its brokers and of all topics.

    Raises:
        BrokerError: It does not answer.
    """
    # Of all topics: asking for one by its name may create it, with settings that are not ours.
    try:
        return admin.list_topics(timeout=REQUEST_TIMEOUT_S)
    except KafkaException as error:
        what = "the Kafka cluster does not answer"
        raise failure(error.args[0], what, remedy="check kafka.bootstrap.servers") from error


def failures(pending: Mapping[Any, Future[Any]], but: int | None = None) -> Iterator[tuple[Any, KafkaError]]:
    """Wait for every answer, and yield what was not done and why."""
    for asked, future in pending.items():
        try:
            future.result()
        except KafkaException as error:
            if error.args[0].code() != but:
                yield asked, error.args[0]


def failure(
    error: KafkaError, what: str, *, right: str = "check the rights", remedy: str = "check the brokers"
) -> ServiceError:
    """Return the error to raise: only the remedy for what is forbidden is a right."""
    if error.code() in AUTHORIZATION:
        return AuthorizationError(f"{what} ({error.str()}); {right}")
    return BrokerError(f"{what} ({error.str()}); {remedy}")
