"""What is proposed of a topic's fields: vectors, times, names, each by a table."""

import json

import numpy as np
import pytest

from driftgauge.config.inputs import InputSettings
from driftgauge.events.columns import Columns
from driftgauge.events.mapped_readers import build_readers
from driftgauge.events.records import StoredRecord
from driftgauge.inspection.proposal import propose
from driftgauge.inspection.proposed_names import find_named
from driftgauge.inspection.proposed_time import find_time
from driftgauge.inspection.proposed_vector import find_vectors
from driftgauge.inspection.topic_fields import find_topic_fields
from tests.builders.clocks import MONDAY_MS
from tests.events.mapped import value

VECTOR = np.linspace(-0.5, 0.5, 16).tolist()


def fields(*values):
    """Return the fields of decoded values, of records a second apart."""
    records = [
        StoredRecord(b"", "t", 0, row, stored_ms=MONDAY_MS + 1_000 * row) for row in range(len(values))
    ]
    return find_topic_fields(list(zip(records, values, strict=True)))


def many(build, number=10):
    return fields(*map(build, range(number)))


ITEMS = {"data": [{"index": 0, "v": VECTOR}, {"index": 1, "v": VECTOR}]}


def named(*names):
    return [{"name": name, "data": VECTOR} for name in names]


@pytest.mark.parametrize(
    ("build", "paths", "numbers"),
    [
        (lambda row: {"v": VECTOR}, ["v"], (10, 10)),
        (lambda row: {"v": VECTOR, "shape": [1, 16], "place": [52.5, 13.4]}, ["v"], (10, 10)),
        (lambda row: ITEMS, ["data[*].v"], (20, 10)),
        (lambda row: ITEMS if row else {}, ["data[*].v"], (18, 9)),
        (lambda row: {**ITEMS, "query": VECTOR}, ["query", "data[*].v"], (10, 10)),
        (lambda row: {"outputs": [{"name": "e", "data": VECTOR}]}, ["outputs[name=e].data"], (10, 10)),
        (lambda row: {"outputs": named("e", *"f"[: row == 5])},
         ["outputs[name=e].data", "outputs[name=f].data"], (10, 10)),
        (lambda row: {"outputs": named("chunk", "chunk")}, ["outputs[*].data"], (20, 10)),
        (lambda row: {"outputs": named("chunk", None)}, ["outputs[*].data"], (20, 10)),
        (lambda row: {"outputs": named(f"a{row}", f"b{row}")}, ["outputs[*].data"], (20, 10)),
        (lambda row: {"outputs": [{"name": f"{row}", "parts": named(f"a{row}")}]},
         ["outputs[*].parts[0].data"], (10, 10)),
        (lambda row: {"outputs": [{"name": f"{row}", "parts": named("e", "f")}]},
         ["outputs[*].parts[name=e].data", "outputs[*].parts[name=f].data"], (10, 10)),
        (lambda row: {"before": {"v": VECTOR}, "after": {"v": VECTOR}}, ["after.v", "before.v"], (10, 10)),
        (lambda row: {"hits": [{"parts": [{"v": VECTOR}]}]}, ["hits[*].parts[0].v"], (10, 10)),
        (lambda row: [{"v": VECTOR}], ["[*].v"], (10, 10)),
        (lambda row: {"v": "a text"}, [], None),
    ],
)  # fmt: skip
def test_vector_of_most_records_is_the_first(build, paths, numbers):
    found = find_vectors(many(build))
    assert [str(each.field) for each in found] == paths
    if found:
        assert (found[0].number, found[0].records) == numbers


def ms(row, offset=0):
    return MONDAY_MS + 1_000 * row + offset


@pytest.mark.parametrize(
    ("build", "source"),
    [
        (lambda row: {"t": ms(row)}, {"path": "t"}),
        (lambda row: {"t": ms(row) // 1_000}, {"path": "t", "unit": "s"}),
        (lambda row: {"ts": ms(row), "sent": ms(row, -10)}, {"path": "ts"}),
        (lambda row: {"created_at": ms(row, -5_000), "updated_at": ms(row)}, {"path": "created_at"}),
        (lambda row: {"seen": ms(row, -400 * 86_400_000)}, {"record": "timestamp"}),
        (lambda row: {"count": row}, {"record": "timestamp"}),
        (lambda row: {"data": [{"v": VECTOR, "t": ms(row)}] * 2}, {"path": "data[*].t"}),
    ],
)
def test_time_near_the_records_is_the_events(build, source):
    found = many(lambda row: {"v": VECTOR, **build(row)} if "data" not in build(row) else build(row))
    assert find_time(found, find_vectors(found)[0], []) == source


@pytest.mark.parametrize(
    ("kind", "build", "path"),
    [
        ("stream", lambda row: {"model_name": f"m{row % 2}"}, "model_name"),
        ("stream", lambda row: {"model": {"name": f"m{row % 2}"}}, "model.name"),
        ("stream", lambda row: {"model_name": f"not a name {row}"}, None),
        ("model_version", lambda row: {"model": "e5"}, "model"),
        ("event_id", lambda row: {"id": row}, "id"),
        ("event_id", lambda row: {"id": 1}, None),
        ("event_id", lambda row: {"id": row if row < 5 else None}, None),
        ("event_id", lambda row: {"id": row, "meta": {"id": f"m{row}"}}, "id"),
        ("event_id", lambda row: {"data": [{"v": VECTOR, "id": 2 * row + i} for i in (0, 1)]}, "data[*].id"),
        ("event_id", lambda row: {"data": [{"v": VECTOR}] * 2, "id": row}, "id"),
    ],
)
def test_field_is_found_by_its_name_and_values(kind, build, path):
    found = many(lambda row: {"v": VECTOR, **build(row)} if "data" not in build(row) else build(row))
    named = find_named(kind, found, find_vectors(found)[0])
    assert (None if named is None else str(named)) == path


@pytest.mark.parametrize(
    ("build", "expected"),
    [
        (
            lambda row: {
                "object": "list",
                "data": [{"object": "embedding", "embedding": VECTOR}],
                "model": "e5",
            },
            {"embedding": "data[*].embedding", "model_version": "model"},
        ),
        (
            lambda row: {"data": [{"embedding": VECTOR}]} if row % 4 else {"error": "busy"},
            {"embedding": "data[*].embedding", "where": [{"path": "data", "exists": True}]},
        ),
        (
            lambda row: [{"embedding": VECTOR, "id": f"{row}"}] if row % 4 else {"error": "busy"},
            {"embedding": "[*].embedding", "event_id": "[*].id"},
        ),
    ],
)
def test_proposal_for_a_list_of_objects_is_a_mapping(build, expected):
    records = [StoredRecord(value(**each) if isinstance(each := build(row), dict) else
                            b"[" + value(**each[0]) + b"]", "t", 0, row, stored_ms=ms(row))
               for row in range(12)]  # fmt: skip
    mapping = propose("t", records, None).mapping
    constant = {"encoding": "json", "stream": {"constant": "t"}, "timestamp": {"record": "timestamp"}}
    assert mapping == {**constant, **expected}
    InputSettings.model_validate(mapping)


FULL = {"embedding": VECTOR}
NO_JSON = {"p": "busy"}


@pytest.mark.parametrize(
    ("odd", "said", "is_filtered"),
    [
        ({"data": []}, None, False),
        ({}, "where: 3 of 12 records have no data, and are filtered, not refused", True),
        ({"data": None}, "where: 3 of 12 records have no data, and are filtered, not refused", True),
        ({"data": [FULL, {"embedding": None}]}, "embedding: 3 of 12 records have items without", False),
        ({"data": [FULL, {}]}, "embedding: 3 of 12 records have items without", False),
        ({"data": "busy"}, "embedding: 3 of 12 records have items without", False),
        (NO_JSON, "embedding: 3 of 12 records have items without", False),
    ],
)
def test_records_without_a_list_or_its_items_are_told_apart(odd, said, is_filtered):
    raws = [value(**({"data": [FULL]} if row % 4 else odd)) for row in range(12)]
    if odd is NO_JSON:
        raws = [value(p=json.dumps({"data": [FULL]}) if row % 4 else "busy") for row in range(12)]
    records = [StoredRecord(raw, "t", 0, row, stored_ms=ms(row)) for row, raw in enumerate(raws)]
    proposal = propose("t", records, None)
    notes = [note for note in proposal.notes if " of 12 records have" in note]
    assert len(notes) == (said is not None)
    assert all(note.startswith(said) for note in notes)
    assert ("where" in proposal.mapping) is is_filtered
    reader = build_readers({"t": InputSettings.model_validate(proposal.mapping)})["t"]
    reader.read(records, 0, columns := Columns())
    expected = (3, 0) if is_filtered else (0, 3) if said else (0, 0)
    assert (len(columns.filtered), len(columns.refused)) == expected
