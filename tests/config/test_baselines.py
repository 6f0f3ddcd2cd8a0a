"""The baseline schedule of a stream."""

import pytest
import yaml

from tests.builders.configs import FIRST, with_stream


def with_baselines(*baselines, windows=("1h",)):
    tree = yaml.safe_load(with_stream(windows=list(windows), baselines=list(baselines)))
    del tree["streams"][0]["baseline"]
    return yaml.safe_dump(tree)


NOON = "2025-11-03T12:00:00Z"


@pytest.mark.parametrize(
    ("baselines", "part"),
    [
        ([], ".baselines: must name at least one"),
        ([{}], ".baselines.0.file: Field required"),
        (["a.safetensors"], ".baselines.0: must be a mapping"),
        ([{**FIRST, "from": 3}], ".baselines.0.from: 3 is no time with an offset"),
        ([{**FIRST, "from_ms": 3}], ".baselines.0.from_ms: Extra inputs are not permitted"),
        (
            [{**FIRST, "from": NOON}],
            ": the first of baselines is in force from the beginning; leave out its from",
        ),
        ([FIRST, FIRST], ": baselines.1 has no from; give the event time from which it is in force"),
        (
            [FIRST, {**FIRST, "from": NOON}, {**FIRST, "from": NOON}],
            ": baselines.2: its from must be later than that of the baseline before it",
        ),
        (
            [FIRST, {**FIRST, "from": NOON}, {**FIRST, "from": "2025-11-03T11:00:00Z"}],
            ": baselines.2: its from must be later than that of the baseline before it",
        ),
    ],
)
def test_invalid_schedule_is_refused(problems, baselines, part):
    assert f"streams.0{part}" in problems(with_baselines(*baselines))


@pytest.mark.parametrize(
    ("windows", "start", "following"),
    [
        (["1h"], "2025-11-03T12:00:01Z", "2025-11-03T13:00:00+00:00"),
        (["1h", "1d"], NOON, "2025-11-04T00:00:00+00:00"),
        (["1d", "7d"], "2025-11-03T00:00:00Z", "2025-11-06T00:00:00+00:00"),  # weeks begin on Thursdays
        (["10m", "15m"], "2025-11-03T00:15:00Z", "2025-11-03T00:30:00+00:00"),
    ],
)
def test_baseline_that_begins_within_window_is_refused(problems, load, windows, start, following):
    message = problems(with_baselines(FIRST, {**FIRST, "from": start}, windows=windows))
    assert "streams.0: baselines.1: windows of all sizes" in message
    assert f"the next such time is {following}" in message
    (stream,) = load(with_baselines(FIRST, {**FIRST, "from": following}, windows=windows)).streams
    assert stream.baselines[1].from_ms is not None


def test_next_start_beyond_calendar_is_not_named(problems):
    windows = ["3657d", "3654d", "3651d"]
    message = problems(with_baselines(FIRST, {**FIRST, "from": NOON}, windows=windows))
    assert "windows of all sizes (3651d, 3654d, 3657d) must start at its from, " in message
    assert "the next" not in message


def test_baseline_together_with_baselines_is_refused(problems):
    message = problems(with_stream(baselines=[FIRST]))
    assert "streams.0: baseline is the short form of baselines; give one of them" in message
