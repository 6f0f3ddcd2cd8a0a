"""The errors of records that a producer could not deliver."""

from confluent_kafka import KafkaError, Message


class DeliveryFailures(list[KafkaError]):
    """Collects the error of each undelivered record: `note` is the callback `on_delivery`."""

    def note(self, error: KafkaError | None, _: Message) -> None:
        """Record the error of a delivery report, if it has one."""
        if error is not None:
            self.append(error)
