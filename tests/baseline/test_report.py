"""Reports of a baseline, as text and as JSON; the numbers follow from its arrays."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from syrupy.assertion import SnapshotAssertion

from driftgauge.baseline.artifact import Baseline, ClusterDescription
from driftgauge.baseline.quality import notes
from driftgauge.baseline.report import as_json, describe
from driftgauge.cli.printing import render
from driftgauge.core.statistics.divergence_null import noise_floor
from driftgauge.core.statistics.overdispersion import Overdispersion
from tests.builders.baselines import HOSTILE_NAMES, SEGMENTS, build_baseline, with_metadata

PLAIN = with_metadata(build_baseline(), stability=0.7)
FULL = build_baseline(
    overdispersion=Overdispersion(40, 2.25, np.array([[3, 0.5], [0.5, 1.5]])),
    segments=SEGMENTS,
    descriptions=(
        *(ClusterDescription(name=name, example_ids=(f"köln-{name[:2]}", "b")) for name in HOSTILE_NAMES[:3]),
        ClusterDescription(),
    ),
)


@pytest.mark.parametrize(
    ("baseline", "parts"),
    [
        (
            PLAIN,
            [
                PLAIN.identity,
                f"{noise_floor(4, 1_000, 100):.4f} at 1,000 events",
                "up to 5 events are at most 1/20 of the vectors counted",
                "0.70 (adjusted Rand index, 1 is the same clusters)",
                "note: The overdispersion is not known",
            ],
        ),
        (
            FULL,
            [
                "counts vary 2.25 times as much as those of independent events, means up to 3.15 times; "
                "measured on 40 windows of 1h",
                f"{2.25 * noise_floor(4, 1_000, 100):.4f} at 1,000 events",
                "country=de 55 55.00%",
                "0 40 40.00% 0.1500 0.3000 <script>alert(1)</script>",
                "0 köln-<s, b",
            ],
        ),
    ],
)
def test_text_holds_facts(snapshot: SnapshotAssertion, baseline: Baseline, parts: list[str]) -> None:
    text = render(describe(baseline, Path("stream.safetensors")))
    assert [part for part in parts if part not in " ".join(text.split())] == []
    assert text.replace(baseline.identity, "IDENTITY") == snapshot


def rounded(value: Any) -> Any:
    """Return JSON values with six digits, which do not differ between machines."""
    return json.loads(
        json.dumps(value, allow_nan=False), parse_float=lambda text: float(f"{float(text):.6g}")
    )


def test_json_holds_facts(snapshot: SnapshotAssertion) -> None:
    plain: dict[str, Any] = as_json(PLAIN)
    full: dict[str, Any] = as_json(FULL)
    assert plain["identity"] == PLAIN.identity
    assert plain["notes"] == notes(PLAIN)
    assert [cluster["count"] for cluster in plain["clusters"]] == [40, 30, 20, 10]
    assert plain["noise_floor"]["1000"] == pytest.approx(noise_floor(4, 1_000, 100))
    assert full["window_ms"] == 3_600_000
    assert [cluster["name"] for cluster in full["clusters"]] == [*HOSTILE_NAMES[:3], None]
    assert [(each["key"], each["value"], each["count"]) for each in full["segments"]] == [
        ("country", "de", 55),
        ("country", "other", 45),
    ]
    assert rounded([plain | {"identity": ""}, full | {"identity": ""}]) == snapshot
