import re
import subprocess
import sys
from pathlib import Path

import pytest
from prometheus_client import generate_latest
from prometheus_client.openmetrics import exposition as openmetrics
from prometheus_client.openmetrics.parser import text_string_to_metric_families

from driftgauge.errors import InputError
from driftgauge.telemetry.catalogue import METRICS, render_table, replace_table
from driftgauge.telemetry.health import Role
from driftgauge.telemetry.metric import Kind
from driftgauge.telemetry.roles import RoleTelemetry
from tests.needed import required
from tests.results import build_segment
from tests.telemetry.builders import (
    DAY_MS,
    HOUR_MS,
    IMAGES,
    SHARDS,
    build_busy_telemetry,
    build_result,
    build_shard,
    build_telemetry,
    families,
)

README = "# Title\n\n<!-- metrics:begin -->\nstale\n<!-- metrics:end -->\n\nThe end.\n"


def sampled_name(family):
    return f"{family.name}_total" if family.type == "counter" else family.name


def test_the_catalogue_and_the_registry_hold_the_same_names_types_and_help():
    exported = {
        sampled_name(family): (family.type, family.documentation)
        for family in families(build_busy_telemetry()).values()
        if family.name.startswith("driftgauge_")
    }
    assert exported == {name: (metric.kind, metric.documentation) for name, metric in METRICS.items()}


def test_every_series_bears_exactly_the_labels_of_the_catalogue():
    for family in families(build_busy_telemetry()).values():
        if family.name.startswith("driftgauge_"):
            labels = {tuple(sorted(set(sample.labels) - {"le"})) for sample in family.samples}
            assert labels == {tuple(sorted(METRICS[sampled_name(family)].labels))}, family.name


def test_every_metric_bears_the_prefix_and_states_its_unit():
    for name, metric in METRICS.items():
        assert re.fullmatch(r"driftgauge(_[a-z][a-z0-9]*)+", name)
        assert (metric.kind is Kind.COUNTER) == name.endswith("_total")
        assert metric.documentation.endswith(f" Unit: {metric.unit}.")


def test_every_window_metric_carries_stream_and_window():
    for name, metric in METRICS.items():
        if name.startswith("driftgauge_window"):
            assert metric.labels[:2] == ("stream", "window"), name


def test_the_openmetrics_text_of_a_busy_service_parses():
    text = openmetrics.generate_latest(build_busy_telemetry().registry).decode()
    parsed = {family.name for family in text_string_to_metric_families(text)}
    assert {name.removesuffix("_total") for name in METRICS} <= parsed


@pytest.mark.stack
def test_promtool_finds_no_fault_with_the_metrics():
    promtool = required("promtool", "prometheus")
    rendered = generate_latest(build_busy_telemetry().registry)
    checked = subprocess.run(
        [promtool, "check", "metrics"], input=rendered, capture_output=True, timeout=300, check=False
    )
    assert (checked.returncode, checked.stdout + checked.stderr) == (0, b"")


def test_the_table_has_a_row_per_metric_and_no_broken_cell():
    rows = render_table().splitlines()[2:]
    assert len(rows) == len(METRICS)
    assert {row.count("|") for row in rows} == {6}


def test_only_the_text_between_the_markers_is_replaced():
    replaced = replace_table(README)
    assert "stale" not in replaced
    assert render_table() in replaced
    assert replaced.startswith("# Title\n\n<!-- metrics:begin -->\n|")
    assert replaced.endswith("|\n<!-- metrics:end -->\n\nThe end.\n")
    assert replace_table(replaced) == replaced


def test_the_readme_counts_the_series_of_a_stream_rightly():
    segments = build_segment("de"), build_segment("other")
    results = [build_result(size_ms=size_ms, segments=segments) for size_ms in (HOUR_MS, DAY_MS)]
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
    of_clusters = [names for names in of_windows if "cluster_id" in names]
    sizes, clusters, segments = 2, 4, 2
    per_window = (len(of_windows) - len(of_segments) - len(of_clusters)) // sizes
    per_cluster = len(of_clusters) // (sizes * clusters)
    per_segment = len(of_segments) // (sizes * segments)
    per_stream = len(labels) - len(of_windows) - clusters
    readme = (Path(__file__).parents[2] / "README.md").read_text("utf-8")
    said = " ".join(readme.split())
    assert f"Series: {per_window} + {per_cluster}·*k* per stream and window size" in said
    assert f"and {per_segment} more for each value of each segment" in said
    assert f"{per_stream} + *k* per stream, 2 per partition" in said


@pytest.mark.parametrize(
    "text",
    [
        "no marker",
        "<!-- metrics:begin -->",
        "<!-- metrics:end --> <!-- metrics:begin -->",
        README + README,
        README + "<!-- metrics:end -->",
    ],
)
def test_a_readme_without_one_pair_of_markers_is_an_error_that_names_them(text):
    with pytest.raises(InputError, match="<!-- metrics:begin -->"):
        replace_table(text)


def test_the_command_checks_writes_and_then_is_content(tmp_path):
    readme = tmp_path / "README.md"
    readme.write_text(README)

    def run(*arguments):
        command = [sys.executable, "-W", "error", "-m", "driftgauge.telemetry.catalogue", *arguments]
        return subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=300, check=False)

    stale = run("--check")
    assert stale.returncode == 1
    assert "out of date" in stale.stderr
    assert readme.read_text() == README
    assert run().returncode == 0
    assert readme.read_text() == replace_table(README)
    assert run("--check").returncode == 0
