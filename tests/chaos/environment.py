"""The environment of a chaos run: topics, baselines and the configuration of all replicas."""

from collections.abc import Mapping
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from driftgauge.baseline.artifact import save
from driftgauge.baseline.fitting import Provenance, fit_baseline
from driftgauge.baseline.windows import Traffic
from tests.chaos.plan import SOCKET_TIMEOUT_S, Profile
from tests.chaos.windows import WINDOWS_MS
from tests.chaos.workload import BURST, CENTRES, LIVE, PARTITIONS, START_MS, STREAMS, blobs
from tests.harness.case import Case

BASELINE_EVENTS: Final = 2_000
SHARDS: Final = 4


class Environment(Case):
    """What exists before the first replica starts.

    Attributes:
        centroids: Each stream's (k, d) centroids.
        baseline_counts: The (k,) cluster counts of each stream's baseline.
    """

    def __init__(self, folder: Path, bootstrap: str, profile: Profile, further: Mapping[str, str]) -> None:
        """Create the events topic, the baselines and the configuration.

        Args:
            folder: The folder of the files.
            bootstrap: The brokers' addresses.
            profile: The disruptions, which determine the time-outs.
            further: Existing further events topics, by the one stream that each carries.
        """
        self.centroids: dict[str, NDArray[np.float32]] = {}
        self.baseline_counts: dict[str, NDArray[np.int64]] = {}
        super().__init__(
            folder,
            bootstrap,
            streams=(*STREAMS, *further),
            partitions=PARTITIONS,
            shards=SHARDS,
            further_topics=tuple(further.values()),
            # After an outage a partition may lag the others by minutes of event time.
            stream_settings={
                "allowed_lateness": "30m",
                "min_events": None,
                "numbers": {"blob": [0, len(CENTRES) - 1]},
            },
            settings={"commit_interval": "1s"},
            kafka={
                "session.timeout.ms": int(profile.session_s * 1_000),
                "heartbeat.interval.ms": 500,
                "socket.timeout.ms": int(SOCKET_TIMEOUT_S * 1_000),
            },
        )

    def fit(self, stream: str) -> None:
        random = np.random.default_rng(len(self.centroids))
        baseline = fit_baseline(
            blobs(random.integers(len(CENTRES), size=BASELINE_EVENTS), random),
            stream=stream,
            model_version=None,
            clusters=len(CENTRES),
            created_ms=START_MS,
            progress=lambda _: None,
            # Without times all verdicts of a run would be provisional.
            provenance=Provenance(Traffic.of(np.arange(BASELINE_EVENTS) * 25, 1_000)),
        )
        save(baseline, self.folder / f"{stream}.safetensors")
        self.centroids[stream], self.baseline_counts[stream] = baseline.centroids.values, baseline.counts

    def _stream(self, stream: str) -> dict[str, object]:
        own = {STREAMS[LIVE]: {"allowed_disorder": "5s"}, STREAMS[BURST]: {"idle_timeout": "30s"}}
        windows = list(WINDOWS_MS[stream])
        return {
            **super()._stream(stream),
            "windows": windows,
            "allowed_disorder": "30s",
            **own.get(stream, {}),
        }
