"""The environment of a chaos run: topics, baselines and the configuration of all replicas."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from uuid import uuid4

import numpy as np
import yaml
from confluent_kafka.admin import AdminClient, NewTopic
from numpy.typing import NDArray

from driftgauge.baseline.artifact import save
from driftgauge.baseline.fitting import fit_baseline
from tests.chaos.expected_counts import WINDOWS_MS
from tests.chaos.profiles import SOCKET_TIMEOUT_S, BrokerRole, Profile
from tests.chaos.workload import CENTRES, PARTITIONS, START_MS, STREAMS, blobs
from tests.waiting import PATIENCE_S

BASELINE_EVENTS: Final = 2_000
SHARDS: Final = 4


@dataclass(frozen=True)
class Environment:
    """What exists before the first replica starts.

    Attributes:
        bootstrap: The brokers' addresses.
        group: The consumer group of COUNT.
        events_topic, windows_topic, dead_letters_topic, partials_topic, changelog_topic: The topics.
        config: The configuration file.
        centroids: Each stream's (k, d) centroids.
        baseline_counts: The (k,) cluster counts of each stream's baseline.
    """

    bootstrap: str
    group: str
    events_topic: str
    windows_topic: str
    dead_letters_topic: str
    partials_topic: str
    changelog_topic: str
    config: Path
    centroids: Mapping[str, NDArray[np.float32]]
    baseline_counts: Mapping[str, NDArray[np.int64]]

    @property
    def by_role(self) -> dict[BrokerRole, str]:
        """The topics whose leaders are disrupted."""
        return {
            BrokerRole.EVENTS: self.events_topic,
            BrokerRole.PARTIALS: self.partials_topic,
            BrokerRole.CHANGELOG: self.changelog_topic,
        }


def set_up_environment(
    folder: Path, bootstrap: str, profile: Profile, further: Mapping[str, str] | None = None
) -> Environment:
    """Create the events topic, the baselines and the configuration.

    Args:
        folder: The folder of the files.
        bootstrap: The brokers' addresses.
        profile: The disruptions, which determine the time-outs.
        further: Existing further events topics, by the one stream that each carries.
    """
    name = f"chaos-{uuid4().hex[:8]}"
    events = f"{name}.events"
    admin = AdminClient({"bootstrap.servers": bootstrap})
    admin.create_topics([NewTopic(events, PARTITIONS)])[events].result(PATIENCE_S)
    streams = (*STREAMS, *(further or {}))
    baselines = {stream: _fit(folder, stream, number) for number, stream in enumerate(streams)}
    tree = {
        "kafka": {
            "bootstrap.servers": bootstrap,
            "group.id": name,
            "session.timeout.ms": int(profile.session_s * 1_000),
            "heartbeat.interval.ms": 500,
            "socket.timeout.ms": int(SOCKET_TIMEOUT_S * 1_000),
        },
        "shards": SHARDS,
        "topics": {
            "events": [events, *(further or {}).values()],
            "windows": f"{name}.windows",
            "dead_letters": f"{name}.dead-letters",
        },
        "streams": [_stream(stream) for stream in streams],
        "http": {"port": 0},
    }
    config = folder / "driftgauge.yaml"
    config.write_text(yaml.safe_dump(tree))
    return Environment(
        bootstrap=bootstrap,
        group=name,
        events_topic=events,
        windows_topic=f"{name}.windows",
        dead_letters_topic=f"{name}.dead-letters",
        partials_topic=f"driftgauge.{name}.partials.{SHARDS}",
        changelog_topic=f"driftgauge.{name}.changelog.{SHARDS}",
        config=config,
        centroids={stream: centroids for stream, (centroids, _) in baselines.items()},
        baseline_counts={stream: counts for stream, (_, counts) in baselines.items()},
    )


def _stream(stream: str) -> dict[str, object]:
    return {
        "name": stream,
        "baseline": f"{stream}.safetensors",
        "windows": list(WINDOWS_MS[stream]),
        "allowed_disorder": "5s" if stream == "live" else "30s",
        # After an outage a partition may lag the others by minutes of event time.
        "allowed_lateness": "30m",
        "idle_timeout": "5s",
    }


def _fit(folder: Path, stream: str, seed: int) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Fit and save a stream's baseline; return its centroids and cluster counts."""
    random = np.random.default_rng(seed)
    baseline = fit_baseline(
        blobs(random.integers(len(CENTRES), size=BASELINE_EVENTS), random),
        stream=stream,
        model_version=None,
        clusters=len(CENTRES),
        created_ms=START_MS,
        progress=lambda _: None,
    )
    save(baseline, folder / f"{stream}.safetensors")
    return baseline.centroids.values, baseline.counts
