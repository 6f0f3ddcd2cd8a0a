"""A change within the vectors of a fit is reported; bursts and cycles are not."""

import re

import numpy as np
import pytest
from numpy.typing import NDArray

from driftgauge.baseline.change import report_change
from driftgauge.baseline.windows import Traffic
from driftgauge.events.timestamps import parse_timestamp
from tests.builders.clocks import DAY_MS, HOUR_MS, MONDAY_MS

CLUSTERS, AN_HOUR = 10, 100


def warnings(shares: NDArray[np.float64]) -> list[str]:
    """Return the warning of hours of events.

    The clusters' upper half has the share that is given for each hour, and the mean moves with that.
    """
    random = np.random.default_rng(len(shares))
    hours = np.repeat(np.arange(len(shares)), AN_HOUR)
    is_upper = random.random(len(hours)) < shares[hours]
    ids = random.integers(CLUSTERS // 2, size=len(hours)) + np.where(is_upper, CLUSTERS // 2, 0)
    traffic = Traffic.of(MONDAY_MS + hours * HOUR_MS, HOUR_MS)
    # As where half of the windows are held out.
    rows = np.flatnonzero(np.isin(hours, random.permutation(len(shares))[::2]))
    lines: list[str] = []
    mean = random.normal(size=(len(rows), 4)) + shares[hours[rows], None]
    report_change(traffic, rows, {"clusters": np.eye(CLUSTERS)[:, ids[rows]], "mean": mean.T}, lines.append)
    return lines


@pytest.mark.parametrize(("days", "day"), [(7, 4), (7, 3), (7, 6)])
def test_step_is_reported_with_its_time(days: int, day: int) -> None:
    (line,) = warnings(np.where(np.arange(24 * days) < 24 * day, 0.4, 0.7))
    part = r"their {} near (\S+) by 0\.[5-7]\d standard deviations"
    changes = f"{part.format('clusters')}, {part.format('mean')}"
    found = re.match(f"warning: the vectors change, {changes}: this is more than bursts or cycles", line)
    assert found is not None
    for start in found.groups():
        assert parse_timestamp(start) == pytest.approx(MONDAY_MS + day * DAY_MS, abs=6 * HOUR_MS)


def test_trend_is_reported() -> None:
    (line,) = warnings(np.linspace(0.3, 0.7, 7 * 24))
    assert line.startswith("warning: the vectors change, their clusters near 2025-11-0")


@pytest.mark.parametrize("period_h", [24, 24 * 7])
def test_cycles_are_not_reported(period_h: int) -> None:
    hours = np.arange(3 * period_h)
    for phase in np.linspace(0, 2 * np.pi, 4):
        assert warnings(0.5 + 0.3 * np.sin(2 * np.pi * hours / period_h + phase)) == []


def test_weekends_are_not_reported() -> None:
    hours = np.arange(14 * 24)
    for first in (0, 2, 5):
        assert warnings(np.where((hours // 24 + first) % 7 < 5, 0.45, 0.75)) == []


def test_bursts_and_chance_are_rarely_reported() -> None:
    random = np.random.default_rng(0)
    bursts = [random.beta(4, 4, size=length) for length in range(100, 160, 8)]
    chance = [np.full(length, 0.5) for length in range(40, 80, 8)]
    assert [warnings(shares) for shares in (*bursts, *chance)] == [[]] * 13


def test_small_change_is_not_reported() -> None:
    assert warnings(np.where(np.arange(14 * 24) < 7 * 24, 0.5, 0.56)) == []


@pytest.mark.parametrize("windows", [1, 2, 7])
def test_few_windows_are_not_reported(windows: int) -> None:
    assert warnings(np.linspace(0.1, 0.9, windows)) == []
