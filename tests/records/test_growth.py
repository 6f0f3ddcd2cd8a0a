"""Two versions read each other's records: fields are ignored, or refused by name."""

from dataclasses import dataclass, field, replace
from functools import reduce
from operator import getitem

import msgspec
import pytest

from driftgauge.core.growth import must_be_understood
from driftgauge.errors import StateError
from driftgauge.records.changelog_records import decode, encode_value
from driftgauge.records.messagepack import Format, envelope
from tests.builders.changelog_records import GOLDEN


@dataclass(frozen=True)
class Row:
    """A part of a record of the earlier version."""

    number: int


@dataclass(frozen=True)
class Earlier:
    """A record of the earlier version."""

    total: int
    rows: tuple[Row, ...] = ()


@dataclass(frozen=True)
class WeightedRow:
    """A part of a record of the later version, in which events may have weights."""

    number: int
    weight: int = must_be_understood(1)
    note: str | None = None


@dataclass(frozen=True)
class Later:
    """A record of the later version, with one field of each kind more."""

    total: int
    rows: tuple[WeightedRow, ...] = ()
    known: int | None = None
    counts: dict[str, WeightedRow] = field(default_factory=dict)


EARLIER, LATER = Format[Earlier](Earlier), Format[Later](Later)
PLAIN = Later(3, (WeightedRow(1, note="a"),), known=7)


def test_versions_read_each_other_and_the_loss_of_fields_shows():
    read = EARLIER.decode("a record", LATER.encode(PLAIN))
    assert read == Earlier(3, (Row(1),))
    assert LATER.decode("a record", EARLIER.encode(read)) == Later(3, (WeightedRow(1),))


@pytest.mark.parametrize(
    "record",
    [
        replace(PLAIN, rows=(WeightedRow(1), WeightedRow(2, weight=5))),
        replace(PLAIN, counts={"a": WeightedRow(1, weight=0)}),
    ],
)
def test_earlier_version_refuses_by_name_what_it_must_understand(record):
    content = LATER.encode(record)
    assert LATER.decode("a record", content) == record
    with pytest.raises(StateError, match=r"a record has weight, which .* must understand .* update this rep"):
        EARLIER.decode("a record", content)


def test_unknown_kind_of_changelog_record_is_ignored_or_refused():
    key = b'["totals",{"stream":"s"}]'
    fields = msgspec.msgpack.encode({"sum": 1})
    assert decode(key, envelope([], fields)) is None
    with pytest.raises(StateError, match=r'"totals".* is of a kind that a reader must understand .* update'):
        decode(key, envelope(["sum"], fields))


@pytest.mark.parametrize(
    ("kind", "place"), [*((kind, ()) for kind in GOLDEN), ("published", ("score", "findings"))]
)
def test_every_kind_of_record_can_grow(kind, place):
    """A field that is added to any record is ignored, and the finding of a later statistic as well."""
    _, value, key = GOLDEN[kind]
    content = encode_value(value)
    fields = msgspec.msgpack.decode(content[3:])
    reduce(getitem, place, fields)["added"] = {"excess": 0.5, "p_value": 0.1}
    grown = envelope([], msgspec.msgpack.encode(fields))
    assert encode_value(decode(key, grown)[1]) == content
