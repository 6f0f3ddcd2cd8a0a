"""The exposition of a whole process: its names, types, labels, start values."""

import re

import pytest
from prometheus_client import REGISTRY, generate_latest
from prometheus_client.openmetrics import exposition as openmetrics
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_open
from prometheus_client.parser import text_string_to_metric_families

from driftgauge.telemetry.health import Role
from driftgauge.telemetry.metrics import METRICS
from driftgauge.telemetry.roles import RoleTelemetry
from tests.builders.telemetry import (
    EVENTS,
    PARTIALS,
    SHARDS,
    build_busy_telemetry,
    build_telemetry,
    read_samples,
    render_samples,
)
from tests.processes import run_python, run_required


def parsed_families(telemetry):
    text = generate_latest(telemetry.registry).decode()
    return [each for each in text_string_to_metric_families(text) if each.name.startswith("driftgauge_")]


def sampled_name(family):
    return f"{family.name}_total" if family.type == "counter" else family.name


def test_exposition_has_names_types_help_and_labels_of_catalogue():
    exported = {
        sampled_name(family): (
            family.type,
            family.documentation,
            {tuple(sorted(set(sample.labels) - {"le"})) for sample in family.samples},
        )
        for family in parsed_families(build_busy_telemetry())
    }
    assert exported == {
        name: (metric.type, metric.documentation, {tuple(sorted(metric.labels))})
        for name, metric in METRICS.items()
    }


def test_every_metric_has_prefix_states_unit_and_window_labels():
    assert len(METRICS) <= 54
    for name, metric in METRICS.items():
        assert re.fullmatch(r"driftgauge(_[a-z][a-z0-9]*)+", name)
        assert (metric.type == "counter") == name.endswith("_total")
        assert metric.documentation.endswith(f" Unit: {metric.unit}.")
        if name.startswith("driftgauge_window"):
            assert metric.labels[:2] == ("stream", "window"), name


def test_busy_process_exports_every_metric(snapshot):
    registry = build_busy_telemetry().registry
    assert render_samples(registry) == snapshot
    text = generate_latest(registry).decode()
    assert not re.search("_created[{ ]", text)
    for name in ("process_resident_memory_bytes", "python_gc_collections_total", "python_info"):
        assert name in text
    assert "driftgauge" not in generate_latest(REGISTRY).decode()
    parsed = {family.name for family in parse_open(openmetrics.generate_latest(registry).decode())}
    assert {name.removesuffix("_total") for name in METRICS} <= parsed


def test_new_process_counts_from_zero_and_shows_no_stream(snapshot):
    telemetry, another = build_telemetry("images", "texts"), build_telemetry()
    RoleTelemetry(another, Role.COUNT, SHARDS).committed()
    shown = render_samples(telemetry.registry)
    assert shown == snapshot
    counters = [line for line in shown.splitlines() if re.match(r"\w+_(total|count|sum){", line)]
    assert len(counters) > 20
    assert {line.rpartition(" ")[2] for line in counters} == {"0"}, "also of what only the other counted"
    assert "images" not in shown


@pytest.mark.parametrize(
    ("role", "other", "topic", "phase"),
    [(Role.COUNT, Role.WINDOWS, PARTIALS, "close"), (Role.WINDOWS, Role.COUNT, EVENTS, "decode")],
)
def test_series_of_unserved_role_are_absent(role, other, topic, phase):
    shown = read_samples(build_telemetry(roles=[role]).registry)
    assert set(shown["commits_total"]) == {f"ok {role}", f"aborted {role}"}
    assert set(shown["sessions_lost_total"]) == {role}
    assert role in shown["ready"]
    assert other not in shown["ready"]
    assert topic not in shown["consumer_assigned_partitions"]
    assert phase not in shown["batch_duration_seconds_count"]


def test_telemetry_imports_no_scikit_learn():
    program = (
        "import sys, driftgauge.telemetry.roles, driftgauge.telemetry.server, driftgauge.telemetry.logs;"
        "sys.exit('scipy.stats' in sys.modules"
        " or any(name.split('.')[0] in {'sklearn', 'confluent_kafka'} for name in sys.modules))"
    )
    run_python(program)


@pytest.mark.stack
def test_promtool_accepts_metrics():
    rendered = generate_latest(build_busy_telemetry().registry).decode()
    checked = run_required("promtool", "prometheus", "check", "metrics", input=rendered)
    assert checked.stdout + checked.stderr == ""
