"""The exposition of a process: names and types, and the metrics of the shards and windows that it holds."""

import math
import re
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import REGISTRY, generate_latest
from prometheus_client.openmetrics import exposition as openmetrics
from prometheus_client.openmetrics.exposition import generate_latest as generate_open
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_open
from prometheus_client.parser import text_string_to_metric_families as parse_plain

from driftgauge.clock import SYSTEM_CLOCK
from driftgauge.config import StreamLabels
from driftgauge.core.judging.number_judging import NumberMemory
from driftgauge.core.judging.verdict import Verdict
from driftgauge.core.statistics.novelty import Novelty
from driftgauge.core.statistics.spread import Spread, SpreadChange
from driftgauge.core.window import Window
from driftgauge.telemetry.health import Health, Role
from driftgauge.telemetry.metrics import METRICS, Telemetry
from driftgauge.telemetry.roles import RoleTelemetry
from driftgauge.telemetry.snapshot import WatchedStream, take_snapshot
from driftgauge.telemetry.window_collector import WindowCollector
from tests.builders.baselines import HOSTILE_NAMES
from tests.builders.batches import AWAY, HOME
from tests.builders.clocks import DAY_MS, HOUR_MS, ManualClock
from tests.builders.references import build_reference
from tests.builders.results import (
    CONFIDENCE,
    build_description,
    build_number,
    build_result,
    build_score,
    build_segment,
    build_small_segment,
    by_statistic,
)
from tests.builders.specs import build_minute_spec
from tests.builders.telemetry import (
    SHARDS,
    STREAMS,
    build_busy_telemetry,
    build_shard,
    build_telemetry,
    build_watched,
    read_samples,
    registry_of,
    render_samples,
    sample_reader,
)
from tests.core.shard import Shard, read_now
from tests.processes import run_required


@pytest.fixture
def collector(clock):
    return WindowCollector(STREAMS, clock.clock)


@pytest.fixture
def exported(collector):
    return sample_reader(registry_of(collector))


@pytest.fixture
def show(collector):
    """Show a shard, 0 by default, with fields as for `build_shard`."""

    def show(*published, shard=0, streams=("images",), **fields):
        collector.show(shard, take_snapshot(build_shard(*published, **fields), streams))

    return show


@pytest.fixture
def close(show):
    """Close a window of `images`, and show the shard with all windows closed so far."""
    published = {}

    def close(**window):
        result = build_result(**window)
        published[result.window] = result
        show(*published.values())

    return close


def test_exposition_has_names_types_help_and_labels_of_catalogue():
    text = generate_latest(build_busy_telemetry().registry).decode()
    exported = {
        f"{family.name}_total" if family.type == "counter" else family.name: (
            family.type,
            family.documentation,
            {tuple(sorted(set(sample.labels) - {"le"})) for sample in family.samples},
        )
        for family in parse_plain(text)
        if family.name.startswith("driftgauge_")
    }
    assert exported == {
        name: (metric.type, metric.documentation, {tuple(sorted(metric.labels))})
        for name, metric in METRICS.items()
    }


def test_every_metric_has_prefix_states_unit_and_window_labels():
    assert len(METRICS) <= 61
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
    # Also what only the other counted has a series, of zero.
    assert render_samples(telemetry.registry) == snapshot


@pytest.mark.parametrize("role", list(Role))
def test_series_of_unserved_role_are_absent(role, snapshot):
    assert render_samples(build_telemetry(roles=[role]).registry) == snapshot


@pytest.mark.stack
def test_promtool_accepts_metrics():
    rendered = generate_latest(build_busy_telemetry().registry).decode()
    checked = run_required("promtool", "prometheus", "check", "metrics", input=rendered)
    assert checked.stdout + checked.stderr == ""


NOT_CLOSED = {f"images {each} {size}": 0 for each in Verdict for size in ("1h", "1d")}


@pytest.mark.parametrize(
    ("published", "fields", "expected"),
    [
        pytest.param(
            [
                build_result((1, 0, 0, 0), verdict=Verdict.DRIFT),
                build_result((1, 0, 0, 0), Window(HOUR_MS, 5 * HOUR_MS), verdict=Verdict.INCOMPLETE),
            ],
            {
                "shard": 3,
                "chain": (1, 2, 4),
                "late": {HOUR_MS: 5},
                "closed": {
                    (HOUR_MS, Verdict.OK): 3,
                    (HOUR_MS, Verdict.DRIFT): 1,
                    (2 * HOUR_MS, Verdict.OK): 9,
                },
            },
            {
                "windows_closed_total": NOT_CLOSED | {"images ok 1h": 3, "images drift 1h": 1},
                "alarm_active": {"images 1h": 1, "images 1d": 0},
                "late_events_total": {"images 1h": 5, "images 1d": 0},
                "partials_faults_total": {"gap 3": 1, "overlap 3": 2, "orphans 3": 4},
            },
            id="totals, alarm and chain",
        ),
        pytest.param([build_result()], {}, {"alarm_active": {"images 1h": 0, "images 1d": 0}}, id="no alarm"),
        pytest.param([], {}, {"watermark_timestamp_seconds": {}}, id="no watermark"),
        pytest.param(
            [],
            {"final_ms": 26 * HOUR_MS, "watermark_ms": 30_500},
            {"watermark_timestamp_seconds": {"images": 30.5}},
            id="watermark",
        ),
        pytest.param(
            [build_result(stream="elsewhere"), build_result(size_ms=2 * HOUR_MS)],
            {},
            {"window_events": {}, "alarm_active": {"images 1h": 0, "images 1d": 0}},
            id="streams and sizes that are not configured",
        ),
    ],
)
def test_state_of_shard_is_exported(show, exported, published, fields, expected):
    show(*published, **fields)
    assert exported(*expected) == expected


def test_stream_without_windows_exports_configuration_and_zero_totals(show, collector, snapshot):
    show(streams=("images", "texts"))
    assert read_samples(registry_of(collector)) == snapshot


def test_entry_of_several_streams_exports_its_streams_until_they_retire():
    spec = build_minute_spec("tenant-*", most=2)
    watched = WatchedStream(spec, {}, StreamLabels(), lambda size_ms: 2 * size_ms)
    roles = [Role.COUNT, Role.WINDOWS]
    telemetry = Telemetry(
        "0.1.0", [watched], ["embeddings"], "partials", Health(roles, SYSTEM_CLOCK), roles, SYSTEM_CLOCK
    )
    shard = Shard(spec)

    def exported(**changes):
        shard.commit(caught_up=True, **changes)
        RoleTelemetry(telemetry, Role.WINDOWS, 1).show(0, shard.state)
        names = ("match_streams", "surplus_events_total", "late_events_total")
        streams, surplus, late = sample_reader(telemetry.registry)(*names).values()
        assert streams.keys() == {"tenant-* 0 admitted", "tenant-* 0 allowed"}
        return [*streams.values(), surplus["tenant-* 0"]], set(late)

    assert exported() == ([0, 2, 0], set())
    for stream in ("tenant-a", "tenant-b", "tenant-c"):
        read_now(shard, 0, 0, 0, stream=stream)
    both = {"tenant-a 1m", "tenant-b 1m"}
    assert exported() == ([2, 2, 3], both)
    assert exported(after_ms=HOUR_MS) == ([2, 2, 3], both)
    assert exported(after_ms=8 * DAY_MS) == ([0, 2, 3], set())
    read_now(shard, 0, stream="tenant-c")
    assert exported() == ([1, 2, 3], {"tenant-c 1m"})


def test_shard_is_exported_while_held_and_until_15_s_after_its_last_commit(collector, show, clock, exported):
    def streams():
        return set(exported("p_value_threshold")["p_value_threshold"])

    assert read_samples(registry_of(collector)) == {}
    show(build_result())
    clock.advance(10)
    show(build_result(stream="texts", size_ms=DAY_MS), shard=1, streams=("texts",))
    clock.advance(5)
    assert streams() == {"images", "texts"}
    clock.advance(0.001)
    assert streams() == {"texts"}
    faults = {f"{reason} 1": 0 for reason in ("gap", "overlap", "orphans")}
    assert exported("partials_faults_total") == {"partials_faults_total": faults}
    show(build_result())
    collector.keep_only([1, 2])
    assert streams() == {"texts"}
    collector.keep_only([])
    assert read_samples(registry_of(collector)) == {}


@given(st.permutations([1, 2, 3, 4]))
def test_newest_window_is_exported_for_any_order_of_restore(numbers):
    collector = WindowCollector(STREAMS, ManualClock().clock)
    state = build_shard(*(build_result(number=number) for number in numbers))
    collector.show(0, take_snapshot(state, ["images"]))
    samples = read_samples(registry_of(collector))
    assert samples["window_end_timestamp_seconds"] == {"images 1h": 5 * 3600}


@pytest.mark.parametrize(
    ("numbers", "alarms"),
    [
        ((CONFIDENCE,), {"confidence images 1h": 1}),
        ((replace(CONFIDENCE, alert_below=0.1),), {"confidence images 1h": 0}),
        ((), {}),
    ],
)
def test_alarm_of_a_number_outlives_its_values_and_not_its_configuration(numbers, alarms):
    watched = build_watched("images")
    watched = replace(watched, spec=replace(watched.spec, numbers=numbers))
    collector = WindowCollector([watched], ManualClock().clock)
    memory = NumberMemory(CONFIDENCE, recent=(True, True), fires=True)
    vanished = build_result(numbers={"confidence": build_number((math.nan,) * 9, before=memory)})
    collector.show(0, take_snapshot(build_shard(vanished), ["images"]))
    samples = read_samples(registry_of(collector))
    assert samples.get("number_alarm_active", {}) == alarms


def test_scrape_never_mixes_two_windows(collector, close):
    close(counts=(20, 0, 0, 0), number=0)
    families = collector.collect()
    first = next(families)
    close(counts=(21, 0, 0, 0), number=1)
    values = {sample.name: sample.value for family in (first, *families) for sample in family.samples}
    shown = [values[f"driftgauge_window_{name}"] for name in ("end_timestamp_seconds", "events")]
    assert shown == [3600, 20]


COUNTS = (10, 20, 30, 40)
DRIFTING = build_segment("de", 70, js_divergence=0.02, adjusted_p_value=0.003, verdict=Verdict.DRIFT)
NOVELTY = Novelty(0.05, 0.04, 1e-4, np.array([0.02, 0.0, 0.03, -0.01]))


@pytest.mark.parametrize(
    "windows",
    [
        pytest.param([{}], id="scored"),
        pytest.param([{"number": 5, "revision": 2, "published_ms": 1_700_000_000_250}], id="times"),
        pytest.param([{}, {"number": 2, "counts": (1, 2, 0, 1)}], id="too few events"),
        # Detectable drift is relative to the smallest worth finding.
        pytest.param(
            [{"score": build_score(COUNTS, detectable=by_statistic(0.03, math.inf, 0.04, 0.06, 0.08))}],
            id="detectable",
        ),
        pytest.param(
            [{"score": build_score(COUNTS, spread=Spread(SpreadChange(0.06, 0.03, 0.41), None, None))}],
            id="spread without residual",
        ),
        # Its evidence has no parts.
        pytest.param([{"score": build_score(COUNTS, novelty=NOVELTY)}], id="not significant"),
        pytest.param(
            [{"score": build_score(COUNTS, novelty=NOVELTY, kind="novelty"), "verdict": Verdict.DRIFT}],
            id="significant",
        ),
        pytest.param([{"missing": (HOME, AWAY)}], id="missing partitions"),
        pytest.param([{"missing": (HOME,)}, {"revision": 1, "counts": (20, 20, 30, 40)}], id="revised"),
        pytest.param(
            [{"missing": (AWAY,), "verdict": Verdict.OK, "incomplete_reason": None}], id="given-up partition"
        ),
        # The newest stays.
        pytest.param(
            [
                {"published_ms": 1_000},
                {"number": 2, "published_ms": 2_000},
                {"counts": (25, 25, 25, 25), "revision": 3, "published_ms": 3_000},
            ],
            id="older window revised",
        ),
        pytest.param(
            [{"segments": (build_segment("x"),)}, {"number": 2, "segments": (DRIFTING,)}], id="segment"
        ),
        pytest.param([{"segments": (build_small_segment("other", 3),)}], id="small segment"),
    ],
)
def test_newest_window_is_exported(close, collector, windows, snapshot):
    for window in windows:
        close(**window)
    lines = render_samples(registry_of(collector)).splitlines()
    assert "\n".join(line for line in lines if line.startswith(("window_", "baseline_"))) == snapshot


def test_names_and_shares_are_those_of_window_baseline(clock, snapshot):
    """After a change of baseline, the newest day is of the former one for a day more."""
    later = build_reference(baseline_id="sha256:def", counts=np.ones(4, np.int64))
    watched = build_watched("images", (DAY_MS, later))
    described = {later.baseline_id: build_description("dogs", None, None, None)}
    watched = replace(watched, descriptions=watched.descriptions | described)
    collector = WindowCollector([watched], clock.clock)
    exported = sample_reader(registry_of(collector))
    hour = build_result(number=24, baseline_id="sha256:def", baseline_counts=(1, 1, 1, 1))
    day = build_result(size_ms=DAY_MS, number=0, baseline_id="sha256:abc")
    removed = build_result(baseline_id="sha256:removed")
    for now_ms, windows in ((DAY_MS - 1, (hour, day)), (DAY_MS, (hour, day)), (DAY_MS, (removed,))):
        clock.wall_ms = now_ms
        collector.show(0, take_snapshot(build_shard(*windows), ["images"]))
        assert exported("stream_info", "baseline_cluster_ratio", "window_cluster_ratio") == snapshot


@pytest.mark.parametrize(
    ("render", "parse"), [(generate_latest, parse_plain), (generate_open, parse_open)], ids=["plain", "open"]
)
def test_hostile_names_survive_exposition(clock, render, parse):
    name = 'a "quoted"\nline \\ é'
    watched = replace(build_watched(), descriptions={"sha256:abc": build_description(*HOSTILE_NAMES[:4])})
    collector = WindowCollector([watched], clock.clock)
    result = build_result(segments=(build_segment("", 7, segment=(name, "")),))
    collector.show(0, take_snapshot(build_shard(result), ["images"]))
    families = {family.name: family.samples for family in parse(render(registry_of(collector)).decode())}
    shares = families["driftgauge_window_cluster_ratio"]
    assert [each.labels["name"] for each in shares] == list(HOSTILE_NAMES[:4])
    verdict, *_ = families["driftgauge_window_segment_verdict"]
    labels = {"stream": "images", "window": "1h", "segment": name, "value": "", "verdict": "ok"}
    assert (verdict.labels, verdict.value) == (labels, 1)
