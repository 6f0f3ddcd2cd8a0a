"""What counts a cluster's events, in a thread of its own."""

import threading
import time
from abc import ABC, abstractmethod
from types import TracebackType
from typing import Any, Self

from driftgauge.telemetry.health import Health
from driftgauge.telemetry.metrics import Telemetry, WatchedStream
from tests.kafka.cluster import Cluster
from tests.kafka.parts import SPEC, START_MS, build_settings

END_S = 60.0


class Running(ABC):
    """It runs until it is stopped, or fails: of that the test is to judge."""

    def __init__(self, cluster: Cluster, *, kafka: dict[str, Any] | None = None, **changes: Any) -> None:
        self.cluster = cluster
        self.health = Health()
        self.telemetry = Telemetry(
            "0.1.0", [WatchedStream(SPEC, "v7", START_MS, "warning")], [cluster.events], self.health
        )
        topics = {
            "events": [cluster.events],
            "windows": cluster.windows,
            "dead_letters": cluster.letters,
            "state": {cluster.events: cluster.state},
        }
        self.settings = build_settings(
            kafka={**cluster.properties, **(kafka or {})},
            topics=topics,
            **{"commit_interval": "200ms", **changes},
        )
        self.stopping = threading.Event()
        self.failure: Exception | None = None
        self._thread = threading.Thread(target=self._guarded_run)

    @abstractmethod
    def run(self) -> None:
        """Count until `stopping` is set."""

    def _guarded_run(self) -> None:
        try:
            self.run()
        except Exception as error:  # noqa: BLE001 - for the test to judge
            self.failure = error

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> float:
        """Stop it, and return the seconds that it took."""
        self.stopping.set()
        return self.await_end()

    def await_end(self) -> float:
        started_s = time.monotonic()
        self._thread.join(END_S)
        assert not self._thread.is_alive(), "it does not end"
        return time.monotonic() - started_s

    def value(self, name: str, **labels: str) -> float | None:
        return self.telemetry.registry.get_sample_value(f"driftgauge_{name}", labels)
