"""The encoding of the state topic's records; `schemas/state.v1.md` must show the same bytes."""

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from driftgauge.core.state import (
    BaselineKey,
    Counting,
    FinalKey,
    Gap,
    PaneKey,
    Progress,
    ProgressKey,
    Published,
    PublishedKey,
    StreamProgress,
)
from driftgauge.core.window import Window
from driftgauge.errors import StateError
from driftgauge.events.contract import STREAM_NAME
from driftgauge.events.state import decode, encode_key, encode_value
from tests.events.golden import SCHEMAS

LAST = 2**63 - 1
STREAMS = st.from_regex(STREAM_NAME, fullmatch=True)
BASELINES = st.binary(min_size=8, max_size=8).map(bytes.hex)
TIMES = st.integers(-LAST, LAST)
MAYBE = st.none() | TIMES
PLACES = st.integers(0, 10**18 - 1)
PARTITIONS = st.tuples(st.from_regex(r"[a-zA-Z0-9._-]{1,249}", fullmatch=True), st.integers(0, 2**31 - 1))
COUNTS = st.sampled_from([0, 255, 256, 10_000, 2**32, LAST]).flatmap(
    lambda most: arrays.arrays(np.int64, st.integers(0, 70), elements=st.integers(0, most))
)
PUBLISHED = st.builds(
    Published,
    revision=st.integers(0, 2**32 - 1),
    counts=COUNTS,
    baseline_counts=COUNTS,
    baseline_id=st.binary(min_size=32, max_size=32).map(lambda digest: f"sha256:{digest.hex()}"),
    scored=st.booleans(),
    missing=st.lists(PARTITIONS, max_size=3).map(tuple),
    events_lost=st.booleans(),
    published_ms=TIMES,
)
PROGRESS = st.builds(
    Progress,
    st.integers(0, LAST),
    st.dictionaries(
        STREAMS,
        st.builds(
            StreamProgress,
            newest_ms=MAYBE,
            idle_to_ms=MAYBE,
            horizon_ms=MAYBE,
            counting=st.lists(st.builds(Counting, BASELINES, MAYBE), max_size=3).map(tuple),
            gap=st.none() | st.builds(Gap, MAYBE, MAYBE),
        ),
        max_size=4,
    ),
)
RECORDS = st.one_of(
    st.tuples(st.builds(PaneKey, STREAMS, BASELINES, st.builds(Window, PLACES, PLACES)), COUNTS),
    st.tuples(st.builds(PublishedKey, STREAMS, st.builds(Window, PLACES, PLACES)), PUBLISHED),
    st.tuples(st.builds(FinalKey, STREAMS), TIMES),
    st.tuples(st.builds(BaselineKey, BASELINES, PLACES, PLACES), st.binary(max_size=100)),
    st.tuples(st.just(ProgressKey()), PROGRESS),
)

HOUR_MS = 3_600_000
START_MS = 1_762_128_000_000
IDENTITY = "0123456789abcdef" * 4
GOLDEN = {
    "pane": (
        PaneKey("resnet18-fc1", IDENTITY[:16], Window(3_600_000, START_MS)),
        np.array([0, 7, 300], np.int64),
        b"pane/resnet18-fc1/0123456789abcdef/3600000/1762128000000",
        "01  02 03000000 0000 0700 2c01",
    ),
    "published": (
        PublishedKey("resnet18-fc1", Window(HOUR_MS, START_MS)),
        Published(
            revision=2,
            counts=np.array([0, 7, 300], np.int64),
            baseline_counts=np.array([100_000, 1, 0], np.int64),
            baseline_id=f"sha256:{IDENTITY}",
            scored=True,
            missing=(("embeddings", 3),),
            events_lost=False,
            published_ms=START_MS + HOUR_MS,
        ),
        b"published/resnet18-fc1/3600000/1762128000000",
        "01  02000000 80623a479a010000 01 01000000  47 7368613235363a"
        + IDENTITY.encode().hex()
        + "02 03000000 0000 0700 2c01  04 03000000 a0860100 01000000 00000000"
        "0a 656d62656464696e6773 03000000",
    ),
    "final": (FinalKey("resnet18-fc1"), START_MS, b"final/resnet18-fc1", "01  007403479a010000"),
    "baseline": (
        BaselineKey(IDENTITY[:16], 0, 2),
        b"\x98\x02\x00\x00",
        b"baseline/0123456789abcdef/0/2",
        "01  98020000",
    ),
    "progress": (
        ProgressKey(),
        Progress(
            4_711,
            {
                "resnet18-fc1": StreamProgress(
                    newest_ms=START_MS,
                    horizon_ms=START_MS - HOUR_MS,
                    counting=(Counting(IDENTITY[:16]), Counting("fedcba9876543210", START_MS)),
                    gap=Gap(None, START_MS),
                ),
                "clip": StreamProgress(),
            },
        ),
        b"progress",
        "01  6712000000000000 02000000"
        "04 636c6970 0000000000000080 0000000000000080 0000000000000080 00 00"
        "0c 7265736e657431382d666331 007403479a010000 0000000000000080 8085cc469a010000 01 02"
        "0000000000000080 007403479a010000"
        "08 0123456789abcdef 0000000000000080"
        "08 fedcba9876543210 007403479a010000",
    ),
}
RECORD = pytest.mark.parametrize(
    ("key", "value"),
    [(raw, bytes.fromhex(text)) for _, _, raw, text in GOLDEN.values()],
    ids=GOLDEN.keys(),
)


def plain(value):
    """Return what can be compared, arrays as lists, all the way down."""
    if isinstance(value, np.ndarray):
        assert value.dtype == np.int64
        return value.tolist()
    return dataclasses.asdict(value, dict_factory=_plain_fields) if isinstance(value, Published) else value


def _plain_fields(fields):
    return {name: plain(value) for name, value in fields}


@settings(max_examples=500)
@given(RECORDS)
def test_a_record_survives(record):
    key, value = record
    read_key, read_value = decode(encode_key(key), encode_value(value))
    assert read_key == key
    assert type(read_value) is type(value)
    assert plain(read_value) == plain(value)


@settings(max_examples=100)
@given(RECORDS)
def test_a_tombstone_keeps_its_key(record):
    key, _ = record
    assert decode(encode_key(key), None) == (key, None)


@pytest.mark.parametrize(("key", "value", "raw_key", "text"), GOLDEN.values(), ids=GOLDEN.keys())
def test_the_bytes_stay_as_they_are(key, value, raw_key, text):
    assert encode_key(key) == raw_key
    assert encode_value(value).hex() == bytes.fromhex(text).hex()
    read_key, read_value = decode(raw_key, bytes.fromhex(text))
    assert (read_key, plain(read_value)) == (key, plain(value))


@RECORD
def test_the_document_shows_these_bytes(key, value):
    document = (SCHEMAS / "state.v1.md").read_text("utf-8")
    assert f"`{key.decode()}`" in document
    assert value.hex() in "".join(document.split())


def test_the_order_in_which_streams_were_met_does_not_show():
    streams = {"b": StreamProgress(newest_ms=1), "a": StreamProgress(newest_ms=2)}
    turned = dict(reversed(streams.items()))
    assert encode_value(Progress(1, streams)) == encode_value(Progress(1, turned))


@pytest.mark.parametrize(
    ("highest", "size"),
    [(0, 1), (255, 1), (256, 2), (65_535, 2), (65_536, 4), (2**32 - 1, 4), (2**32, 8), (LAST, 8)],
)
def test_counts_take_the_fewest_bytes_that_hold_the_highest(highest, size):
    raw = encode_value(np.array([1, highest], np.int64))
    assert len(raw) == 1 + 1 + 4 + 2 * size
    assert decode(b"pane/s/ab/60000/0", raw)[1].tolist() == [1, highest]


def test_counts_that_were_read_are_one_s_own():
    (_, counts) = decode(b"pane/s/ab/60000/0", encode_value(np.array([1, 2], np.int64)))
    counts += 1
    assert counts.tolist() == [2, 3]


def test_counts_need_not_lie_side_by_side():
    counts = np.arange(6, dtype=np.int64)[::2]
    assert encode_value(counts) == encode_value(counts.copy())


def test_a_negative_count_is_never_written():
    with pytest.raises(ValueError, match="negative"):
        encode_value(np.array([3, -1], np.int64))


@RECORD
@pytest.mark.parametrize("version", [0, 2, 255])
def test_a_later_version_says_what_to_do(key, value, version):
    with pytest.raises(StateError) as caught:
        decode(key, bytes([version]) + value[1:])
    kind = key.decode().split("/")[0]
    assert str(caught.value) == (
        f"the state topic holds a {kind} record of version {version}, of which this version of driftgauge "
        "reads 1: written by a later version of driftgauge; update this one, or use another group.id"
    )


@pytest.mark.parametrize("key", [b"", b"secret/1", b"panes/s/ab/0", b"Pane/s/ab/0", b"/", b"\xff\xfe"])
@pytest.mark.parametrize("value", [b"\x01", b"", None])
def test_an_unknown_kind_says_what_to_do_and_is_not_quoted(key, value):
    with pytest.raises(StateError) as caught:
        decode(key, value)
    assert str(caught.value) == (
        "the state topic holds a record of a kind that this version of driftgauge does not know: written by "
        "a later version of driftgauge; update this one, or use another group.id"
    )


@pytest.mark.parametrize(
    "key",
    [
        b"pane",
        b"pane/s/ab/60000",
        b"pane/s/ab/60000/0/0",
        b"pane/s/ab/60000/00",
        b"pane/s/ab/60000/+1",
        b"pane/s/ab/60000/-1",
        b"pane/s/ab/60000/1_0",
        b"pane/s/ab/60000/0\n",
        b"pane/s/AB/60000/0",
        b"pane//ab/60000/0",
        b"pane/s s/ab/60000/0",
        b"pane/s\xc3\xa4/ab/60000/0",
        b"published/s/1d/0",
        b"final/",
        b"final/s/0",
        b"baseline/ab/0",
        b"progress/",
        b"progress/0",
    ],
)
@pytest.mark.parametrize("value", [b"\x01", None])
def test_a_malformed_key_names_its_kind(key, value):
    kind = key.decode("latin-1").split("/")[0]
    with pytest.raises(StateError) as caught:
        decode(key, value)
    assert str(caught.value) == (
        f"the state topic holds a {kind} record with a malformed key: damaged, or not written by driftgauge; "
        "use another group.id"
    )


@RECORD
def test_a_value_must_be_whole(key, value):
    # Any bytes are part of a baseline's file, which knows by its identity whether it is whole.
    cuts = [0] if key.startswith(b"baseline/") else range(len(value))
    for cut in cuts:
        with pytest.raises(StateError, match=" record with a malformed value: damaged"):
            decode(key, value[:cut])


@RECORD
def test_a_value_must_have_nothing_left_over(key, value):
    if key.startswith(b"baseline/"):
        assert decode(key, value + b"\0")[1] == value[1:] + b"\0"
    else:
        with pytest.raises(StateError, match=" record with a malformed value: damaged"):
            decode(key, value + b"\0")


@pytest.mark.parametrize(
    ("kind", "at", "byte"),
    [
        ("pane", 1, 0),  # no such size of counts
        ("pane", 1, 3),
        ("pane", 5, 255),  # billions of clusters
        ("published", 13, 4),  # an unknown flag
        ("published", 17, 255),  # billions of partitions missing
        ("published", 19, 255),  # a baseline that is not ASCII
        ("progress", 12, 255),  # billions of streams
        ("progress", 14, 255),  # a stream that is not ASCII
        ("progress", 81, 2),  # two gaps
    ],
)
def test_a_value_that_cannot_be_is_malformed(kind, at, byte):
    _, _, key, text = GOLDEN[kind]
    value = bytearray.fromhex(text)
    assert value[at] != byte
    value[at] = byte
    with pytest.raises(StateError, match=f"a {kind} record with a malformed value: damaged"):
        decode(key, bytes(value))


def test_a_stream_cannot_be_there_twice():
    value = encode_value(Progress(1, {"a": StreamProgress(), "b": StreamProgress()}))
    assert value.count(b"\x01b") == 1
    with pytest.raises(StateError, match="a progress record with a malformed value"):
        decode(b"progress", value.replace(b"\x01b", b"\x01a"))


def test_a_negative_count_is_malformed():
    with pytest.raises(StateError, match="a pane record with a malformed value"):
        decode(b"pane/s/ab/60000/0", bytes.fromhex("01 08 01000000 ffffffffffffffff"))


@settings(max_examples=500)
@given(
    st.sampled_from(list(GOLDEN)),
    st.binary(max_size=60) | st.binary(max_size=60).map(lambda rest: b"\x01" + rest),
)
def test_any_bytes_are_read_or_are_a_state_error(kind, raw):
    key = GOLDEN[kind][2]
    try:
        _, value = decode(key, raw)
    except StateError:
        return
    assert plain(decode(key, encode_value(value))[1]) == plain(value)
