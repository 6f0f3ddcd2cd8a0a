"""Patterns: which are learned, kept and compared."""

import pytest

from driftgauge.config.inputs import InputSettings
from driftgauge.events import patterns
from driftgauge.events.mapped import MappedReader
from driftgauge.events.patterns import compile_patterns
from tests.events.both_ways import NOON_MS, SCHEDULES, VECTOR, outcome, read_both, stored

MAPPING = {"encoding": "avro", "stream": "stream", "embedding": "v", "timestamp": "at"}


class Pieces:
    """Values of an encoding of this test: pieces `name=text`, of which a text's length is the layout."""

    def __init__(self):
        self.decoded = 0

    def __call__(self, record):
        self.decoded += 1
        pieces = dict(piece.split(b"=", 1) for piece in record.value().split(b";"))
        numbers = {name: int(pieces[name]) for name in (b"at",) if name in pieces}
        return {name.decode(): text for name, text in (pieces | numbers).items()}

    def learn(self, layout):
        convert = {"text": bytes.decode, "vector": None, "time": int}
        for piece in layout.raw.split(b";"):
            name, _, text = piece.partition(b"=")
            layout.take(len(name) + 1)
            if name == b"ascii":
                layout.add_text(len(text), ("ascii",))
            else:
                layout.add(len(text), (name.decode(),), convert)
            layout.take(1)


def pieces(**fields):
    values = {"stream": "clicks", "v": VECTOR, "at": NOON_MS} | fields
    return b";".join(
        b"%b=%b" % (name.encode(), text if isinstance(text, bytes) else str(text).encode())
        for name, text in values.items()
    )


def reader(**mapping):
    deserialize = Pieces()
    settings = InputSettings.model_validate(MAPPING | mapping)
    return MappedReader(settings, deserialize, deserialize.learn), deserialize


def read(reader, *values):
    """Read a poll of events, which must all be accepted."""
    outcomes = list(reader([stored(raw) for raw in values], SCHEDULES))
    assert all(isinstance(each, tuple) for each in outcomes)


def test_value_of_a_known_layout_is_not_decoded():
    reads, deserialize = reader()
    read(reads, *[pieces(at=NOON_MS + i) for i in range(10)])
    assert deserialize.decoded == 1


def test_field_may_hold_a_line_end():
    assert read_both(MAPPING, Pieces(), [pieces(), pieces(v=b"\n" * 8)]) == [False, True]


def test_value_with_more_at_its_end_matches_no_pattern():
    assert read_both(MAPPING, Pieces(), [pieces(), pieces() + b"7"]) == [False, False]


@pytest.mark.parametrize(
    "time",
    [
        {"header": "at", "unit": "s"},
        {"constant": "1762171200", "unit": "s"},
        {"constant": "1762171200000000", "unit": "us"},
        {"record": "timestamp"},
    ],
)
def test_time_beside_the_value_keeps_its_unit(time):
    mapping = MAPPING | {"timestamp": time, "stream": {"record": "key"}}
    assert read_both(mapping, Pieces(), [pieces()] * 2) == [False, True]
    reads, _ = reader(timestamp=time)
    assert [each[1] for _ in range(2) for each in outcome(reads, pieces())] == [NOON_MS] * 2


def test_optional_fields_may_be_missing():
    mapping = MAPPING | {"event_id": "id", "model_version": "m", "segments": {"part": "p", "other": "o"}}
    raws = [pieces(), pieces(p="de"), pieces(p="de", id="e"), pieces(p="de", id="e", m="v2")]
    assert read_both(mapping, Pieces(), [each for raw in raws for each in (raw, raw)]) == [False, True] * 4


def test_condition_holds_for_values_with_the_same_field():
    mapping = MAPPING | {"where": [{"path": "op", "in": ["c", "u"]}]}
    raws = [pieces(op="c"), pieces(op="c", at=NOON_MS + 1), pieces(op="d"), pieces(op="u"), pieces(op="c")]
    assert read_both(mapping, Pieces(), raws) == [False, True, False, False, True]


def test_condition_on_a_field_that_the_walk_does_not_pass_has_no_pattern():
    reads, _ = reader(where=[{"path": "op", "in": ["c"]}])
    reads._patterns.learn(stored(pieces()))
    assert reads._patterns._patterns == []


def test_text_that_is_not_utf8_is_left_to_the_library():
    assert read_both(MAPPING, Pieces(), [pieces(), pieces(stream=b"click\xff")]) == [False, False]


@pytest.mark.parametrize(
    "mapping",
    [
        {"where": [{"header": "op", "in": ["c"]}]},
        {"where": [{"path": "stream", "in": ["clicks"]}]},
        {"stream": {"record": "value"}},
        {"event_id": "ids[0]"},
        {"event_id": "ids[kind=a].id"},
        {"event_id": "v"},
        {"event_id": "at"},
        {"event_id": "at.seconds"},
        {"segments": {"part": "stream.part"}},
    ],
    ids=str,
)
def test_mapping_that_patterns_cannot_read_has_none(mapping):
    assert compile_patterns(InputSettings.model_validate(MAPPING | mapping), Pieces().learn) is None


@pytest.mark.parametrize(
    "mapping", [{"embedding": {"path": "v", "dimension": 2}}, {"embedding": {"path": "v", "shape": "s"}}]
)
def test_several_vectors_have_no_pattern(mapping):
    assert reader(**mapping)[0]._patterns is None


def test_pattern_has_the_stream_the_vector_and_the_time():
    reads, _ = reader()
    for missing in ("stream", "v", "at"):
        raw = b";".join(piece for piece in pieces().split(b";") if not piece.startswith(missing.encode()))
        reads._patterns.learn(stored(raw))
        assert reads._patterns._patterns == []
        reads._patterns._learned = 0


def test_learning_is_bounded():
    """The misses between patterns grow with the square of those learned."""
    reads, _ = reader()
    missed = []
    for size in range(5_001):
        before = reads._patterns._learned
        read(reads, pieces(x="x" * size))
        if reads._patterns._learned > before:
            missed.append(size)
    assert missed == [0, 1_000, 5_000]


def learn_all(reader):
    """Let a reader learn the pattern of each record."""
    reader._patterns._learned = 0


def test_least_recently_used_pattern_is_dropped():
    reads, deserialize = reader()
    layouts = [pieces(x="x" * size) for size in range(patterns._MOST_PATTERNS + 1)]
    for raw in layouts[:-1]:
        learn_all(reads)
        read(reads, raw)
    read(reads, layouts[0])
    learn_all(reads)
    read(reads, layouts[-1])
    assert len(reads._patterns._patterns) == patterns._MOST_PATTERNS
    decoded = deserialize.decoded
    read(reads, layouts[0], *layouts[2:])
    assert deserialize.decoded == decoded
    read(reads, layouts[1])
    assert deserialize.decoded == decoded + 1


def test_pattern_that_leaves_out_its_own_value_is_not_kept():
    reads, _ = reader()
    read(reads, pieces(ascii="é".encode()))
    assert reads._patterns._patterns == []


def test_fault_of_a_learner_is_logged_and_stops_nothing(caplog):
    def learn(layout):
        raise RuntimeError(layout)

    reads = MappedReader(InputSettings.model_validate(MAPPING), Pieces(), learn)
    read(reads, pieces(), pieces())
    assert [each.offset for each in caplog.records] == [880]
    assert "no pattern could be learned" in caplog.text


def test_known_layout_is_not_learned_again():
    reads, _ = reader()
    for _ in range(2):
        learn_all(reads)
        reads._patterns.learn(stored(pieces()))
    assert len(reads._patterns._patterns) == 1


@pytest.mark.parametrize(
    ("usual", "compared"), [(0, patterns._PATIENCE), (100, 100 + patterns._PATIENCE), (500, 500)]
)
def test_poll_of_mostly_other_records_stops_comparing(usual, compared):
    """Compared are as many others as usual ones, and some more."""
    reads, _ = reader()
    read(reads, pieces())
    reads._patterns._learned = 1_000
    compare, found = reads._patterns.read, []

    def count(record, schedules):
        found.append(compare(record, schedules))
        return found[-1]

    reads._patterns.read = count
    read(reads, *[pieces()] * usual, *[pieces(x="x")] * 500)
    assert found.count(None) == compared
