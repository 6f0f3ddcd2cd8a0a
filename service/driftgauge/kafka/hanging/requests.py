"""Two requests that kafka-python's clients do not offer: Fetch of raw batches, and WriteTxnMarkers.

Needs the extra driftgauge[operator]. The requests use private connections of the administration client; the
tests on a real broker check that these still work.
"""

from typing import Any

from kafka.errors import for_code
from kafka.protocol.consumer import FetchRequest
from kafka.protocol.producer.transaction import WriteTxnMarkersRequest
from kafka.record import MemoryRecords

from driftgauge.core.partition import Partition
from driftgauge.kafka.hanging.model import Batch, OpenTransaction, TransactionOutcome
from kafka import KafkaAdminClient, TopicPartition

__all__ = ["Requests"]

_FETCH_BYTES = 4 * 1024 * 1024
_FETCH_VERSION = 12  # the last version with topic names instead of ids
_READ_UNCOMMITTED = 0
_COMMIT = 1


class Requests:
    """Sends the requests to partition leaders; raises kafka-python's errors."""

    def __init__(self, admin: KafkaAdminClient) -> None:
        self._admin = admin
        self._manager = admin._manager

    def fetch(self, partition: Partition, start: int) -> tuple[list[Batch], int]:
        """Return batches from an offset on, open transactions included, and the high watermark."""
        answer = self._manager.run(self._fetch, partition, start)
        _raise(answer.error_code)
        return [_batch(batch) for batch in MemoryRecords(answer.records or b"")], answer.high_watermark

    def mark(self, transaction: OpenTransaction, outcome: TransactionOutcome) -> None:
        """Write the marker that commits or aborts a transaction in its partition."""
        answer = self._manager.run(self._mark, transaction, outcome)
        for marker in answer.markers:
            for topic in marker.topics:
                for index in topic.partitions:
                    _raise(index.error_code)

    async def _fetch(self, partition: Partition, start: int) -> Any:
        topic = FetchRequest.FetchTopic
        requested = topic.FetchPartition(
            partition=partition[1], fetch_offset=start, partition_max_bytes=_FETCH_BYTES
        )
        request = FetchRequest(
            max_wait_ms=100,
            min_bytes=1,
            max_bytes=_FETCH_BYTES,
            isolation_level=_READ_UNCOMMITTED,
            topics=[topic(topic=partition[0], partitions=[requested])],
            max_version=_FETCH_VERSION,
        )
        answer = await self._manager.send(request, node_id=await self._leader(partition))
        return answer.responses[0].partitions[0]

    async def _mark(self, transaction: OpenTransaction, outcome: TransactionOutcome) -> Any:
        topic, index = transaction.partition
        of_producer = WriteTxnMarkersRequest.WritableTxnMarker
        marker = of_producer(
            producer_id=transaction.producer_id,
            producer_epoch=transaction.epoch,
            transaction_result=outcome is TransactionOutcome.COMMIT,
            topics=[of_producer.WritableTxnMarkerTopic(name=topic, partition_indexes=[index])],
            # Like Kafka's own tool: brokers refuse a coordinator epoch below that of the last marker.
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
        marker = TransactionOutcome.COMMIT if records[0].type == _COMMIT else TransactionOutcome.ABORT
    return Batch(
        batch.base_offset,
        batch.last_offset,
        # With LogAppendTime only the maximum is the broker's time; the first timestamp is the producer's.
        batch.max_timestamp if batch.timestamp_type else batch.first_timestamp,
        batch.max_timestamp,
        batch.producer_id,
        marker,
        () if marker else tuple((record.key, record.value) for record in records),
    )


def _raise(code: int) -> None:
    if code:
        raise for_code(code)
