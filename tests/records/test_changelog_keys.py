"""Keys of changelog records."""

import pytest
from hypothesis import given

from driftgauge.core.windows.changelog import (
    PaneKey,
)
from driftgauge.core.windows.window import Window
from driftgauge.errors import StateError
from driftgauge.records.changelog import decode, encode_key
from tests.builders.strategies import SEGMENTS


@given(SEGMENTS)
def test_key_of_segment_is_ascii_and_escapes_slashes(segment):
    raw = encode_key(PaneKey("s", "ab", Window(60_000, 0), segment))
    assert raw.isascii()
    assert raw.count(b"/") == 6
    assert decode(raw, None)[0].segment == segment


@pytest.mark.parametrize("key", [b"", b"secret/1", b"panes/s/ab/0", b"Pane/s/ab/0", b"/", b"\xff\xfe"])
@pytest.mark.parametrize("value", [b"\x02", b"", None])
def test_unknown_kind_is_skipped(key, value):
    assert decode(key, value) is None


@pytest.mark.parametrize(
    "key",
    [
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
        b"segment/s/ab/60000/0",
        b"segment/s/ab/60000/0/country",
        b"segment/s/ab/60000/0/country/de/fr",
        b"segment/s/ab/60000/0/country/d e",
        b"segment/s/ab/60000/0/country/d%",
        b"segment/s/ab/60000/0/country/d%zz",
        b"segment/s/ab/60000/0/country/d%65",
        b"segment/s/ab/60000/0/country/%c3%a4",
        b"segment/s/ab/60000/0/country/%FF",
        b"segment/s/ab/60000/0/%2f/de",
        b"examples/s/ab/60000",
        b"published/s/1d/0",
        b"history/s",
        b"history/s/1h",
        b"history/s/60000/0",
    ],
)
@pytest.mark.parametrize("value", [b"\x01", None])
def test_malformed_key_is_refused_with_its_kind(key, value):
    kind = key.decode("latin-1").split("/")[0]
    with pytest.raises(
        StateError, match=f"^a changelog record of kind {kind} is malformed .*: it is damaged, or another"
    ):
        decode(key, value)
