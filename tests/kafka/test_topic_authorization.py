"""Topics and groups that the cluster's ACLs close to the client: the error names the right to grant."""

import pytest
from confluent_kafka.admin import AclOperation, ResourceType

from driftgauge.errors import AuthorizationError
from driftgauge.kafka import metadata, topics
from tests.harness.internal_topics import AclCluster

pytestmark = pytest.mark.broker


@pytest.fixture
def cluster(guarded):
    return AclCluster(guarded)


def test_hidden_topic_is_not_reported_missing(cluster):
    cluster.set_rules(ResourceType.TOPIC, cluster.events, deny=[AclOperation.DESCRIBE])
    with pytest.raises(
        AuthorizationError, match=rf"topic {cluster.events} is hidden .*; grant Describe on it"
    ):
        topics.create_missing_topics(cluster.admin, [cluster.events], 1)
    cluster.set_rules(ResourceType.TOPIC, cluster.partials, deny=[AclOperation.DESCRIBE])
    with pytest.raises(AuthorizationError, match=f"topic {cluster.partials} is hidden"):
        cluster.prepare()


def test_create_without_right_names_topic_and_right(cluster):
    everything, create = [AclOperation.ALL], [AclOperation.CREATE]
    cluster.set_rules(ResourceType.BROKER, "kafka-cluster", allow=everything, deny=create)
    cluster.set_rules(ResourceType.TOPIC, cluster.partials, allow=everything, deny=create)
    remedy = (
        "grant Create on it, or create it with 2 partitions and cleanup.policy=delete, retention.ms=604800000"
    )
    with pytest.raises(
        AuthorizationError, match=rf"{cluster.partials} is missing and cannot be created .*; {remedy}"
    ):
        cluster.prepare()
    with pytest.raises(AuthorizationError, match=r"grant Create on it, or create it$"):
        topics.create_missing_topics(cluster.admin, [cluster.partials], 1)


def test_describe_configs_without_right_names_topic_and_right(cluster):
    cluster.prepare()
    cluster.set_rules(
        ResourceType.TOPIC, cluster.partials, allow=[AclOperation.ALL], deny=[AclOperation.DESCRIBE_CONFIGS]
    )
    with pytest.raises(
        AuthorizationError, match=rf"settings of topic {cluster.partials} .*; grant DescribeC"
    ):
        cluster.prepare()
    assert metadata.message_limit(cluster.admin, [cluster.partials]) is None
