"""Records that are damaged or of another version are refused."""

from dataclasses import replace
from functools import partial

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from driftgauge.core.windows.changelog import PaneCounts
from driftgauge.errors import StateError
from driftgauge.records.changelog_records import decode, encode_value
from driftgauge.records.heartbeat import decode_heartbeat, encode_heartbeat
from driftgauge.records.partials import decode_part
from tests.builders.changelog_records import GOLDEN
from tests.builders.heartbeats import HEARTBEAT
from tests.builders.partial_records import RECORD, SCHEME, build_pane, build_progress, encode_parts
from tests.builders.strategies import MUTATIONS, mutate
from tests.examples import examples

MALFORMED = r" is malformed \(.*\): it is damaged, or another program wrote it; keep "
# Each kind of record: how its value is read, the value, and how messages name it.
RECORDS = {
    "partial": (decode_part, RECORD, "a record of the partials"),
    "heartbeat": (decode_heartbeat, *encode_heartbeat(HEARTBEAT), "a heartbeat"),
    **{
        kind: (partial(decode, key), encode_value(value), f"the changelog record {key.decode()}")
        for kind, (_, value, key) in GOLDEN.items()
    },
}
EACH = pytest.mark.parametrize(("read", "value", "name"), RECORDS.values(), ids=RECORDS.keys())


@EACH
@pytest.mark.parametrize(
    ("version", "remedy"),
    [
        (6, "an earlier driftgauge wrote it; stop all replicas, delete both internal topics"),
        (8, "a later driftgauge wrote it; update this replica"),
        (255, "a later driftgauge wrote it; update this replica"),
    ],
)
def test_other_version_is_refused_with_remedy(read, value, name, version, remedy):
    with pytest.raises(StateError) as caught:
        read(bytes([version]) + value[1:])
    assert str(caught.value).startswith(
        f"{name} has format version {version}, and this driftgauge reads version 7: {remedy}"
    )


@EACH
def test_truncated_or_extended_value_is_malformed(read, value, name):
    for raw in (*(value[:cut] for cut in range(len(value))), value + b"\0"):
        with pytest.raises(StateError, match=MALFORMED) as caught:
            read(raw)
        assert str(caught.value).startswith(name)


@EACH
@pytest.mark.parametrize(
    "claim", [b"\xdd\xff\xff\xff\xff", b"\xdf\xff\xff\xff\xff", b"\xc6\xff\xff\xff\xff", b"\x91" * 10_000]
)
def test_claimed_length_or_depth_is_malformed(read, value, name, claim):
    """Nothing is allocated for four billion items that are not there."""
    with pytest.raises(StateError, match=MALFORMED):
        read(value[:3] + claim)


@settings(max_examples=examples(80))
@given(st.sampled_from(list(GOLDEN)), MUTATIONS)
def test_mutated_changelog_record_decodes_or_raises_state_error(kind, mutations):
    _, value, key = GOLDEN[kind]
    try:
        _, read = decode(key, mutate(encode_value(value), mutations))
    except StateError:
        return
    written = encode_value(read)
    assert encode_value(decode(key, written)[1]) == written


@settings(max_examples=examples(80))
@given(MUTATIONS)
def test_mutated_partial_decodes_or_raises_state_error(mutations):
    try:
        part = decode_part(mutate(RECORD, mutations))
    except StateError:
        return
    assert all(len(pane.values) == pane.scheme.length for pane in part.panes)


@pytest.mark.parametrize(
    ("kind", "content"),
    [
        *(
            ("pane", PaneCounts(array))
            for array in (np.array([2**64 - 1], np.uint64), np.array([0.5]), np.array(["1"]))
        ),
        # A number that would size an array.
        ("sources", replace(GOLDEN["sources"][1], partitions=2**40)),
    ],
)
def test_changelog_record_that_would_harm_shard_is_malformed(kind, content):
    with pytest.raises(StateError, match=MALFORMED):
        decode(GOLDEN[kind][2], encode_value(content))


@pytest.mark.parametrize("shape", [(0,), (1,), (5,), (7,), (2, 6), (6, 2)])
def test_tally_of_another_length_than_its_known_scheme_is_malformed(shape):
    pane, _, key = GOLDEN["pane"]
    value = encode_value(PaneCounts(np.zeros(shape, np.int64)))
    assert len(shape) > 1 or decode(key, value)[0] == pane
    with pytest.raises(StateError, match=MALFORMED):
        decode(key, value, {pane.scheme: 6})


@pytest.mark.parametrize(
    "content",
    [
        ([build_pane(values=(1, 2, 3, 4))],),
        ([build_pane(scheme=replace(SCHEME, pane_ms=0))],),
        ([build_pane(values=(1, 2, 3, 4, 5, 6))],),
        ([replace(build_pane(), values=np.full(5, 1.5))],),
        ([replace(build_pane(), values=np.full(5, "1"))],),
        ((), [build_progress(-1)]),
        ((), [build_progress(2**31)]),
        ((), [build_progress(partitions=2**31)]),
    ],
)
def test_part_that_would_harm_shard_is_malformed(content):
    (record,) = encode_parts(*content)
    with pytest.raises(StateError, match=MALFORMED):
        decode_part(record)
