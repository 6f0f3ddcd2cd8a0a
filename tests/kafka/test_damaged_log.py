"""A record that is damaged on a broker's disk is not read."""

import pytest
from confluent_kafka import KafkaError, TopicPartition

from driftgauge.kafka import client
from tests.waiting import wait_for


@pytest.mark.broker
def test_flipped_bit_in_log_segment_is_refused(kafka_broker, cluster):
    for value in (b"first", b"second", b"third"):
        cluster.publish(value)  # each is a batch of its own
    kafka_broker.stop()
    (segment,) = kafka_broker.data.glob(f"{cluster.events}-0/*.log")
    content = bytearray(segment.read_bytes())
    content[content.index(b"second")] ^= 1
    segment.write_bytes(content)
    kafka_broker.restart()
    consumer = client.consumer({**cluster.properties, "check.crcs": True}, cluster.group)
    consumer.assign([TopicPartition(cluster.events, 0, 0)])
    read, refused = [], []

    def is_refused_or_read():
        for message in consumer.consume(10, 0.2):
            if message.error() is None:
                read.append(message.value())
            elif message.error().code() == KafkaError._BAD_MSG:
                refused.append(message.offset())
        return len(refused) > 1 or len(read) > 1

    wait_for("the client to refuse the damaged record twice, or to read it", is_refused_or_read)
    consumer.close()
    assert read == [b"first"]
    assert set(refused) == {1}
