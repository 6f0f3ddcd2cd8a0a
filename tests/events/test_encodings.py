"""All encodings: of a batch near valid records, each is accepted or refused as it is alone."""

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from driftgauge.config.inputs import ENCODINGS
from driftgauge.events.inputs import build_reader
from tests.bench.mutated import TOPIC, AllSchemas, make_cases
from tests.events.both_ways import assert_alike, near
from tests.examples import examples

CASES = make_cases()


def test_cases_have_all_encodings():
    assert {"json" if case.settings is None else case.settings.encoding for case in CASES.values()} == {
        *ENCODINGS
    }


@pytest.mark.parametrize("name", CASES)
@settings(max_examples=examples(150))
@given(data=st.data())
def test_fast_and_exact_accept_and_refuse_alike(name, data):
    case = CASES[name]
    reader = build_reader(TOPIC, {} if case.settings is None else {TOPIC: case.settings}, AllSchemas())
    valid = replace(case.valid, stored_topic=TOPIC, stored_ms=1_762_128_000_000)
    values = st.just(valid.value()) | near(valid.value(), case.from_byte) | st.none()
    raws = data.draw(st.lists(values, min_size=1, max_size=9))
    (first,) = assert_alike(reader, valid)
    assert type(first) is list
    assert first
    assert_alike(reader, *(replace(valid, stored_value=raw) for raw in raws))
