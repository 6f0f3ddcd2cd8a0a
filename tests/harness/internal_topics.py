"""A real cluster's events topic, internal topics and groups, for tests of their preparation."""

from unittest.mock import DEFAULT, Mock

from confluent_kafka.admin import (
    AclBinding,
    AclOperation,
    AclPermissionType,
    AdminClient,
    ConfigResource,
    ResourcePatternType,
    ResourceType,
)

from driftgauge.clock import SYSTEM_CLOCK
from driftgauge.kafka import topics
from driftgauge.kafka.topics import InternalTopics
from tests.harness.cluster import Cluster
from tests.harness.topics import TIMEOUT_S

SHARDS = 2


class InternalTopicsCluster(Cluster):
    """An events topic of three partitions, and the names of two internal topics."""

    def __init__(self, bootstrap: str) -> None:
        super().__init__(bootstrap, partitions=3)
        self.partials, self.changelog = f"partials-{self.group}", f"changelog-{self.group}"

    def settings(self, topic: str) -> dict[str, str]:
        resource = ConfigResource(ConfigResource.Type.TOPIC, topic)
        entries = self.admin.describe_configs([resource])[resource].result(TIMEOUT_S)
        return {name: entry.value for name, entry in entries.items()}

    def prepare(self, admin: AdminClient | None = None) -> None:
        topics.prepare_internal_topics(
            admin or self.admin,
            InternalTopics(self.partials, self.changelog, SHARDS),
            replication=1,
            clock=SYSTEM_CLOCK,
        )


class AclCluster(InternalTopicsCluster):
    """A cluster with an authorizer: a resource with a rule is closed to everything the rules do not allow."""

    def __init__(self, bootstrap: str) -> None:
        super().__init__(bootstrap)
        # Rules come into force in the order of their creation, so a rule of this topic shows that others are.
        self._marker = f"marker-{self.group}"
        self.create(self._marker, 1)

    def deny(self, kind: ResourceType, name: str, operation: AclOperation) -> None:
        """Allow everything on a resource but one operation, and wait until that is in force."""
        allow, deny = AclPermissionType.ALLOW, AclPermissionType.DENY
        for restype, resource, denied in (
            (kind, name, operation),
            (ResourceType.TOPIC, self._marker, AclOperation.DESCRIBE),
        ):
            rules = [
                AclBinding(restype, resource, ResourcePatternType.LITERAL, "User:ANONYMOUS", "*", *rule)
                for rule in ((AclOperation.ALL, allow), (denied, deny))
            ]
            for future in self.admin.create_acls(rules).values():
                future.result(TIMEOUT_S)
        self.await_partitions(self._marker, 0)


def stale_admin(admin: AdminClient) -> Mock:
    """Return an admin client whose first topic list is outdated: the list of now."""
    outdated = [admin.list_topics(timeout=TIMEOUT_S)]
    stale = Mock(wraps=admin)
    stale.list_topics.side_effect = lambda **_: outdated.pop() if outdated else DEFAULT
    return stale


def admin_of_several(admin: AdminClient, brokers: int) -> Mock:
    """Return an admin client that reports a number of brokers."""
    metadata = admin.list_topics(timeout=TIMEOUT_S)
    metadata.brokers = dict.fromkeys(range(brokers))
    return Mock(**{"list_topics.return_value": metadata})
