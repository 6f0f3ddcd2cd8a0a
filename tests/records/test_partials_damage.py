"""Partials that are damaged or of another version are refused."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings

from driftgauge.core.counting.partial import StreamTime
from driftgauge.errors import StateError
from driftgauge.records.partials import decode_part
from tests.builders.partial_records import PART, RECORD, SCHEME, build_pane, build_progress, encode_parts
from tests.builders.strategies import MUTATIONS, mutate
from tests.examples import examples

MALFORMED = r"^a record of the partials is malformed \("


@pytest.mark.parametrize(
    ("version", "remedy"),
    [
        (5, "an earlier driftgauge wrote it; stop all replicas, delete both internal topics"),
        (7, "a later driftgauge wrote it; update this replica"),
    ],
)
def test_other_version_is_refused_with_remedy(version, remedy):
    with pytest.raises(StateError) as caught:
        decode_part(bytes([version]) + RECORD[1:])
    assert str(caught.value).startswith(
        f"a record of the partials has format version {version}, and this driftgauge reads version 6: "
        f"{remedy}"
    )


def test_truncated_or_extended_record_is_malformed():
    for record in (*(RECORD[:cut] for cut in range(len(RECORD))), RECORD + b"\0"):
        with pytest.raises(StateError, match=MALFORMED):
            decode_part(record)


@settings(max_examples=examples(1_000))
@given(MUTATIONS)
def test_mutated_record_decodes_or_raises_state_error(mutations):
    try:
        part = decode_part(mutate(RECORD, mutations))
    except StateError:
        return
    assert part.index < part.parts
    assert all(len(pane.values) == pane.scheme.length for pane in part.panes)


@pytest.mark.parametrize(
    "content",
    [
        ([build_pane(values=(1, 2, 3, 4))],),
        ([build_pane(values=(1, 2, 3, 4, 5, 6))],),
        ([build_pane(stream="a,b")],),
        ([build_pane(scheme=replace(SCHEME, pane_ms=0))],),
        ([replace(build_pane(), events=-1)],),
        ([replace(build_pane(), values=np.full(5, 1.5))],),
        ([replace(build_pane(), values=np.full(5, "1"))],),
        ([build_pane(scheme=replace(SCHEME, baseline="a/b"))],),
        ([replace(build_pane(), start_ms=-61)],),
        ((), [build_progress(streams={"a": StreamTime(2**61, 0, 0)})]),
        ((), [build_progress(-1)]),
        ((), [build_progress(2**31)]),
        ((), [build_progress(partitions=2**31)]),
        ((), [build_progress(start=-1)]),
        ((), [build_progress(end=2**63)]),
        ((), [build_progress(lost=-1)]),
        ((), [build_progress(since_ms=2**63)]),
        ((), [build_progress(caught_up_ms=2**63)]),
        ((), [build_progress(streams={"a b": PART.partitions[0].streams["resnet18-fc1"]})]),
    ],
)
def test_part_with_unusable_number_or_name_is_malformed(content):
    (record,) = encode_parts(*content)
    with pytest.raises(StateError, match=MALFORMED):
        decode_part(record)


@pytest.mark.parametrize("index", [-1, 1])
def test_index_beyond_parts_is_malformed(index):
    at = RECORD.index(b"\xa5index") + len(b"\xa5index")
    with pytest.raises(StateError, match=MALFORMED):
        decode_part(RECORD[:at] + index.to_bytes(1, signed=True) + RECORD[at + 1 :])
