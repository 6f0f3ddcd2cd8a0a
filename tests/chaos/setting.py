"""The surroundings of a chaos run: topics, baselines and the configuration that all replicas share."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from driftgauge.baseline.artifact import save
from driftgauge.baseline.fitting import fit_baseline
from tests.chaos.plan import SESSION_TIMEOUT_S
from tests.chaos.truth import WINDOWS_MS
from tests.chaos.workload import CENTRES, PARTITIONS, START_MS, STREAMS, blobs
from tests.integration.case import Case

REFERENCE = 2_000


@dataclass(frozen=True)
class Setting:
    """What there is before the first replica starts.

    Attributes:
        bootstrap: The broker's address.
        group: The consumer group.
        events_topic, windows_topic, dead_letters_topic: The topics.
        config: The configuration file.
        centroids: Each stream's (k, d) centroids.
    """

    bootstrap: str
    group: str
    events_topic: str
    windows_topic: str
    dead_letters_topic: str
    config: Path
    centroids: Mapping[str, NDArray[np.float32]]


def make_setting(folder: Path, bootstrap: str) -> Setting:
    """Make the events topic, the baselines and the configuration."""
    case = Case(
        folder,
        bootstrap,
        windows=tuple(WINDOWS_MS),
        streams=(),
        partitions=PARTITIONS,
        stream_settings={
            "allowed_disorder": "30s",
            # A partition that an outage has held up may come minutes of event time after the others.
            "allowed_lateness": "30m",
            "idle_timeout": "3s",
            "min_events": None,
        },
        kafka={"session.timeout.ms": int(SESSION_TIMEOUT_S * 1_000), "heartbeat.interval.ms": 500},
    )
    case.streams = STREAMS
    case.write_config()
    centroids = {}
    for number, stream in enumerate(STREAMS):
        random = np.random.default_rng(number)
        baseline = fit_baseline(
            blobs(random.integers(len(CENTRES), size=REFERENCE), random),
            stream=stream,
            model_version=None,
            clusters=len(CENTRES),
            created_ms=START_MS,
            progress=lambda _: None,
        )
        save(baseline, folder / f"{stream}.safetensors")
        centroids[stream] = baseline.centroids.values
    return Setting(
        bootstrap=bootstrap,
        group=case.name,
        events_topic=case.events_topic,
        windows_topic=case.windows_topic,
        dead_letters_topic=case.dead_letters_topic,
        config=case.config,
        centroids=centroids,
    )
