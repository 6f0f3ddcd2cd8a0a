"""Watches for transactions that do not end, in the partitions that a role reads."""

from collections.abc import Collection

from confluent_kafka.admin import AdminClient

from driftgauge.clock import Clock
from driftgauge.config import Settings
from driftgauge.core.partition import Partition
from driftgauge.kafka.open_transaction import writer_of
from driftgauge.kafka.stalled import StalledOffsets
from driftgauge.telemetry.roles import RoleTelemetry

__all__ = ["TransactionWatch"]

# By then brokers have aborted what timed out, and looked for it twice.
_AFTER_S = 40.0


class TransactionWatch:
    """Says of each partition whose stable offset stands still since when, and whose transaction it is."""

    def __init__(
        self, settings: Settings, admin: AdminClient, telemetry: RoleTelemetry, clock: Clock
    ) -> None:
        self._settings = settings
        self._telemetry = telemetry
        self._offsets = StalledOffsets(admin, _AFTER_S, clock.monotonic_s)
        self._said: dict[Partition, int] = {}

    def step(self, partitions: Collection[Partition]) -> None:
        """Look at these partitions, without waiting but for a second when one is found."""
        stalled = self._offsets.step(partitions)
        self._telemetry.stalled(stalled)
        self._said = {at: offset for at, offset in self._said.items() if at in stalled}
        for at, waited_s in stalled.items():
            offset = self._offsets.offset(at)
            if self._said.get(at) != offset:
                self._said[at] = offset
                self._telemetry.hangs(at, offset, waited_s, writer_of(self._settings, at, offset))
                # The others have their turn in the next steps: this one took a second.
                return
