"""Configured streams and the baselines they name."""

import re
from contextlib import nullcontext
from dataclasses import replace

import numpy as np
import pytest

from driftgauge.baseline.artifact import ClusterDescription
from driftgauge.core.counting.assignment import DistanceMetric
from driftgauge.core.statistics.overdispersion import Overdispersion
from driftgauge.errors import ConfigError
from driftgauge.records.descriptions import BaselineExamples
from driftgauge.streams import build_decoder, describe_baselines, load_streams, watch
from tests.builders.baselines import SEGMENTS, save_baseline
from tests.builders.clocks import HOUR_MS, MONDAY_MS
from tests.builders.configs import settings_in
from tests.builders.events import build_event, build_records
from tests.builders.references import CLUSTERS, build_reference
from tests.builders.results import CONFIDENCE, plain, tally_number


def schedule(first, second, start="2025-11-03T00:00:00Z"):
    return [{"file": f"{first}.safetensors"}, {"file": f"{second}.safetensors", "from": start}]


def load_one(folder, **stream):
    (configured,) = load_streams(settings_in(folder, stream))
    return configured


CHOSEN = {
    "windows": ["1d", "1h"],
    "allowed_disorder": "1m",
    "allowed_lateness": "2m",
    "idle_timeout": "3m",
    "incomplete_after": "4m",
    "give_up_after": "5m",
    "smallest_drift": {"js_divergence": 0.02, "mean_shift": 0.1},
    "warm_up": {"from": "2025-11-03T00:00:00Z", "until": "2025-11-04T00:00:00Z"},
    "segments": ["country"],
}


@pytest.mark.parametrize(
    "settings",
    [
        pytest.param(CHOSEN, id="chosen"),
        pytest.param({"min_events": None}, id="defaults"),
        # The baseline with the most clusters decides how many events a window needs.
        pytest.param({"baselines": schedule("small", "images"), "min_events": None}, id="two baselines"),
    ],
)
def test_spec_has_settings(tmp_path, settings, snapshot):
    save_baseline(tmp_path, segments=SEGMENTS)
    save_baseline(tmp_path, file="small.safetensors", clusters=2)
    assert plain(replace(load_one(tmp_path, **settings).spec, baselines=())) == snapshot


def test_reference_is_that_of_baseline(tmp_path):
    overdispersion = Overdispersion(30, 2.5, np.diag([3.0, 1.5]))
    baseline = save_baseline(tmp_path, segments=SEGMENTS, overdispersion=overdispersion)
    (scheduled,) = load_one(tmp_path, segments=["country"]).spec.baselines
    reference = scheduled.reference
    assert (scheduled.from_ms, reference.baseline_id) == (None, baseline.identity)
    np.testing.assert_array_equal(reference.centroids.values, np.eye(CLUSTERS))
    assert reference.counts.tolist() == [40, 30, 20, 10]
    assert reference.radii.tolist() == pytest.approx([0.3] * CLUSTERS)
    for name in ("mean", "components", "variances"):
        np.testing.assert_array_equal(getattr(reference.projection, name), getattr(baseline, name))
    assert [segment.value for segment in reference.segments] == ["de", "other"]
    known = reference.overdispersion
    assert (known.windows, known.counts, known.means.tolist()) == (30, 2.5, [[3.0, 0.0], [0.0, 1.5]])
    assert reference.overdispersion_ms == HOUR_MS


YEAR_HOURS = 365.25 * 24


@pytest.mark.parametrize(
    ("budget", "streams", "windows_a_year"),
    [
        (1, [["1h"]], YEAR_HOURS),
        (4, [["1h"]], YEAR_HOURS),
        (1, [["1h", "1d"]], YEAR_HOURS + 365.25),
        (1, [["1h", "1d"], ["5m"], ["1h"]], 2 * YEAR_HOURS + 365.25 + 12 * YEAR_HOURS),
        # A level never exceeds one per cent.
        (50, [["7d"]], 5_000),
    ],
)
def test_alarm_budget_is_shared_by_windows_of_all_streams(tmp_path, budget, streams, windows_a_year):
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


@pytest.mark.parametrize(
    ("number", "fault"),
    [
        ({"range": [0, 1]}, None),
        ({"range": [0, 1], "alert_change": 0.1}, None),
        (
            {"range": [0, 2]},
            "has confidence from 0 to 1, and the stream from 0 to 2; fit it again with --number",
        ),
        ({"range": [-1, 1]}, "fit it again with --number confidence=-1:1"),
    ],
)
def test_baseline_of_another_range_of_a_number_is_refused(tmp_path, number, fault):
    save_baseline(tmp_path, numbers={"confidence": tally_number(CONFIDENCE, *([[0.9]] * 4))})
    refused = nullcontext() if fault is None else pytest.raises(ConfigError, match=re.escape(fault))
    with refused:
        load_one(tmp_path, numbers={"confidence": number})
    # Whose mean is not known, nothing is compared with.
    missing = {"score": {"range": [0, 1], "alert_change": 0.1}}
    with pytest.raises(ConfigError, match=r"does not know score, of which alert_change needs"):
        load_one(tmp_path, numbers=missing)


def of(name, *files, segments=()):
    starts = [{}, {"from": "2025-11-03T00:00:00Z"}, {"from": "2025-11-04T00:00:00Z"}]
    listed = [{"file": f"{file}.safetensors", **start} for file, start in zip(files, starts, strict=False)]
    return {"name": name, "baselines": listed, "segments": list(segments)}


def test_unusable_baselines_of_all_streams_are_reported(tmp_path):
    save_baseline(tmp_path, segments=SEGMENTS)
    save_baseline(tmp_path, file="second.safetensors")
    save_baseline(tmp_path, "texts")
    (tmp_path / "broken.safetensors").write_bytes(b"not a baseline")
    no_segments = "has no segments by {}; fit one with --segment {}=VALUE"
    expected = [
        (of("missing", "absent"), ["absent.safetensors does not exist; fit it"]),
        (of("broken", "broken"), ["broken.safetensors: not a complete safetensors file"]),
        (of("sounds", "images"), ["was fitted for stream images; fit one with --stream sounds"]),
        # Each baseline of a schedule is checked.
        (
            of("images", "images", "second", "texts", segments=["country", "device", "app"]),
            [
                f"images.safetensors {no_segments.format('app, device', 'app')}",
                f"second.safetensors {no_segments.format('app, country, device', 'app')}",
                "texts.safetensors was fitted for stream texts",
            ],
        ),
        (
            of("texts", "texts", segments=["country"]),
            [f"texts.safetensors {no_segments.format('country', 'country')}"],
        ),
    ]
    with pytest.raises(ConfigError) as caught:
        load_streams(settings_in(tmp_path, *(stream for stream, _ in expected)))
    heading, *lines = str(caught.value).splitlines()
    assert heading == "baselines cannot be used; correct:"
    parts = [(f"  - streams.{stream['name']}: ", part) for stream, parts in expected for part in parts]
    for line, (start, part) in zip(lines, parts, strict=True):
        assert line.startswith(start)
        assert part in line
    assert lines[-1].endswith("or leave them out of the stream's segments")


def test_streams_that_match_share_a_baseline_of_one_and_the_budget(tmp_path):
    save_baseline(tmp_path, "clip-a")
    shared = {"name": None, "match": "clip-*", "most": 3, "baseline": "clip-a.safetensors", "windows": ["1h"]}
    inputs = {"embeddings": {"stream": {"constant": "clip-c"}, "timestamp": "at", "embedding": "v"}}
    (configured,) = load_streams(settings_in(tmp_path, shared, inputs=inputs))
    assert configured.spec.alarm.level == pytest.approx(1 / (3 * YEAR_HOURS), rel=1e-12)
    with pytest.raises(ConfigError, match=r"streams.text-\*: .* fit one with --stream and a name that text-"):
        load_streams(settings_in(tmp_path, {**shared, "match": "text-*"}))


def test_decoder_checks_each_stream_by_its_baseline(tmp_path):
    save_baseline(tmp_path, "images", model_version="v1")
    save_baseline(tmp_path, "texts", metric=DistanceMetric.COSINE)
    streams = load_streams(settings_in(tmp_path, {}, {"name": "texts", "baseline": "texts.safetensors"}))
    decoded = build_decoder(streams, 0, 1_000_000, {}).decode(
        build_records(
            [
                build_event(MONDAY_MS, 0, model_version="v1"),
                build_event(MONDAY_MS, 0, model_version="v2"),
                build_event(MONDAY_MS, 0, stream="texts", model_version="v2"),
                build_event(MONDAY_MS, 0, stream="texts", embedding=[0, 0, 0, 0]),
                build_event(MONDAY_MS, 0, model_version="v1", embedding=[0, 0, 0, 0]),
                build_event(MONDAY_MS, 0, stream="sounds"),
            ]
        )
    )
    assert {batch.stream: batch.row.tolist() for batch in decoded.batches} == {"images": [0, 4], "texts": [2]}
    assert [(rejection.row, rejection.reason) for rejection in decoded.rejections] == [
        (1, "wrong_model"),
        (3, "zero_vector"),
        (5, "unknown_stream"),
    ]


def test_decoder_checks_by_baseline_in_force_and_allowed_lead(tmp_path):
    first = save_baseline(tmp_path, model_version="v1")
    second = save_baseline(tmp_path, file="second.safetensors", model_version="v2")
    (configured,) = load_streams(settings_in(tmp_path, {"baselines": schedule("images", "second")}))
    decoded = build_decoder([configured], 1_000, 1_000_000, {}).decode(
        build_records(
            [
                build_event(MONDAY_MS - 1, 0, model_version="v1"),
                build_event(MONDAY_MS, 0, model_version="v1"),
                build_event(MONDAY_MS, 0, model_version="v2"),
                build_event(MONDAY_MS + 1_001, 0, model_version="v2"),
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


def test_descriptions_are_those_of_every_listed_baseline(tmp_path):
    named = tuple(ClusterDescription(name=name, example_ids=("a",)) for name in "abcd")
    first = save_baseline(tmp_path, file="first.safetensors", descriptions=named, created_ms=MONDAY_MS)
    second = save_baseline(tmp_path, file="second.safetensors", reference=build_reference("second", count=50))
    settings = settings_in(tmp_path, {"baselines": schedule("first", "second")})
    streams = load_streams(settings)
    descriptions = describe_baselines(streams)
    assert descriptions.keys() == {first.identity, second.identity}
    described = descriptions[first.identity]
    assert (described.names, described.created_ms) == (tuple("abcd"), MONDAY_MS)
    assert described.examples == (BaselineExamples(("a",)),) * 4
    assert described.positions == tuple((round(x, 4), round(y, 4)) for x, y in first.positions.tolist())
    assert descriptions[second.identity].names == (None,) * 4
    assert watch(streams[0]).descriptions == descriptions


@pytest.mark.parametrize(("snippet_bytes", "texts"), [(0, ()), (64, ("a text",))])
def test_texts_of_a_baseline_are_described_if_the_stream_keeps_texts(tmp_path, snippet_bytes, texts):
    held = ClusterDescription(example_ids=("a",), example_texts=("a text",))
    save_baseline(tmp_path, descriptions=(held,) * 4, farthest=held)
    streams = load_streams(settings_in(tmp_path, {"snippet_bytes": snippet_bytes}))
    (described,) = describe_baselines(streams).values()
    assert {*described.examples, described.farthest} == {BaselineExamples(("a",), texts)}
