"""The fold over the windows before agrees with the service's, and with nothing else."""

from collections.abc import Iterator
from copy import deepcopy
from typing import Any

import pytest

from tests.chaos.history import check_verdicts
from tests.chaos.results import Result
from tests.kafka.parts import SPEC, Owner, event

# The segments take half of it.
LEVEL = SPEC.alarm.level / 2


def mixed(second: int, mix: tuple[int, ...], start: int = 0) -> list[bytes]:
    """Events of one second, so many of each cluster."""
    clusters = [cluster for cluster, number in enumerate(mix) for _ in range(number)]
    return [event(1_000 * second + start + i, cluster) for i, cluster in enumerate(clusters)]


QUIET, MOVED, ODD, MORE = (80, 60, 40, 20), (20, 60, 40, 80), (60, 60, 45, 35), (0, 0, 0, 60)
EMPTY = (0, 0, 0, 0)


def published(owner: Owner) -> list[Result]:
    """What was published, written in the order in which it was committed."""
    return [
        Result(f"{window['stream']}/{window['window']}/{window['start']}", window, number)
        for number, window in enumerate(owner.windows)
    ]


def settle(owner: Owner) -> None:
    for _ in range(5):
        owner.commit()


@pytest.fixture(scope="module")
def results() -> list[Result]:
    """Quiet and moved windows, one corrected after those behind it have closed, under several owners."""
    owner = Owner()
    mixes = [
        QUIET,
        MOVED,
        QUIET,
        MOVED,
        EMPTY,
        MOVED,
        QUIET,
        MOVED,
        EMPTY,
        EMPTY,
        MOVED,
        QUIET,
        ODD,
        ODD,
        ODD,
        ODD,
        ODD,
        ODD,
        QUIET,
    ]
    for second, mix in enumerate(mixes):
        owner.read(*mixed(second, mix))
        settle(owner)
        owner.read(*mixed(second - 2, MORE, start=500) if second in {3, 9} else [])
        settle(owner)
        if second % 3 == 2:
            owner = Owner(log=owner.log, clock=owner.clock)
    return published(owner)


def verdicts(results: list[Result]) -> set[str]:
    return {result.document["verdict"] for result in results}


def test_what_the_service_says_is_what_it_must(results: list[Result]) -> None:
    check = check_verdicts(results, LEVEL)
    assert check.passed, check.mismatches
    assert check.checked == 2 * len(results)
    assert verdicts(results) == {"warning", "drift", "insufficient"}
    assert {result.revision for result in results} >= {0, 1}


def wrong(results: list[Result]) -> Iterator[list[Result]]:
    """The results with one thing changed in one of them."""
    for place, result in enumerate(results):
        for name, value in (
            ("verdict", "drift" if result.document["verdict"] != "drift" else "ok"),
            ("slow_drift", {**result.document["slow_drift"], "statistic": 0.123}),
        ):
            document: dict[str, Any] = {**deepcopy(result.document), name: value}
            yield [*results[:place], Result(result.name, document, place), *results[place + 1 :]]


def test_whatever_it_says_otherwise_is_noticed(results: list[Result]) -> None:
    for changed in wrong(results):
        assert not check_verdicts(changed, LEVEL).passed


def test_a_window_that_was_forgotten_is_noticed(results: list[Result]) -> None:
    seconds = [result for result in results if result.key[1] == "1s"]
    without_the_first_drift = [
        result for result in seconds if not result.document["start"].endswith(("01Z", "02Z"))
    ]
    assert not check_verdicts(without_the_first_drift, LEVEL).passed


def test_an_incomplete_window_concludes_nothing(results: list[Result]) -> None:
    document = {**results[0].document, "incomplete": [{"topic": "t", "partition": 0}]}
    assert not check_verdicts([Result("", document)], LEVEL).passed
    document |= {"verdict": "incomplete", "slow_drift": None}
    assert check_verdicts([Result("", document)], LEVEL).passed
