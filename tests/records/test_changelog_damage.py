"""Changelog records that are damaged or of another version are refused."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from driftgauge.core.windows.changelog import BLOCK, SourceBlock, StreamStatus
from driftgauge.core.windows.findings import Findings
from driftgauge.core.windows.result import SlowDrift, VerdictMemory
from driftgauge.errors import StateError
from driftgauge.records.changelog import decode, encode_value
from tests.builders.changelog_records import GOLDEN, HISTORY, RECORD
from tests.builders.results import build_result, build_score
from tests.builders.strategies import MUTATIONS, mutate
from tests.examples import examples

MALFORMED = r" is malformed \(.*\): it is damaged, or another program wrote it; keep "


@RECORD
@pytest.mark.parametrize(
    ("version", "remedy"),
    [
        (3, "an earlier driftgauge wrote it; stop all replicas, delete both internal topics"),
        (5, "a later driftgauge wrote it; update this replica"),
        (255, "a later driftgauge wrote it; update this replica"),
    ],
)
def test_other_version_is_refused_with_remedy(key, value, version, remedy):
    with pytest.raises(StateError) as caught:
        decode(key, bytes([version]) + value[1:])
    assert str(caught.value).startswith(
        f"the changelog record {key.decode()} has format version {version}, and this driftgauge reads "
        f"version 4: {remedy}"
    )


@RECORD
def test_truncated_or_extended_value_is_malformed(key, value):
    for raw in (*(value[:cut] for cut in range(len(value))), value + b"\0"):
        with pytest.raises(StateError, match=MALFORMED):
            decode(key, raw)


@settings(max_examples=examples(1_000))
@given(st.sampled_from(list(GOLDEN)), MUTATIONS)
def test_mutated_record_decodes_or_raises_state_error(kind, mutations):
    _, value, key = GOLDEN[kind]
    raw = mutate(encode_value(value), mutations)
    try:
        _, read = decode(key, raw)
    except StateError:
        return
    written = encode_value(read)
    assert encode_value(decode(key, written)[1]) == written


def history(**changes):
    clean = HISTORY.clean
    return replace(HISTORY, clean=replace(clean, windows=replace(clean.windows, **changes)))


def tallied(*values):
    return replace(HISTORY, clean=replace(HISTORY.clean, values=np.array(values)))


def result(**changes):
    return replace(build_result(), **changes)


NAN = float("nan")
UNEQUAL = (0, np.ones(1, np.int64)), (1, np.ones(2, np.int64)), (2, np.ones((1, 2), np.int64))


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        ("pane", np.zeros((2, 2), np.int64)),
        ("pane", np.array([2**64 - 1], np.uint64)),
        ("time", np.zeros((2, 3), np.int64)),
        ("time", np.zeros(2, np.int64)),
        ("time", np.zeros((BLOCK + 1, 2), np.int64)),
        ("sources", SourceBlock("", (), 3, np.zeros((2, 3), np.int64))),
        ("sources", SourceBlock("", (), 2**31, np.zeros((2, 4), np.int64))),
        ("position", replace(GOLDEN["position"][1], offset=-1)),
        ("stream", StreamStatus(late={60_000: -1})),
        ("stream", StreamStatus(revised={60_000: -1})),
        ("published", result(counts=np.zeros(4, np.int64))),
        ("published", result(counts=np.array([-1, 20, 30, 40]))),
        ("published", result(counts=np.ones((2, 2), np.int64))),
        ("published", result(baseline_counts=np.zeros(4, np.int64))),
        ("published", result(baseline_counts=np.array([-1, 20, 30, 40]))),
        ("published", result(baseline_counts=np.array([1, 2, 3]))),
        ("published", result(score=build_score((10, 20), (1, 2)))),
        ("published", result(score=replace(build_score((10, 20, 30, 40)), findings=Findings()))),
        ("published", result(memory=VerdictMemory(slow_drift=SlowDrift(NAN)))),
        ("history", replace(HISTORY, memory=VerdictMemory(slow_drift=SlowDrift(NAN)))),
        ("published", result(memory=VerdictMemory(slow_drift=SlowDrift(5.0)))),
        ("history", replace(HISTORY, memory=VerdictMemory(slow_drift=SlowDrift(5.0, 0, UNEQUAL)))),
        ("history", replace(HISTORY, memory=VerdictMemory(slow_drift=SlowDrift(5.0, 0, UNEQUAL[2:])))),
        (
            "history",
            replace(HISTORY, segments={("country", "de"): history(products=np.eye(3)).clean}),
        ),
        ("history", history(windows=-1)),
        ("history", history(squares=np.array([1.0, -1.0]))),
        ("history", history(squares=np.array([1.0, NAN]))),
        ("history", history(squares=np.zeros(3))),
        ("history", history(windows=0)),
        ("history", tallied(700)),
        ("history", tallied(0, 0)),
        ("history", tallied(701, -1)),
        ("history", history(products=np.ones((2, 3)))),
        ("history", history(products=np.array([[1.0, 2.0], [3.0, 4.0]]))),
        ("history", history(products=np.diag([1.0, -1.0]))),
        ("history", history(products=np.diag([1.0, NAN]))),
        ("history", history(products=np.diag([1.0, 1e101]))),
        ("history", history(others={"spread": np.zeros(3)})),
        ("history", history(others={"spread": np.array([0.0, -1.0])})),
        ("history", history(others={"spread": np.array([0.0, NAN])})),
    ],
)
def test_value_with_unusable_number_is_malformed(kind, value):
    with pytest.raises(StateError, match=f"{kind}/?.*" + MALFORMED):
        decode(GOLDEN[kind][2], encode_value(value))


@pytest.mark.parametrize("kind", GOLDEN)
@pytest.mark.parametrize(
    "claim", [b"\xdd\xff\xff\xff\xff", b"\xdf\xff\xff\xff\xff", b"\xc6\xff\xff\xff\xff", b"\x91" * 10_000]
)
def test_claimed_length_or_depth_is_malformed(kind, claim):
    """Nothing is allocated for four billion items that are not there."""
    with pytest.raises(StateError, match=MALFORMED):
        decode(GOLDEN[kind][2], b"\x04" + claim)
