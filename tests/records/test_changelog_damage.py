"""Changelog records that are damaged or of another version are refused."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from driftgauge.core.windows.changelog import PaneCounts
from driftgauge.errors import StateError
from driftgauge.records.changelog_records import decode, encode_value
from tests.builders.changelog_records import GOLDEN, RECORD
from tests.builders.strategies import MUTATIONS, mutate
from tests.examples import examples

MALFORMED = r" is malformed \(.*\): it is damaged, or another program wrote it; keep "


@RECORD
@pytest.mark.parametrize(
    ("version", "remedy"),
    [
        (6, "an earlier driftgauge wrote it; stop all replicas, delete both internal topics"),
        (8, "a later driftgauge wrote it; update this replica"),
        (255, "a later driftgauge wrote it; update this replica"),
    ],
)
def test_other_version_is_refused_with_remedy(key, value, version, remedy):
    with pytest.raises(StateError) as caught:
        decode(key, bytes([version]) + value[1:])
    assert str(caught.value).startswith(
        f"the changelog record {key.decode()} has format version {version}, and this driftgauge reads "
        f"version 7: {remedy}"
    )


@RECORD
def test_truncated_or_extended_value_is_malformed(key, value):
    for raw in (*(value[:cut] for cut in range(len(value))), value + b"\0"):
        with pytest.raises(StateError, match=MALFORMED):
            decode(key, raw)


@settings(max_examples=examples(80))
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


@pytest.mark.parametrize("array", [np.array([2**64 - 1], np.uint64), np.array([0.5]), np.array(["1"])])
def test_array_of_other_numbers_is_malformed(array):
    with pytest.raises(StateError, match=MALFORMED):
        decode(GOLDEN["pane"][2], encode_value(PaneCounts(array)))


@pytest.mark.parametrize("shape", [(0,), (1,), (5,), (7,), (2, 6), (6, 2)])
def test_tally_of_another_length_than_its_known_scheme_is_malformed(shape):
    pane, _, key = GOLDEN["pane"]
    value = encode_value(PaneCounts(np.zeros(shape, np.int64)))
    assert len(shape) > 1 or decode(key, value)[0] == pane
    with pytest.raises(StateError, match=MALFORMED):
        decode(key, value, {pane.scheme: 6})


def test_number_that_would_size_an_array_is_malformed():
    _, block, key = GOLDEN["sources"]
    with pytest.raises(StateError, match=MALFORMED):
        decode(key, encode_value(replace(block, partitions=2**40)))


@pytest.mark.parametrize("kind", GOLDEN)
@pytest.mark.parametrize(
    "claim", [b"\xdd\xff\xff\xff\xff", b"\xdf\xff\xff\xff\xff", b"\xc6\xff\xff\xff\xff", b"\x91" * 10_000]
)
def test_claimed_length_or_depth_is_malformed(kind, claim):
    """Nothing is allocated for four billion items that are not there."""
    with pytest.raises(StateError, match=MALFORMED):
        decode(GOLDEN[kind][2], b"\x07\x92\x90" + claim)
