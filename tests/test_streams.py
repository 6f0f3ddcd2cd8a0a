"""Configured streams and the baselines they name."""

import numpy as np
import pytest

from driftgauge.core.counting.assignment import DistanceMetric
from driftgauge.core.statistics.overdispersion import Overdispersion
from driftgauge.errors import ConfigError
from driftgauge.streams import build_decoder, load_streams
from tests.events.golden import records
from tests.watched import CLUSTERS, DAY_MS, HOUR_MS, MONDAY_MS, SEGMENTS, event, save_baseline, settings_in


def schedule(first, second, start="2025-11-03T00:00:00Z"):
    return [{"file": f"{first}.safetensors"}, {"file": f"{second}.safetensors", "from": start}]


def test_a_stream_is_told_its_settings_and_its_baseline(tmp_path):
    baseline = save_baseline(tmp_path)
    settings = settings_in(
        tmp_path,
        {
            "windows": ["1d", "1h"],
            "allowed_disorder": "1m",
            "allowed_lateness": "2m",
            "idle_timeout": "3m",
            "incomplete_after": "4m",
            "give_up_after": "5m",
        },
    )
    (configured,) = load_streams(settings)
    spec = configured.spec
    assert spec.name == "images"
    (scheduled,) = spec.baselines
    reference = scheduled.reference
    assert scheduled.from_ms is None
    assert reference.baseline_id == configured.baselines[0].identity == baseline.identity
    np.testing.assert_array_equal(reference.centroids.values, np.eye(CLUSTERS))
    assert reference.counts.tolist() == [40, 30, 20, 10]
    assert spec.sizes_ms == (3_600_000, 86_400_000)
    assert (spec.disorder_ms, spec.lateness_ms, spec.idle_ms) == (60_000, 120_000, 180_000)
    assert (spec.incomplete_ms, spec.give_up_ms, spec.min_events) == (240_000, 300_000, 5)
    assert reference.radii.tolist() == pytest.approx([0.2] * CLUSTERS)
    np.testing.assert_array_equal(reference.projection.mean, baseline.mean)
    np.testing.assert_array_equal(reference.projection.components, baseline.components)
    np.testing.assert_array_equal(reference.projection.variances, baseline.variances)


def test_a_stream_is_told_what_drift_is(tmp_path):
    save_baseline(tmp_path, segments=SEGMENTS)
    settings = settings_in(
        tmp_path,
        {
            "smallest_drift": {"js_divergence": 0.02, "mean_shift": 0.1},
            "warm_up": {"from": "2025-11-03T00:00:00Z", "until": "2025-11-04T00:00:00Z"},
            "segments": ["country"],
        },
    )
    (configured,) = load_streams(settings)
    alarm = configured.spec.alarm
    assert (alarm.js_divergence, alarm.mean_shift) == (0.02, 0.1)
    assert alarm.warm_up == (MONDAY_MS, MONDAY_MS + DAY_MS)
    assert alarm.segment_keys == ("country",)
    assert [segment.value for segment in configured.spec.baselines[0].reference.segments] == ["de", "other"]


def test_a_stream_is_not_told_apart_unless_it_is_asked_for(tmp_path):
    save_baseline(tmp_path, segments=SEGMENTS)
    (configured,) = load_streams(settings_in(tmp_path))
    assert configured.spec.alarm.segment_keys == ()
    assert configured.spec.alarm.warm_up is None


def test_what_the_baseline_knows_of_related_events_is_passed_on(tmp_path):
    save_baseline(tmp_path)
    (configured,) = load_streams(settings_in(tmp_path))
    assert configured.spec.baselines[0].reference.overdispersion is None
    assert configured.spec.baselines[0].reference.overdispersion_ms is None
    save_baseline(tmp_path, overdispersion=Overdispersion(30, 2.5, np.diag([3.0, 1.5])))
    (configured,) = load_streams(settings_in(tmp_path))
    known = configured.spec.baselines[0].reference.overdispersion
    assert (known.windows, known.counts, known.means.tolist()) == (30, 2.5, [[3.0, 0.0], [0.0, 1.5]])
    assert configured.spec.baselines[0].reference.overdispersion_ms == HOUR_MS


YEAR_HOURS = 365.25 * 24


@pytest.mark.parametrize(
    ("budget", "streams", "windows_a_year"),
    [
        (1, [["1h"]], YEAR_HOURS),
        (4, [["1h"]], YEAR_HOURS),
        (1, [["1h", "1d"]], YEAR_HOURS + 365.25),
        (1, [["1h", "1d"], ["5m"], ["1h"]], 2 * YEAR_HOURS + 365.25 + 12 * YEAR_HOURS),
    ],
)
def test_the_budget_is_spent_over_the_windows_of_all_streams_and_sizes(
    tmp_path, budget, streams, windows_a_year
):
    names = ["images", "texts", "sounds"][: len(streams)]
    for name in names:
        save_baseline(tmp_path, name)
    configured = load_streams(
        settings_in(
            tmp_path,
            *(
                {"name": name, "baseline": f"{name}.safetensors", "windows": sizes}
                for name, sizes in zip(names, streams, strict=True)
            ),
            alarms={"false_pages_per_year": budget},
        )
    )
    levels = [each.spec.alarm.level for each in configured]
    assert levels == pytest.approx([budget / windows_a_year] * len(streams), rel=1e-12)


def test_few_windows_and_a_generous_budget_make_no_window_drift_by_chance_of_more_than_one_in_a_hundred(
    tmp_path,
):
    save_baseline(tmp_path)
    (configured,) = load_streams(
        settings_in(tmp_path, {"windows": ["7d"]}, alarms={"false_pages_per_year": 50})
    )
    assert configured.spec.alarm.level == 0.01


def test_segments_that_the_baseline_does_not_know_are_refused_with_the_remedy(tmp_path):
    save_baseline(tmp_path, segments=SEGMENTS)
    save_baseline(tmp_path, "texts")
    settings = settings_in(
        tmp_path,
        {"segments": ["country", "device", "app"]},
        {"name": "texts", "baseline": "texts.safetensors", "segments": ["country"]},
    )
    with pytest.raises(ConfigError) as caught:
        load_streams(settings)
    _, first, second = str(caught.value).splitlines()
    assert "streams.images: " in first
    assert "images.safetensors knows no segments by app, device; fit one with --segment app=VALUE" in first
    assert first.endswith("or leave them out of the stream's segments")
    assert "texts.safetensors knows no segments by country; fit one with --segment country=VALUE" in second


def test_without_a_least_number_of_events_five_a_cluster_are_asked(tmp_path):
    save_baseline(tmp_path)
    (configured,) = load_streams(settings_in(tmp_path, {"min_events": None}))
    assert configured.spec.min_events == 5 * CLUSTERS


def test_min_events_follows_the_baseline_with_the_most_clusters(tmp_path):
    save_baseline(tmp_path)
    save_baseline(tmp_path, file="small.safetensors", clusters=2)
    (configured,) = load_streams(
        settings_in(tmp_path, {"baselines": schedule("small", "images"), "min_events": None})
    )
    assert configured.spec.min_events == 5 * CLUSTERS


def test_every_listed_baseline_is_loaded_in_its_order(tmp_path):
    first = save_baseline(tmp_path)
    second = save_baseline(tmp_path, file="second.safetensors", clusters=3)
    (configured,) = load_streams(settings_in(tmp_path, {"baselines": schedule("images", "second")}))
    assert [baseline.identity for baseline in configured.baselines] == [first.identity, second.identity]
    assert [
        (scheduled.reference.baseline_id, scheduled.from_ms) for scheduled in configured.spec.baselines
    ] == [(first.identity, None), (second.identity, MONDAY_MS)]


def test_every_listed_baseline_that_cannot_be_used_is_reported(tmp_path):
    save_baseline(tmp_path, "texts")
    (tmp_path / "broken.safetensors").write_bytes(b"not a baseline")
    settings = settings_in(tmp_path, {"baselines": schedule("texts", "broken"), "segments": ["country"]})
    with pytest.raises(ConfigError) as caught:
        load_streams(settings)
    _, first, second = str(caught.value).splitlines()
    assert "texts.safetensors was fitted for stream texts" in first
    assert "broken.safetensors: not a baseline" in second


def test_segments_must_be_known_to_every_listed_baseline(tmp_path):
    save_baseline(tmp_path, segments=SEGMENTS)
    save_baseline(tmp_path, file="second.safetensors")
    settings = settings_in(tmp_path, {"baselines": schedule("images", "second"), "segments": ["country"]})
    with pytest.raises(ConfigError, match=r"second\.safetensors knows no segments by country"):
        load_streams(settings)


def test_every_baseline_that_cannot_be_used_is_reported_at_once(tmp_path):
    save_baseline(tmp_path)
    (tmp_path / "broken.safetensors").write_bytes(b"not a baseline")
    settings = settings_in(
        tmp_path,
        {},
        {"name": "missing", "baseline": "absent.safetensors"},
        {"name": "broken", "baseline": "broken.safetensors"},
        {"name": "texts", "baseline": "images.safetensors"},
    )
    with pytest.raises(ConfigError) as caught:
        load_streams(settings)
    heading, *lines = str(caught.value).splitlines()
    assert heading == "baselines cannot be used:"
    assert [line.split(":")[0].strip() for line in lines] == [
        f"- streams.{name}" for name in ("missing", "broken", "texts")
    ]
    assert "absent.safetensors: cannot read the baseline: No such file" in lines[0]
    assert "broken.safetensors: not a" in lines[1]
    assert "was fitted for stream images; fit one with --stream texts" in lines[2]


def test_the_decoder_holds_each_stream_to_its_own_baseline(tmp_path):
    save_baseline(tmp_path, "images", model_version="v1")
    save_baseline(tmp_path, "texts", metric=DistanceMetric.COSINE)
    streams = load_streams(settings_in(tmp_path, {}, {"name": "texts", "baseline": "texts.safetensors"}))
    decoded = build_decoder(streams, 0).decode(
        records(
            [
                event(MONDAY_MS, 0, model_version="v1"),
                event(MONDAY_MS, 0, model_version="v2"),
                event(MONDAY_MS, 0, stream="texts", model_version="v2"),
                event(MONDAY_MS, 0, stream="texts", embedding=[0, 0, 0, 0]),
                event(MONDAY_MS, 0, model_version="v1", embedding=[0, 0, 0, 0]),
                event(MONDAY_MS, 0, stream="sounds"),
            ]
        )
    )
    assert {batch.stream: batch.row.tolist() for batch in decoded.batches} == {"images": [0, 4], "texts": [2]}
    assert [(rejection.row, rejection.reason) for rejection in decoded.rejections] == [
        (1, "wrong_model"),
        (3, "zero_vector"),
        (5, "unknown_stream"),
    ]


def test_the_decoder_goes_by_the_baseline_in_force_and_by_the_allowed_lead(tmp_path):
    first = save_baseline(tmp_path, model_version="v1")
    second = save_baseline(tmp_path, file="second.safetensors", model_version="v2")
    (configured,) = load_streams(settings_in(tmp_path, {"baselines": schedule("images", "second")}))
    decoded = build_decoder([configured], 1_000).decode(
        records(
            [
                event(MONDAY_MS - 1, 0, model_version="v1"),
                event(MONDAY_MS, 0, model_version="v1"),
                event(MONDAY_MS, 0, model_version="v2"),
                event(MONDAY_MS + 1_001, 0, model_version="v2"),
            ],
            MONDAY_MS,
        )
    )
    keys = [scheduled.reference.key for scheduled in configured.spec.baselines]
    assert [first.identity[7:23], second.identity[7:23]] == keys
    assert {batch.baseline: batch.row.tolist() for batch in decoded.batches} == {keys[0]: [0], keys[1]: [2]}
    assert [(rejection.row, rejection.reason) for rejection in decoded.rejections] == [
        (1, "wrong_model"),
        (3, "future"),
    ]
