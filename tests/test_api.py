"""The public Python interface: the examples of the documentation, and the errors."""

import base64
import inspect
import json
import re
import time
from collections.abc import Iterator
from dataclasses import is_dataclass
from pathlib import Path
from typing import Any, get_args, get_type_hints

import numpy as np
import pytest
from pydantic import BaseModel

from driftgauge import api
from tests.builders.baselines import build_baseline, save_baseline
from tests.builders.clocks import HOUR_MS, MONDAY_MS
from tests.builders.configs import write_config
from tests.builders.events import build_event, write_events
from tests.builders.references import CLUSTERS
from tests.builders.results import plain
from tests.events.schema_records import ID, avro, framed
from tests.harness.registry_server import serve_schemas

AVRO_SCHEMA = {
    "type": "record",
    "name": "Embedded",
    "fields": [{"name": "vector", "type": {"type": "array", "items": "float"}}],
}
DOCUMENT = Path(__file__).parents[1] / "service/docs/reference/python.md"


def read_examples() -> list[str]:
    """Return the code blocks of the document."""
    return re.findall(r"^```python\n(.*?)^```", DOCUMENT.read_text("utf-8"), re.DOTALL | re.MULTILINE)


def test_documented_examples_run(tmp_path, monkeypatch, caplog):
    monkeypatch.chdir(tmp_path)
    names = {}
    for block in read_examples():
        exec(compile(block, DOCUMENT.name, "exec"), names)  # noqa: S102 - the project's own document
    assert names["clean"].p_value > 0.1
    assert names["dark"].divergence.excess > 0.2
    assert names["fitted"].metadata.created_ms == pytest.approx(time.time() * 1_000, abs=600_000)
    warnings = [record.levelname for record in caplog.records if "have no times" in record.message]
    assert warnings == ["WARNING"] * 2
    assert not names["clean"].calibrated
    assert names["timed"].metadata.window_ms == HOUR_MS
    assert names["named"].names[1] == "6"
    assert names["event"].vector.tolist() == names["images"][0].tolist()
    assert names["refused"].reason is api.Reason.INVALID
    assert names["result"].score is not None
    assert not +names["replay"].rejected


def test_each_public_function_has_example():
    functions = {name for name in api.__all__ if inspect.isfunction(getattr(api, name))}
    examples = "".join(read_examples())
    assert len(functions) > 5
    assert [name for name in sorted(functions) if f"{name}(" not in examples] == []


def find_types(hint: Any) -> Iterator[type]:
    """Yield the classes in an annotation."""
    if isinstance(hint, type):
        yield hint
    for part in get_args(hint):
        yield from find_types(part)


def read_hints(name: str) -> dict[str, Any]:
    """Return the annotations of a public function, or of the fields, properties and methods of a class."""
    public = getattr(api, name)
    if not inspect.isclass(public):
        return get_type_hints(public) if inspect.isfunction(public) else {}
    hints = dict(get_type_hints(public)) if is_dataclass(public) or issubclass(public, BaseModel) else {}
    for member, value in vars(public).items():
        function = value.fget if isinstance(value, property) else getattr(value, "__func__", value)
        if not member.startswith("_") and inspect.isfunction(function):
            hints |= {f"{member}.{part}": hint for part, hint in get_type_hints(function).items()}
    return {key: hint for key, hint in hints.items() if not key.startswith("_")}


def test_types_of_public_interface_are_public():
    exported = {getattr(api, name) for name in api.__all__ if inspect.isclass(getattr(api, name))}
    missing = {
        f"{name}.{key}: {found.__name__}"
        for name in api.__all__
        for key, hint in read_hints(name).items()
        for found in find_types(hint)
        if found.__module__.startswith("driftgauge.") and found not in exported
    }
    assert missing == set()


def test_score_equals_score_of_service(tmp_path):
    baseline = save_baseline(tmp_path)
    clusters = [0, 1, 2, 3, 3, 0, 0]
    path = write_events(tmp_path / "events.jsonl", [build_event(MONDAY_MS, cluster) for cluster in clusters])
    replay = api.build_replay(write_config(tmp_path, {"windows": ["1h"]}), {})
    (result,) = replay.run([path])
    vectors = np.full((len(clusters), CLUSTERS), 0.1, np.float32)
    vectors[np.arange(len(clusters)), clusters] = 0.9
    assert result.window.size_ms == HOUR_MS
    score, of_service = plain(api.score_vectors(baseline, vectors)), plain(result.score)
    # The levels differ.
    assert score.pop("detectable") != of_service.pop("detectable")
    assert score == of_service


@pytest.mark.parametrize(
    ("window_ms", "is_calibrated"), [(HOUR_MS, True), (2 * HOUR_MS, False), (None, False)]
)
def test_score_is_calibrated_on_windows_of_overdispersion(window_ms, is_calibrated):
    baseline = build_baseline(overdispersion=api.Overdispersion(20, 1.5, 1.5 * np.eye(2)))
    vectors = np.eye(CLUSTERS, dtype=np.float32)[[0, 1, 2, 3, 3, 0, 0]]
    assert api.score_vectors(baseline, vectors, window_ms=window_ms).calibrated is is_calibrated


@pytest.mark.parametrize(
    ("vectors", "message"),
    [
        *(
            (np.zeros(shape), rf"shape \({shape[0]},.*; give at least one row of 4 numbers")
            for shape in ((0, CLUSTERS), (5, CLUSTERS + 1), (CLUSTERS,))
        ),
        *(
            ([[0] * CLUSTERS, [value] * CLUSTERS], r"^row 1 of the vectors is not finite, or too large")
            for value in (np.nan, np.inf)
        ),
    ],
)
def test_unusable_vectors_are_refused(vectors, message):
    with pytest.raises(api.DriftgaugeError, match=message):
        api.score_vectors(build_baseline(), np.array(vectors, np.float32))


def test_replay_asks_schema_registry_of_configuration_in_each_run(tmp_path):
    save_baseline(tmp_path)
    value = framed(avro({"vector": [0.9, 0.1, 0.1, 0.1]}, AVRO_SCHEMA))
    record = {"ts": MONDAY_MS, "payload_base64": base64.b64encode(value).decode()}
    path = write_events(tmp_path / "events.records.jsonl", [json.dumps(record).encode()])
    mapping = {
        "encoding": "avro",
        "stream": {"constant": "images"},
        "timestamp": {"record": "timestamp"},
        "embedding": "vector",
    }
    with serve_schemas({ID: AVRO_SCHEMA}) as url:
        replay = api.build_replay(
            write_config(
                tmp_path, {"windows": ["1h"]}, inputs={"embeddings": mapping}, schema_registry={"url": url}
            )
        )
        assert [[result.count for result in replay.run([path])] for _ in range(2)] == [[1], [1]]


def test_environment_overrides_configuration_of_replay(tmp_path):
    save_baseline(tmp_path)
    with pytest.raises(api.DriftgaugeError, match=r"http\.port"):
        api.build_replay(write_config(tmp_path), {"DRIFTGAUGE_HTTP__PORT": "none"})
