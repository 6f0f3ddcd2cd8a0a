"""Builders of configurations: YAML text, files, and loaded settings."""

from pathlib import Path
from typing import Any

import yaml

from driftgauge.config import Settings, load_settings

FIRST = {"file": "a.safetensors"}
SECRET = "hunter2"  # noqa: S105 - it must show nowhere

MINIMAL = """
kafka: {bootstrap.servers: "localhost:9092", group.id: driftgauge}
streams:
  - {name: images, baseline: images.safetensors, windows: [1h]}
"""

FULL = """
kafka: {bootstrap.servers: "localhost:9092", group.id: driftgauge, sasl.password: hunter2, fetch.min.bytes: 5}
topics:
  events: [embeddings, backfill]
  windows: results
  dead_letters: refused
  internal: kept
  replication_factor: 2
shards: 64
streams:
  - name: resnet18-fc1
    baseline: baselines/resnet18-fc1.safetensors
    windows: [1d, 1h]
    allowed_disorder: 45s
    allowed_lateness: 1h30m
    idle_timeout: 5m
    incomplete_after: 2h
    give_up_after: 6h
    min_events: 200
    smallest_drift: {js_divergence: 0.02, mean_shift: 0.1}
    labels: {owner: ada@example.com, team: vision, severity: critical}
    overdue_after: 12h
    warm_up: {from: 2025-11-03T00:00:00Z, until: "2025-11-10T00:00:00.250+01:00"}
    segments: [country, device]
  - name: clip-text
    baselines:
      - {file: /etc/driftgauge/clip.safetensors}
      - {file: next.safetensors, from: 2025-12-01T00:00:00Z}
      - {file: later.safetensors, from: "2026-01-01T01:00:00+01:00"}
    windows: [10m]
http: {host: 0.0.0.0, port: 8000}
alarms: {false_pages_per_year: 4}
allowed_lead: 1m
allowed_age: 3650d
commit_interval: 500ms
replica: driftgauge-0
"""


def with_stream(**changes: Any) -> str:
    return yaml.safe_dump(
        {
            "kafka": {"bootstrap.servers": "localhost:9092", "group.id": "driftgauge"},
            "streams": [{"name": "images", "baseline": "b.safetensors", "windows": ["1h"], **changes}],
        }
    )


def with_sections(**sections: Any) -> str:
    return yaml.safe_dump(yaml.safe_load(MINIMAL) | sections)


def with_kafka(**changes: Any) -> str:
    tree = yaml.safe_load(MINIMAL)
    tree["kafka"] |= {name.replace("_", "."): value for name, value in changes.items()}
    return yaml.safe_dump(tree)


def warmed_up(start: str, end: str) -> str:
    return MINIMAL.replace("windows: [1h]", f"windows: [1h], warm_up: {{from: {start}, until: {end}}}")


def write_config(folder: Path, *streams: dict[str, Any], **sections: Any) -> Path:
    """Write a configuration; a stream's fields override those of a valid one."""
    path = folder / "driftgauge.yaml"
    valid = {"name": "images", "windows": ["1h", "1d"], "min_events": 5}
    baseline = {"baseline": "images.safetensors"}
    tree = {
        "kafka": {"bootstrap.servers": "localhost:9092", "group.id": "driftgauge"},
        "streams": [
            {**valid, **({} if "baselines" in stream else baseline), **stream} for stream in streams or ({},)
        ],
        **sections,
    }
    path.write_text(yaml.safe_dump(tree), encoding="utf-8")
    return path


def settings_in(folder: Path, *streams: dict[str, Any], **sections: Any) -> Settings:
    """Write a configuration and load it."""
    return load_settings(write_config(folder, *streams, **sections), {})
