"""All encodings: of a batch near valid records, each is accepted or refused as it is alone."""

import re
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from driftgauge.config.inputs import ENCODINGS
from driftgauge.events.mapped_readers import build_reader
from tests.bench.mutated import TOPIC, AllSchemas, make_cases
from tests.events.both_ways import assert_alike, near
from tests.examples import examples

CASES = make_cases()
# In the place of a number of a text.
ODDITIES = [*b'[2] [[2]] [] {} true null "2" 1e400 1e39 18446744073709551616 -0 2,[3] 2,3'.split()]


# Behind a record: a space, and of Protobuf a number of `numbers` that is not packed, and some that are cut.
SURPLUS = [b" ", b"\x25\0\0\x80?", b"\x22\3abc"]


@st.composite
def with_oddity(draw, raw):
    """Draw bytes of which a number in digits has become something else."""
    numbers = [*re.finditer(rb"-?[0-9]+([.][0-9]+)?", raw)]
    found = draw(st.sampled_from(numbers)) if numbers else None
    return (
        raw if found is None else raw[: found.start()] + draw(st.sampled_from(ODDITIES)) + raw[found.end() :]
    )


def test_cases_have_all_encodings():
    assert {"json" if case.settings is None else case.settings.encoding for case in CASES.values()} == {
        *ENCODINGS
    }


@pytest.mark.parametrize("name", CASES)
@settings(max_examples=examples(80))
@given(data=st.data())
def test_fast_and_exact_accept_and_refuse_alike(name, data):
    case = CASES[name]
    reader = build_reader(TOPIC, {} if case.settings is None else {TOPIC: case.settings}, AllSchemas())
    valid = replace(case.valid, stored_topic=TOPIC, stored_ms=1_762_128_000_000)
    raw = valid.value()
    longer = st.sampled_from(SURPLUS).map(lambda surplus: raw + surplus)
    values = st.just(raw) | near(raw, case.from_byte) | with_oddity(raw) | longer | st.none()
    raws = data.draw(st.lists(values, min_size=1, max_size=9))
    (first,) = assert_alike(reader, valid)
    assert type(first) is list
    assert first
    assert_alike(reader, *(replace(valid, stored_value=raw) for raw in raws))
