"""A new statistic is one module and one line of the registry: a toy is seen wherever the others are."""

from dataclasses import replace

import numpy as np
import orjson
import pytest

from driftgauge import api
from driftgauge.baseline.artifact import parse, serialize
from driftgauge.baseline.quality import notes
from driftgauge.cli.printing import render
from driftgauge.core.judging.verdict import Verdict
from driftgauge.core.statistics import registry
from driftgauge.events.records import StoredRecord
from driftgauge.recorded.planning import PlanRequest, describe, make_plan, resolve_reference
from driftgauge.records.changelog_records import decode, encode_value
from driftgauge.records.window_results import result_record
from driftgauge.report.document import render_report
from driftgauge.statistic_words import WORDS
from driftgauge.telemetry.snapshot import take_snapshot
from driftgauge.telemetry.window_collector import WindowCollector
from tests.builders.baselines import fit
from tests.builders.changelog_records import GOLDEN
from tests.builders.clocks import MONDAY_MS, ManualClock
from tests.builders.page import MadeResults, get, serving
from tests.builders.reports import report_on
from tests.builders.results import build_result, hour_window, plain
from tests.builders.telemetry import build_shard, build_watched, read_samples, registry_of
from tests.core.statistics.toy import TOY, TOY_WORDS

VECTORS = np.random.default_rng(0).standard_normal((4_000, 8))
# All signs of the first number are positive, at the same distances from the mean.
FLIPPED = np.abs(VECTORS[:500]).astype(np.float32)


@pytest.fixture
def registered(monkeypatch):
    monkeypatch.setattr(registry, "STATISTICS", (*registry.STATISTICS, TOY))
    monkeypatch.setitem(WORDS, TOY.name, TOY_WORDS)


@pytest.fixture
def result(registered):
    """A window scored against a baseline that was fitted, saved and loaded with the toy."""
    score = api.score_vectors(parse(serialize(fit(VECTORS))), FLIPPED)
    score = replace(score, kind="sign")
    counts = np.full(len(score.divergence.contributions), 100)
    window = hour_window(490_000)
    return build_result(counts, window, score=score, verdict=Verdict.DRIFT, baseline_counts=counts)


def test_it_is_scored_and_stored(result):
    findings = result.score.findings
    assert findings.of(TOY).share == 1
    assert result.score.detectable["toy"] == pytest.approx(4 / 500**0.5)
    assert 0 < result.score.evidence["sign"] < 1 == pytest.approx(sum(result.score.evidence.values()))
    assert plain(decode(GOLDEN["published"][2], encode_value(result))[1]) == plain(result)


def test_it_is_in_record_page_report_and_metrics(result):
    value = result_record(result, None)
    record, score = orjson.loads(value), result.score
    assert record["findings"]["toy"] == {
        "kind": "sign",
        "value": 1,
        "excess": score.findings["toy"].excess,
        "p_value": pytest.approx(0, abs=1e-99),
        "numbers": {"toy_ratio": 1},
    }
    assert record["evidence"]["sign"] == score.evidence["sign"]
    results = MadeResults()
    results.made.values.append(value)
    results.receive(StoredRecord(value, stored_ms=MONDAY_MS))
    with serving(results) as server:
        page, (_, whole) = (
            get(server, "/?stream=images")[1],
            get(server, "/api/v1/window?stream=images&at=2100-01-01T00:00:00Z"),
        )
    report = render_report(report_on(results))
    assert orjson.loads(whole)["findings"] == record["findings"]
    for document in (page, report):
        assert "<dt>Toy share</dt><dd>100 %" in document
        assert f"Sign: {TOY_WORDS.sentence}" in document
    assert TOY_WORDS.advice in report
    watched = build_watched()
    alarm = replace(watched.spec.alarm, smallest={**watched.spec.alarm.smallest, "toy": 0.1})
    spec = replace(watched.spec, alarm=alarm)
    collector = WindowCollector([replace(watched, spec=spec, descriptions={})], ManualClock().clock)
    collector.show(0, take_snapshot(build_shard(result), ["images"]))
    samples = read_samples(registry_of(collector))
    assert samples["window_evidence_ratio"]["sign images 1h"] == score.evidence["sign"]
    assert samples["window_detectable_ratio"]["sign images 1h"] == pytest.approx(40 / 500**0.5)


def test_it_is_planned(registered):
    # More events than the others need.
    smallest = {each.name: each.smallest for each in registry.STATISTICS} | {"toy": 0.004}
    request = PlanRequest(10_000, smallest, 1, 1, daily_cycle=False)
    plan = make_plan(request, resolve_reference(fit(VECTORS)))
    week = plan.windows[5]
    assert (week.count, week.least["toy"]) == (1_680_000, pytest.approx(4 / 1_680_000**0.5))
    assert week.least_count == 1_000_000
    assert "Toy share" in render(describe(plan))


def test_baseline_from_before_is_not_tested_for_it_and_says_so(monkeypatch):
    before = fit(VECTORS)
    score = api.score_vectors(before, FLIPPED)
    monkeypatch.setattr(registry, "STATISTICS", (*registry.STATISTICS, TOY))
    loaded = parse(serialize(before))
    assert (loaded.identity, loaded.untested, before.untested) == (before.identity, ("toy",), ("toy",))
    assert [note for note in notes(loaded) if "without what toy need" in note]
    again = api.score_vectors(loaded, FLIPPED)
    assert plain(again.findings) == plain(score.findings)
    assert (again.p_value, again.detectable) == (score.p_value, score.detectable)
