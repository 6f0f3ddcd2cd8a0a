"""Tests of `driftgauge.telemetry.catalogue`."""

import re
import sys
from pathlib import Path

import numpy as np
import pytest
from prometheus_client import generate_latest
from prometheus_client.openmetrics import exposition as openmetrics
from prometheus_client.openmetrics.parser import text_string_to_metric_families

from driftgauge.core.statistics.novelty import Novelty
from driftgauge.core.windows.evidence import Kind
from driftgauge.errors import InputError
from driftgauge.telemetry.catalogue import METRICS
from driftgauge.telemetry.health import Role
from driftgauge.telemetry.metric import MetricType
from driftgauge.telemetry.metrics_table import render_table, replace_table
from driftgauge.telemetry.roles import RoleTelemetry
from tests.builders.clocks import DAY_MS, HOUR_MS
from tests.builders.results import build_result, build_score, build_segment
from tests.builders.telemetry import (
    CLUSTER_NAMES,
    IMAGES,
    SHARDS,
    build_busy_telemetry,
    build_shard,
    build_telemetry,
    families,
)
from tests.processes import run_command, run_required

DOCUMENT = "# Title\n\n<!-- metrics:begin -->\nstale\n<!-- metrics:end -->\n\nThe end.\n"


def sampled_name(family):
    return f"{family.name}_total" if family.type == "counter" else family.name


def test_registry_matches_catalogue_names_types_and_help():
    exported = {
        sampled_name(family): (family.type, family.documentation)
        for family in families(build_busy_telemetry()).values()
        if family.name.startswith("driftgauge_")
    }
    assert exported == {name: (metric.type, metric.documentation) for name, metric in METRICS.items()}


def test_every_series_has_exactly_catalogue_labels():
    for family in families(build_busy_telemetry()).values():
        if family.name.startswith("driftgauge_"):
            labels = {tuple(sorted(set(sample.labels) - {"le"})) for sample in family.samples}
            assert labels == {tuple(sorted(METRICS[sampled_name(family)].labels))}, family.name


def test_every_metric_has_prefix_and_states_unit():
    for name, metric in METRICS.items():
        assert re.fullmatch(r"driftgauge(_[a-z][a-z0-9]*)+", name)
        assert (metric.type is MetricType.COUNTER) == name.endswith("_total")
        assert metric.documentation.endswith(f" Unit: {metric.unit}.")


def test_every_window_metric_has_stream_and_window_labels():
    for name, metric in METRICS.items():
        if name.startswith("driftgauge_window"):
            assert metric.labels[:2] == ("stream", "window"), name


def test_openmetrics_text_of_busy_service_parses():
    text = openmetrics.generate_latest(build_busy_telemetry().registry).decode()
    parsed = {family.name for family in text_string_to_metric_families(text)}
    assert {name.removesuffix("_total") for name in METRICS} <= parsed


@pytest.mark.stack
def test_promtool_accepts_metrics():
    rendered = generate_latest(build_busy_telemetry().registry).decode()
    checked = run_required("promtool", "prometheus", "check", "metrics", input=rendered)
    assert checked.stdout + checked.stderr == ""


def test_table_has_one_row_per_metric_and_no_broken_cell():
    rows = render_table().splitlines()[2:]
    assert len(rows) == len(METRICS)
    assert {row.count("|") for row in rows} == {6}


def test_replace_changes_only_text_between_markers():
    replaced = replace_table(DOCUMENT)
    assert "stale" not in replaced
    assert render_table() in replaced
    assert replaced.startswith("# Title\n\n<!-- metrics:begin -->\n|")
    assert replaced.endswith("|\n<!-- metrics:end -->\n\nThe end.\n")
    assert replace_table(replaced) == replaced


def test_metrics_reference_counts_series_of_stream():
    segments = build_segment("de"), build_segment("other")
    novelty = Novelty(0.05, 0.04, 1e-4, np.array([0.02, 0.0, 0.03, -0.01]))
    score = build_score((10, 20, 30, 40), kind=Kind.NOVELTY, novelty=novelty)
    results = [build_result(size_ms=size_ms, segments=segments, score=score) for size_ms in (HOUR_MS, DAY_MS)]
    telemetry = build_telemetry()
    RoleTelemetry(telemetry, Role.WINDOWS, SHARDS).show(IMAGES, build_shard(*results, watermark_ms=DAY_MS))
    labels = [
        set(sample.labels)
        for family in families(telemetry).values()
        for sample in family.samples
        if sample.labels.get("stream") == "images"
    ]
    of_windows = [names for names in labels if "window" in names]
    of_segments = [names for names in of_windows if "segment" in names]
    named = [names for names in of_windows if "name" in names]
    of_clusters = [names for names in of_windows if "cluster_id" in names and "name" not in names]
    sizes, clusters, segments = 2, 4, 2
    per_window = (len(of_windows) - len(of_segments) - len(of_clusters) - len(named)) // sizes
    per_cluster, of_novelty = divmod(len(of_clusters), sizes * clusters)
    per_segment = len(of_segments) // (sizes * segments)
    per_stream = len(labels) - len(of_windows)
    assert len(named) == sizes * len([name for name in CLUSTER_NAMES if name is not None])
    document = (Path(__file__).parents[2] / "deploy/README.md").read_text("utf-8")
    stated = " ".join(document.split())
    assert f"Series: {per_window} + {per_cluster}·*k* per stream and window size" in stated
    assert f"A window of the kind novelty adds {of_novelty // sizes} where one cluster holds most" in stated
    assert f"1 for each cluster with a name, and {per_segment} more for each value of each segment" in stated
    assert f"{per_stream} per stream, 2 per partition" in stated


@pytest.mark.parametrize(
    "text",
    [
        "no marker",
        "<!-- metrics:begin -->",
        "<!-- metrics:end --> <!-- metrics:begin -->",
        DOCUMENT + DOCUMENT,
        DOCUMENT + "<!-- metrics:end -->",
    ],
)
def test_document_without_one_pair_of_markers_raises_error(text):
    with pytest.raises(InputError, match="<!-- metrics:begin -->"):
        replace_table(text)


def test_command_reports_stale_table_writes_it_and_then_passes(tmp_path):
    document = tmp_path / "deploy/README.md"
    document.parent.mkdir()
    document.write_text(DOCUMENT)

    def run(*arguments):
        command = [sys.executable, "-W", "error", "-m", "driftgauge.telemetry.metrics_table", *arguments]
        return run_command(*command, cwd=tmp_path)

    stale = run("--check")
    assert stale.returncode == 1
    assert "out of date" in stale.stderr
    assert document.read_text() == DOCUMENT
    assert run().returncode == 0
    assert document.read_text() == replace_table(DOCUMENT)
    assert run("--check").returncode == 0
