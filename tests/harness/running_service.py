"""The roles of a replica on a real broker, in threads of this process."""

import gc
import threading
import time
from collections.abc import Collection
from types import TracebackType
from typing import Self

import orjson

from driftgauge.clock import SYSTEM_CLOCK
from driftgauge.config import Settings, StreamLabels
from driftgauge.core.counting.assignment import DistanceMetric
from driftgauge.core.partition import Partition
from driftgauge.events.decoder import Decoder
from driftgauge.events.rows import BaselineContract
from driftgauge.kafka.login import Login
from driftgauge.kafka.service import Service
from driftgauge.telemetry.health import Health, Role
from driftgauge.telemetry.metrics import Telemetry
from driftgauge.telemetry.roles import RoleTelemetry
from driftgauge.telemetry.snapshot import WatchedStream
from tests.builders.clocks import SECOND_MS
from tests.builders.references import CLUSTERS, build_reference
from tests.builders.results import build_description
from tests.builders.specs import build_spec
from tests.harness.cluster import Cluster
from tests.waiting import PATIENCE_S, wait_for

STREAM, OTHER = "images", "texts"
SHARDS = 2
# Windows of one second; one stream of each shard.
SPECS = tuple(
    build_spec(
        stream, reference=build_reference(stream), sizes_ms=(SECOND_MS,), disorder_ms=500, lateness_ms=10**9
    )
    for stream in (STREAM, OTHER)
)
CONTRACTS = [
    BaselineContract(spec.name, spec.baselines[0].reference.key, CLUSTERS, None, DistanceMetric.EUCLIDEAN)
    for spec in SPECS
]
DECODER = Decoder(CONTRACTS, lead_ms=300_000)
DESCRIPTIONS = {
    spec.baselines[0].reference.baseline_id: build_description("a", "b", None, "d") for spec in SPECS
}


def build_settings(kafka: dict[str, object], *, windows: str, letters: str, events: str) -> Settings:
    """Return a configuration; its baseline files do not exist, and no test reads them."""
    return Settings.model_validate(
        {
            "kafka": kafka,
            "streams": [{"name": spec.name, "baseline": "no-such-file", "windows": ["1s"]} for spec in SPECS],
            "topics": {"events": [events], "windows": windows, "dead_letters": letters},
            "shards": SHARDS,
            "commit_interval": "100ms",
        }
    )


class ObservedRole(RoleTelemetry):
    """Counts what no metric shows.

    Attributes:
        restores: How often work on partitions has started.
        polls: The number of polls.
    """

    restores = polls = 0

    def restored(self, waited_s: float, partitions: Collection[Partition]) -> None:
        super().restored(waited_s, partitions)
        self.restores += 1

    def polled(self) -> None:
        super().polled()
        self.polls += 1


class RunningService:
    """A service that runs until it is stopped or fails.

    Attributes:
        failure: The exception that ended the service; None while it runs or after a normal end.
    """

    def __init__(self, cluster: Cluster, roles: Collection[Role] = tuple(Role), **kafka: str | int) -> None:
        self.cluster = cluster
        self.settings = build_settings(
            {**cluster.properties, **kafka},
            windows=cluster.windows,
            letters=cluster.letters,
            events=cluster.events,
        )
        streams = [
            WatchedStream(spec, {}, StreamLabels(severity="info"), lambda size_ms: 2 * size_ms)
            for spec in SPECS
        ]
        partials = self.settings.partials_topic
        self.telemetry = Telemetry(
            "0.1.0", streams, [cluster.events], partials, Health(roles, SYSTEM_CLOCK), roles, SYSTEM_CLOCK
        )
        self.stopping = threading.Event()
        self.failure: Exception | None = None
        self._roles = {role: ObservedRole(self.telemetry, role, SHARDS) for role in roles}
        self._service = Service(
            self.settings,
            SPECS,
            DECODER,
            login=Login(self.settings.kafka),
            descriptions=DESCRIPTIONS,
            roles=self._roles,
            clock=SYSTEM_CLOCK,
            stopping=self.stopping,
        )
        self._thread = threading.Thread(target=self._run_guarded, daemon=True)
        self._thread.start()

    def _run_guarded(self) -> None:
        try:
            self._service.run()
        except Exception as error:  # noqa: BLE001 - the test asserts it
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

    def stop(self) -> float:
        """Stop the service; return how many seconds the stop took."""
        self.stopping.set()
        return self.await_end()

    def await_end(self) -> float:
        started_s = time.monotonic()
        self._thread.join(PATIENCE_S)
        assert not self._thread.is_alive(), "the service does not end"
        # Clients that are not collected would log into the next tests.
        gc.collect()
        return time.monotonic() - started_s

    def value(self, name: str, **labels: str | int) -> float:
        text = {label: str(value) for label, value in labels.items()}
        return self.telemetry.registry.get_sample_value(f"driftgauge_{name}", text) or 0.0

    def counted(self) -> float:
        return sum(self.value("events_total", stream=spec.name) for spec in SPECS)

    def chain(self) -> tuple[float, float, float]:
        """Return the numbers of gaps, overlaps and orphans over all shards."""
        gap, overlap, orphans = (
            sum(self.value("partials_faults_total", shard=shard, reason=what) for shard in range(SHARDS))
            for what in ("gap", "overlap", "orphans")
        )
        return gap, overlap, orphans

    def restored(self) -> int:
        """Return the number of restores of shards."""
        return self._roles[Role.WINDOWS].restores

    def polled(self) -> int:
        """Return the number of polls of partials."""
        return self._roles[Role.WINDOWS].polls

    def counts(self) -> dict[tuple[str, int], int]:
        """Return each window's last published count by stream and second; fail on a repeated revision."""
        counts: dict[tuple[str, int], int] = {}
        seen = set()
        for _, value in self.cluster.pairs(self.cluster.windows):
            record = orjson.loads(value or b"")
            key = record["stream"], int(record["start"][17:19])
            assert (key, record["revision"]) not in seen, "a revision was published twice"
            seen.add((key, record["revision"]))
            counts[key] = record["count"]
        return counts

    def await_counts(self, expected: dict[tuple[str, int], int]) -> None:
        def are_equal() -> bool:
            assert self.failure is None, self.failure
            return self.counts() == expected

        wait_for(lambda: f"the counts: expected {expected}, found {self.counts()}", are_equal)
