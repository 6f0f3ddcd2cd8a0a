"""The settings and streams of workers in tests."""

from driftgauge.config import Settings
from driftgauge.core.counting.assignment import DistanceMetric
from driftgauge.events.baseline_contract import BaselineContract
from tests.builders.clocks import SECOND_MS
from tests.builders.references import CLUSTERS, build_reference
from tests.builders.specs import build_spec

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
