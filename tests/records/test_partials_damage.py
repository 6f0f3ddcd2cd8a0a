"""Partials that are damaged or of another version are refused."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings

from driftgauge.errors import StateError
from driftgauge.records.partials import decode_part
from tests.builders.partial_records import RECORD, SCHEME, build_pane, build_progress, encode_parts
from tests.builders.strategies import MUTATIONS, mutate
from tests.examples import examples

MALFORMED = r"^a record of the partials is malformed \("


@pytest.mark.parametrize(
    ("version", "remedy"),
    [
        (6, "an earlier driftgauge wrote it; stop all replicas, delete both internal topics"),
        (8, "a later driftgauge wrote it; update this replica"),
    ],
)
def test_other_version_is_refused_with_remedy(version, remedy):
    with pytest.raises(StateError) as caught:
        decode_part(bytes([version]) + RECORD[1:])
    assert str(caught.value).startswith(
        f"a record of the partials has format version {version}, and this driftgauge reads version 7: "
        f"{remedy}"
    )


def test_truncated_or_extended_record_is_malformed():
    for record in (*(RECORD[:cut] for cut in range(len(RECORD))), RECORD + b"\0"):
        with pytest.raises(StateError, match=MALFORMED):
            decode_part(record)


@settings(max_examples=examples(80))
@given(MUTATIONS)
def test_mutated_record_decodes_or_raises_state_error(mutations):
    try:
        part = decode_part(mutate(RECORD, mutations))
    except StateError:
        return
    assert all(len(pane.values) == pane.scheme.length for pane in part.panes)


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
