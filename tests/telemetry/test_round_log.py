"""Tests of `driftgauge.telemetry.round_log`."""

import logging

import pytest

from driftgauge.core.windows.deltas import LateEvents
from driftgauge.core.windows.shard import RoundResult
from driftgauge.telemetry.round_log import log_round
from tests.builders.clocks import DAY_MS, HOUR_MS
from tests.builders.results import build_result
from tests.builders.telemetry import EVENTS

LATE = LateEvents("images", DAY_MS, 5, ((EVENTS, 1), 40))


@pytest.fixture
def records(caplog):
    caplog.set_level(logging.INFO, logger="driftgauge")
    return lambda: caplog.records


def test_closed_and_revised_windows_are_logged_with_result(records):
    missing = ((EVENTS, 12), (EVENTS, 1))
    revised = build_result((1, 0, 0, 0), revision=1, missing=missing, events_lost=True, counted_twice=True)
    log_round(0, RoundResult([build_result(), revised]))
    first, second = records()
    assert (first.getMessage(), second.getMessage()) == ("window closed", "window revised")
    assert (first.stream, first.window, first.start_ms, first.end_ms) == (
        "images",
        "1h",
        HOUR_MS,
        2 * HOUR_MS,
    )
    assert (first.events, first.js_divergence) == (100, build_result().score.js_divergence)
    assert (first.verdict, first.noise_floor, first.p_value) == ("ok", 0.0011, 0.23)
    assert (first.missing, first.events_lost, first.counted_twice) == ([], False, False)
    assert (second.revision, second.js_divergence, second.noise_floor) == (1, None, None)
    assert (second.verdict, second.p_value) == ("insufficient", None)
    assert (second.missing, second.events_lost) == (["embeddings[1]", "embeddings[12]"], True)
    assert second.counted_twice


def test_incomplete_window_is_logged_with_reason(records):
    log_round(0, RoundResult([build_result(incomplete_reason="counted_otherwise")]))
    assert records()[0].incomplete_reason == "counted_otherwise"


def test_late_events_are_logged_with_first_offset(records):
    log_round(0, RoundResult([], [LATE]))
    (late,) = records()
    assert (late.levelname, late.stream, late.window, late.events) == ("WARNING", "images", "1d", 5)
    assert late.first == "embeddings[1]@40"


def test_broken_chain_is_logged_as_error_with_shard(records):
    log_round(3, RoundResult([], [], ["embeddings[1]: gap at the progress from offset 7 to 9"]))
    (broken,) = records()
    assert (broken.levelname, broken.shard) == ("ERROR", 3)
    assert broken.found == "embeddings[1]: gap at the progress from offset 7 to 9"


def test_empty_round_logs_nothing(records):
    log_round(0, RoundResult())
    assert records() == []
