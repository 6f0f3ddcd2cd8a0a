"""Configured streams and the baselines they name."""

import numpy as np
import pytest

from driftgauge.core.assignment import Metric
from driftgauge.core.state import BaselineKey, Change
from driftgauge.core.table import Table
from driftgauge.errors import ConfigError, StateError
from driftgauge.watching import References, build_decoder, load_streams
from tests.events.golden import records
from tests.watched import CLUSTERS, MONDAY_MS, event, save_baseline, settings_in


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
        },
    )
    (watched,) = load_streams(settings)
    spec = watched.spec
    assert spec.name == "images"
    assert spec.reference.baseline_id == watched.baseline.identity == baseline.identity
    np.testing.assert_array_equal(spec.reference.centroids.values, np.eye(CLUSTERS))
    assert spec.reference.counts.tolist() == [40, 30, 20, 10]
    assert spec.sizes_ms == (3_600_000, 86_400_000)
    assert (spec.disorder_ms, spec.lateness_ms, spec.idle_ms) == (60_000, 120_000, 180_000)
    assert (spec.incomplete_ms, spec.min_events) == (240_000, 5)


def test_without_a_least_number_of_events_five_a_cluster_are_asked(tmp_path):
    save_baseline(tmp_path)
    (watched,) = load_streams(settings_in(tmp_path, {"min_events": None}))
    assert watched.spec.min_events == 5 * CLUSTERS


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
        f"- streams.{name}.baseline" for name in ("missing", "broken", "texts")
    ]
    assert "absent.safetensors: cannot read the baseline: No such file" in lines[0]
    assert "broken.safetensors: not a" in lines[1]
    assert "was fitted for stream images; fit one with --stream texts" in lines[2]


def test_the_decoder_holds_each_stream_to_its_own_baseline(tmp_path):
    save_baseline(tmp_path, "images", model_version="v1")
    save_baseline(tmp_path, "texts", metric=Metric.COSINE)
    streams = load_streams(settings_in(tmp_path, {}, {"name": "texts", "baseline": "texts.safetensors"}))
    decoded = build_decoder(streams).decode(
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


def test_a_configured_baseline_is_found_without_the_table(tmp_path):
    save_baseline(tmp_path)
    (watched,) = load_streams(settings_in(tmp_path))
    assert References(Table()).find(watched.spec, watched.spec.reference.key) is watched.spec.reference


def keep(table, key, content):
    table.apply(Change(("embeddings", 0), BaselineKey(key, 0, 1), content))


def test_the_file_of_a_baseline_that_only_others_were_given_is_found_in_the_table(tmp_path):
    save_baseline(tmp_path)
    (mine,) = load_streams(settings_in(tmp_path))
    save_baseline(tmp_path, metric=Metric.COSINE, model_version="v2")
    (theirs,) = load_streams(settings_in(tmp_path))
    wanted = theirs.spec.reference
    table = Table()
    references = References(table)
    assert references.find(mine.spec, wanted.key) is None
    keep(table, wanted.key, wanted.content)
    found = references.find(mine.spec, wanted.key)
    assert found.baseline_id == wanted.baseline_id
    assert found.content == wanted.content
    assert found.centroids.metric is Metric.COSINE
    np.testing.assert_array_equal(found.centroids.values, wanted.centroids.values)
    np.testing.assert_array_equal(found.counts, wanted.counts)
    assert references.find(mine.spec, wanted.key) is found


def test_what_is_kept_and_is_no_baseline_is_refused_with_the_remedy(tmp_path):
    save_baseline(tmp_path)
    (watched,) = load_streams(settings_in(tmp_path))
    table = Table()
    keep(table, "0123456789abcdef", b"not a baseline")
    with pytest.raises(StateError, match=r"baseline 0123456789abcdef that cannot be used .*; delete the"):
        References(table).find(watched.spec, "0123456789abcdef")
