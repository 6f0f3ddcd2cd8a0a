"""Keys of changelog records."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given

from driftgauge.core.windows.changelog import PaneKey
from driftgauge.core.windows.window import Window
from driftgauge.errors import StateError
from driftgauge.records.changelog import decode, encode_key, encode_value
from tests.builders.changelog_records import GOLDEN
from tests.builders.strategies import SEGMENTS

NESTED = "sentence-transformers/all-MiniLM-L6-v2:latest@abc"
TALLY = encode_value(np.zeros(1, np.int64))


@given(SEGMENTS)
def test_key_of_segment_is_ascii_and_escapes_slashes(segment):
    raw = encode_key(PaneKey("s", "ab", Window(60_000, 0), segment))
    assert raw.isascii()
    assert raw.count(b"/") == 6
    assert decode(raw, TALLY)[0].segment == segment


@pytest.mark.parametrize(
    ("key", "value"), [(key, value) for key, value, _ in GOLDEN.values() if hasattr(key, "stream")]
)
def test_key_escapes_name_of_stream(key, value):
    nested = replace(key, stream=NESTED)
    raw = encode_key(nested)
    assert raw.count(b"/") == encode_key(key).count(b"/")
    assert decode(raw, encode_value(value))[0] == nested


@pytest.mark.parametrize(
    "key",
    [
        b"",
        b"secret/1",
        b"panes/s/ab/0",
        b"Pane/s/ab/60000/0",
        b"\xff\xfe",
        b"position/",
        b"position/0",
        b"sources/embeddings",
        b"sources/embeddings/01",
        b"sources/em beddings/1",
        b"sources//1",
        b"stream/",
        b"stream/s/0",
        b"time/s/embeddings",
        b"time/s/embeddings/-1",
        b"time/s/embeddings/1/2",
        b"pane",
        b"pane/s/ab/60000",
        b"pane/s/ab/60000/0/0",
        b"pane/s/ab/60000/00",
        b"pane/s/ab/60000/+1",
        b"pane/s/ab/60000/-1",
        b"pane/s/ab/60000/1_0",
        b"pane/s/ab/60000/0\n",
        b"pane/s//60000/0",
        b"pane//ab/60000/0",
        b"pane/s s/ab/60000/0",
        b"pane/s\xc3\xa4/ab/60000/0",
        b"pane/s/ab/60000/0/country",
        b"pane/s/ab/60000/0/country/de/fr",
        b"pane/s/ab/60000/0/country/d e",
        b"pane/s/ab/60000/0/country/d%",
        b"pane/s/ab/60000/0/country/d%zz",
        b"pane/s/ab/60000/0/country/d%65",
        b"pane/s/ab/60000/0/country/%c3%a4",
        b"pane/s/ab/60000/0/country/%FF",
        b"pane/s/ab/60000/0/%2f/de",
        b"examples/s/ab/60000",
        b"published/s/1d/0",
        b"history/s",
        b"history/s/1h",
        b"history/s/60000/0",
    ],
)
def test_malformed_key_is_refused(key):
    with pytest.raises(
        StateError, match=r"(?s)^the changelog record .* is malformed .*: it is damaged, or another"
    ):
        decode(key, TALLY)


def test_kind_of_later_version_is_refused_as_such():
    with pytest.raises(StateError, match="a later driftgauge wrote it; update this replica"):
        decode(b"totals/s", b"\x03")


def test_block_that_no_topic_has_is_refused():
    with pytest.raises(StateError, match="block"):
        decode(b"time/s/embeddings/16384", encode_value(np.zeros((1, 2), np.int64)))
