"""Two requests that kafka-python knows and its clients do not offer: to read a log raw, and to commit.

Needs the extra driftgauge[operator]. It goes by the administration client's own connections, which have no
public name: the tests on a real broker are what holds it to them.
"""

from typing import Any

from kafka.errors import for_code
from kafka.protocol.consumer import FetchRequest
from kafka.protocol.producer.transaction import WriteTxnMarkersRequest
from kafka.record import MemoryRecords

from driftgauge.core.partition import Partition
from driftgauge.kafka.hanging.model import Batch, OpenTransaction, Outcome
from kafka import KafkaAdminClient, TopicPartition

__all__ = ["Requests"]

_FETCH_BYTES = 4 * 1024 * 1024
_FETCH_VERSION = 12  # the last that names topics
_READ_UNCOMMITTED = 0
_COMMIT = 1


class Requests:
    """Sends them to the leaders of partitions; errors are kafka-python's."""

    def __init__(self, admin: KafkaAdminClient) -> None:
        self._admin = admin
        self._manager = admin._manager

    def fetch(self, partition: Partition, start: int) -> tuple[list[Batch], int]:
        """Return batches from an offset on, of open transactions as well, and the partition's end."""
        answer = self._manager.run(self._fetch, partition, start)
        _raise(answer.error_code)
        return [_batch(batch) for batch in MemoryRecords(answer.records or b"")], answer.high_watermark

    def mark(self, transaction: OpenTransaction, outcome: Outcome) -> None:
        """Write the marker that commits or aborts a transaction in its partition."""
        answer = self._manager.run(self._mark, transaction, outcome)
        for marker in answer.markers:
            for topic in marker.topics:
                for index in topic.partitions:
                    _raise(index.error_code)

    async def _fetch(self, partition: Partition, start: int) -> Any:
        topic = FetchRequest.FetchTopic
        place = topic.FetchPartition(
            partition=partition[1], fetch_offset=start, partition_max_bytes=_FETCH_BYTES
        )
        request = FetchRequest(
            max_wait_ms=100,
            min_bytes=1,
            max_bytes=_FETCH_BYTES,
            isolation_level=_READ_UNCOMMITTED,
            topics=[topic(topic=partition[0], partitions=[place])],
            max_version=_FETCH_VERSION,
        )
        answer = await self._manager.send(request, node_id=await self._leader(partition))
        return answer.responses[0].partitions[0]

    async def _mark(self, transaction: OpenTransaction, outcome: Outcome) -> Any:
        topic, index = transaction.partition
        of_producer = WriteTxnMarkersRequest.WritableTxnMarker
        marker = of_producer(
            producer_id=transaction.producer_id,
            producer_epoch=transaction.epoch,
            transaction_result=outcome is Outcome.COMMIT,
            topics=[of_producer.WritableTxnMarkerTopic(name=topic, partition_indexes=[index])],
            # As Kafka's own tool does: a marker's coordinator must not be older than the last one's.
            coordinator_epoch=max(transaction.coordinator_epoch, 0),
        )
        request = WriteTxnMarkersRequest(markers=[marker])
        return await self._manager.send(request, node_id=await self._leader(transaction.partition))

    async def _leader(self, partition: Partition) -> int:
        led = await self._admin._async_get_leader_for_partitions([TopicPartition(*partition)])
        return int(next(iter(led)))


def _batch(batch: Any) -> Batch:
    records = list(batch)
    marker = None
    if batch.is_control_batch:
        marker = Outcome.COMMIT if records[0].type == _COMMIT else Outcome.ABORT
    return Batch(
        batch.base_offset,
        batch.last_offset,
        # Where the broker stamps a batch, the producer's first time stays beside the broker's one.
        batch.max_timestamp if batch.timestamp_type else batch.first_timestamp,
        batch.max_timestamp,
        batch.producer_id,
        marker,
        () if marker else tuple((record.key, record.value) for record in records),
    )


def _raise(code: int) -> None:
    if code:
        raise for_code(code)
