"""The golden records of other topics: each becomes the events that its file says (see schemas/README.md)."""

import base64
import json
from dataclasses import replace

import pytest

from driftgauge.config.inputs import InputSettings
from driftgauge.events.decoder import Decoder
from driftgauge.events.inputs import build_readers
from driftgauge.events.records import StoredRecord
from tests.builders.events import CONTRACTS, LATEST_MS, SCHEMAS, build_records, name

FILES = sorted((SCHEMAS / "golden" / "mapped").glob("*.json"))
TOPIC = "mapped"


def to_record(index, golden):
    value = golden.get("value_base64", "")
    if "value" in golden:
        raw = json.dumps(golden["value"]).encode()
    else:
        raw = None if value is None else base64.b64decode(value)
    headers = [(header, text.encode()) for header, text in golden.get("headers", {}).items()]
    key = golden["key"].encode() if "key" in golden else None
    return StoredRecord(raw, TOPIC, 0, index, key, headers)


@pytest.mark.parametrize("path", FILES, ids=name)
def test_golden_record_becomes_its_events(path):
    golden = json.loads(path.read_text("utf-8"))
    readers = build_readers({TOPIC: InputSettings.model_validate(golden["mapping"])})
    decoder = Decoder(CONTRACTS, lead_ms=0, readers=readers)
    for index, expected in enumerate(golden["records"]):
        records = replace(build_records([b""], LATEST_MS), raw=[to_record(index, expected)])
        decoded = decoder.decode(records)
        found: dict[str, object] = {}
        if decoded.filtered:
            found = {"filtered": True}
        elif decoded.rejections:
            found = {"refused": decoded.rejections[0].reason}
        else:
            found = {"events": [event for batch in decoded.batches for event in to_events(batch)]}
        outcome = {key: expected[key] for key in ("events", "filtered", "refused") if key in expected}
        assert found == outcome, f"record {index}"


def to_events(batch):
    for row in range(len(batch)):
        event = {
            "stream": batch.stream,
            "timestamp": int(batch.time_ms[row]),
            "event_id": batch.event_ids[row],
            "embedding_b64": base64.b64encode(batch.vectors[row].astype("<f4").tobytes()).decode(),
        }
        if batch.segments:
            event["segments"] = batch.segments[row]
        yield event
