"""A closed window as the record that is published: the golden window results, from counts to JSON."""

import json

import numpy as np
import pytest

from driftgauge.core.result import WindowResult
from driftgauge.core.state import Published
from driftgauge.core.window import Window
from driftgauge.events.results import result_key, result_record
from tests.events.golden import WINDOW_RESULTS, name

DAY_MS = 86_400_000
MONDAY_MS = 1_762_128_000_000  # 2025-11-03T00:00:00Z
BASELINE = "sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"


def build_result(window, counts, **changes):
    fields = {
        "revision": 0,
        "counts": np.array(counts, dtype=np.int64),
        "baseline_counts": np.array([500, 500], dtype=np.int64),
        "baseline_id": BASELINE,
        "scored": True,
        "missing": (),
        "events_lost": False,
        "published_ms": MONDAY_MS + 2 * DAY_MS,
    }
    return WindowResult.of("resnet18-fc1", window, Published(**{**fields, **changes}))


RESULTS = {
    "scored": build_result(Window(DAY_MS, MONDAY_MS), (553, 447)),
    "too-few-events": build_result(Window(500, MONDAY_MS + 500), (1, 0), revision=2, scored=False),
    "incomplete-and-events-lost": build_result(
        Window(DAY_MS, MONDAY_MS),
        (0, 204),
        revision=1,
        missing=(("backfill", 0), ("embeddings", 11)),
        events_lost=True,
    ),
}


def read(text):
    """The record, to twelve digits: another processor may round a logarithm the other way."""
    return json.loads(text, parse_float=lambda number: round(float(number), 12))


def test_every_golden_window_result_is_made_here():
    assert {name(path) for path in WINDOW_RESULTS} == set(RESULTS)


@pytest.mark.parametrize("path", WINDOW_RESULTS, ids=name)
def test_a_result_becomes_the_golden_record(path):
    record = read(result_record(RESULTS[name(path)]))
    golden = read(path.read_bytes())
    assert record == golden
    assert list(record) == list(golden), "in the contract's order"


def test_every_revision_of_a_window_has_the_same_key():
    window = Window(DAY_MS, MONDAY_MS)
    keys = {result_key(build_result(window, (5 + n, 5), revision=n)) for n in range(3)}
    assert keys == {b"resnet18-fc1/1d/2025-11-03T00:00:00Z"}
    assert result_key(RESULTS["too-few-events"]) == b"resnet18-fc1/500ms/2025-11-03T00:00:00.500Z"
