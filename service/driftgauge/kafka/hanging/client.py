"""The operator's Kafka client: reads logs, offsets and transactions; ends a transaction in a partition."""

from collections.abc import Collection, Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Any, Self

from driftgauge.core.partition import Partition, name_partition
from driftgauge.errors import AuthorizationError, BrokerError, ConfigError
from driftgauge.kafka.client import KafkaProperties
from driftgauge.kafka.hanging.model import Batch, Coordinator, OpenTransaction, TransactionOutcome
from driftgauge.kafka.hanging.properties import connection

__all__ = ["OperatorClient"]


class OperatorClient:
    """A connection with an operator's rights: to read, describe, and alter the cluster."""

    def __init__(self, properties: KafkaProperties) -> None:
        """Connect.

        Raises:
            ConfigError: kafka-python is missing, or does not support the properties.
            AuthorizationError: The cluster refuses the credentials.
            BrokerError: No broker answers.
        """
        try:
            import kafka  # noqa: PLC0415 - an extra
            from driftgauge.kafka.hanging.requests import Requests  # noqa: PLC0415 - needs the extra
        except ImportError as error:
            message = (
                "this command needs kafka-python, which is not installed: "
                "install driftgauge with its extra, pip install 'driftgauge[operator]'"
            )
            raise ConfigError(message) from error
        self._kafka = kafka
        with self._translated("cannot reach Kafka"):
            self._admin = kafka.KafkaAdminClient(**connection(properties))
        self._requests = Requests(self._admin)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._admin.close()

    def partitions(self, topics: Collection[str]) -> dict[Partition, int]:
        """Return the leader's node of each partition of those topics that exist, -1 for no leader."""
        with self._translated("cannot describe the topics"):
            described = self._admin.describe_topics(list(topics))
        return {
            (topic["name"], index["partition_index"]): index["leader_id"]
            for topic in described
            if not topic["error_code"]
            for index in topic["partitions"]
        }

    def open_transactions(self, partition: Partition) -> list[OpenTransaction]:
        """Return the open transactions of a partition, as its leader reports them."""
        with self._translated(f"cannot list the open transactions of {name_partition(partition)}"):
            (state,) = self._admin.describe_producers([self._named(partition)]).values()
        return [
            OpenTransaction(
                partition,
                producer.producer_id,
                producer.producer_epoch,
                producer.coordinator_epoch,
                producer.current_transaction_start_offset,
                producer.last_timestamp,
            )
            for producer in state.active_producers
            if producer.current_transaction_start_offset >= 0
        ]

    def coordinators(self, producer_ids: Collection[int]) -> dict[int, Coordinator]:
        """Return the coordinators' states of producers by producer id; unknown producers are left out."""
        with self._translated("cannot describe the coordinators' transactions"):
            listed = self._admin.list_transactions(producer_id_filters=list(producer_ids))
            names = {each.transactional_id for of_node in listed.values() for each in of_node}
            described = self._admin.describe_transactions(names)
        return {
            each.producer_id: Coordinator(
                each.coordinator_id,
                name,
                each.state.value,
                each.producer_epoch,
                each.transaction_timeout_ms,
                each.transaction_start_time_ms,
                frozenset((topic, index) for topic, index in each.topic_partitions),
            )
            for name, each in described.items()
        }

    def committed(self, group: str) -> dict[Partition, int]:
        """Return the group's committed offsets, without those of open transactions."""
        with self._translated(f"cannot read the offsets of group {group}"):
            offsets = self._admin.list_group_offsets({group: None})[group]
        return {
            (at.topic, at.partition): committed.offset
            for at, committed in offsets.items()
            if committed.offset >= 0
        }

    def offset_at(self, partition: Partition, time_ms: int) -> int | None:
        """Return the offset of the first record at or after a time; None without such a record."""
        named = self._named(partition)
        with self._translated(f"cannot read {name_partition(partition)}"):
            offset = self._admin.list_partition_offsets({named: time_ms})[named].offset
        return None if offset < 0 else int(offset)

    def read(self, partition: Partition, start: int) -> Iterator[Batch]:
        """Yield all batches of a partition from an offset to its end, open transactions included."""
        end = start + 1
        while start < end:
            with self._translated(f"cannot read {name_partition(partition)}@{start}"):
                batches, end = self._requests.fetch(partition, start)
            # The first batch may begin before the requested offset.
            yield from (batch for batch in batches if batch.last >= start)
            start = max([start, *(batch.last + 1 for batch in batches)]) if batches else end

    def end(self, transaction: OpenTransaction, outcome: TransactionOutcome) -> None:
        """Write the marker that commits or aborts a transaction in its partition."""
        partition = transaction.partition
        with self._translated(f"{name_partition(partition)}@{transaction.start}: the {outcome} was refused"):
            self._requests.mark(transaction, outcome)

    def _named(self, partition: Partition) -> Any:
        return self._kafka.TopicPartition(*partition)

    @contextmanager
    def _translated(self, what: str) -> Iterator[None]:
        errors = self._kafka.errors
        try:
            yield
        except (errors.AuthorizationError, errors.SaslAuthenticationFailedError) as error:
            remedy = "use an operator's credentials, with the right to describe and alter the cluster"
            message = f"{what} ({type(error).__name__}): {remedy}, and to read the topics"
            raise AuthorizationError(message) from error
        except errors.KafkaError as error:
            remedy = "check that all brokers run and all partitions have leaders"
            message = f"{what} ({error}): {remedy}, then run the command again"
            raise BrokerError(message) from error
