"""The examples of mapped topics in deploy/examples/inputs/, and what their document says of each sample."""

import json
import re
from pathlib import Path

from tests.events.golden_encodings import embedded_file, schema_text
from tests.events.schema_records import serialized

_ROOT = Path(__file__).parents[2]
FOLDER = _ROOT / "deploy" / "examples" / "inputs"
DOCUMENT = _ROOT / "service/docs/how-to/own-topic.md"
# By id, as the samples name them.
SCHEMAS = {1: json.loads(schema_text()), 2: serialized(embedded_file())}
_ROW = re.compile(r"^\| \[`(\w+)`\].* \| (\d+) \((\d+)\) \| (\d+) \| (\d+) \|$", re.MULTILINE)


def read_table() -> dict[str, tuple[int, ...]]:
    """Return by example how many records are accepted, with how many events, filtered and refused."""
    rows = _ROW.findall(DOCUMENT.read_text("utf-8"))
    return {name: tuple(map(int, numbers)) for name, *numbers in rows}


def sample_of(name: str) -> Path:
    return FOLDER / f"{name}.records.jsonl"


def summary_of(outcome: tuple[int, ...]) -> str:
    """Return how `peek` and `config check` sum an outcome up, without the reasons."""
    accepted, events, filtered, refused = outcome
    return (
        f"{accepted + filtered + refused} records: {accepted} accepted ({events} events), "
        f"{filtered} filtered, {refused} refused ("
    )
