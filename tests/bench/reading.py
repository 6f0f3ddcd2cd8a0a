"""What reading an event costs by encoding, beside a commit: `python -m tests.bench.reading --before DIR`.

In process and without a broker: the service of this checkout and that of the other one, each in a process of
its own, decode and check polls of 1,000 records in turns. Printed are the processor time of an event of both,
medians of the turns, and the ratio with the upper limit of its 95 % confidence interval.
"""

import argparse
import base64
import json
import os
import pickle
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID

import numpy as np
from scipy import stats
from tests.events.schema_records import AVRO, Embedded, avro, framed, protobuf_file, serialized
from tests.output import say

from driftgauge.events.encodings.inference import response_class

START_MS = 1_762_128_000_000
RECORDS = 1_000
STREAM = {"stream": {"constant": "bench"}}
TURN = Path(__file__).with_name("reading_turn.py")


def make_cases(dimension: int) -> dict[str, dict[str, Any]]:
    """Return records of each encoding, with the vector as a list and as bytes."""
    random = np.random.default_rng(dimension)
    vectors = random.standard_normal((RECORDS, dimension), np.float32)
    found = _texts(vectors) | _framed(vectors)
    return {
        f"{name}, {dimension}": {
            "mapping": mapping,
            "values": [value if type(value) is bytes else json.dumps(value).encode() for value in values],
            "headers": headers,
            "schema": schema,
            "dimension": dimension,
            "ms": START_MS,
        }
        for name, (mapping, values, headers, schema) in found.items()
    }


Made = dict[str, tuple[Mapping[str, object] | None, Sequence[object], Sequence[tuple[str, bytes]], str]]
"""By name: a mapping, values or JSON values, headers, and a schema."""


def _texts(vectors: np.ndarray) -> Made:
    numbers = [vector.astype(np.float64).tolist() for vector in vectors]
    texts = [base64.b64encode(vector.tobytes()).decode() for vector in vectors]
    rows = range(RECORDS)
    own = [{"stream": "bench", "timestamp": START_MS + row} for row in rows]
    optional = {"model_version": "m", "segments": {"country": "de"}}
    full = [{**own[row], "event_id": f"e-{row}", **optional} for row in rows]
    fields = [{"m": {"s": "bench", "c": "de"}, "t": START_MS + row, "id": f"e-{row}"} for row in rows]
    mapped = {"stream": "m.s", "timestamp": "t", "embedding": "v", "event_id": "id", "segments": {"c": "m.c"}}
    in_text = ("stream", "timestamp", "embedding", "event_id")
    cloud = {"encoding": "cloudevents", **STREAM, "embedding": "data.v", "event_id": "data.id"}
    event = {"specversion": "1.0", "id": "1", "type": "t", "source": "/s"}
    structured = [("content-type", b"application/cloudevents+json")]
    binary = [("ce_specversion", b"1.0"), ("ce_type", b"t"), ("content-type", b"application/json")]
    lists = [fields[row] | {"v": numbers[row]} for row in rows]
    in_base64 = [fields[row] | {"v": texts[row]} for row in rows]
    fours = [fields[row] | {"v": numbers[4 * row : 4 * row + 4]} for row in range(RECORDS // 4)]
    return {
        "own list": (None, [own[row] | {"embedding": numbers[row]} for row in rows], (), ""),
        "own base64": (None, [own[row] | {"embedding_b64": texts[row]} for row in rows], (), ""),
        "own list, all fields": (None, [full[row] | {"embedding": numbers[row]} for row in rows], (), ""),
        "own base64, all fields": (None, [full[row] | {"embedding_b64": texts[row]} for row in rows], (), ""),
        "json list": (mapped, lists, (), ""),
        "json base64": (mapped, in_base64, (), ""),
        "json list of 4 lists": (mapped, fours, (), ""),
        "json list in text": (
            mapped,
            [fields[row] | {"v": json.dumps(numbers[row])} for row in rows],
            (),
            "",
        ),
        "json of 5 fields in text": (
            {
                **{name: f"p[json].{mapped[name]}" for name in in_text},
                "segments": {"c": "p[json].m.c"},
            },
            [{"p": json.dumps(each)} for each in lists],
            (),
            "",
        ),
        "structured cloudevents, list": (cloud, [event | {"data": each} for each in lists], structured, ""),
        "binary cloudevents, list": (cloud, lists, binary, ""),
        "binary cloudevents, base64": (cloud, in_base64, binary, ""),
    }


def _framed(vectors: np.ndarray) -> Made:
    at = [datetime.fromtimestamp((START_MS + row) / 1_000, UTC) for row in range(RECORDS)]
    head = {"stream": "bench", "segments": {"c": "de"}}
    lists = [
        {"at": at[row], "id": UUID(int=row), "vector": b"", "numbers": vector.astype(float).tolist()}
        for row, vector in enumerate(vectors)
    ]
    in_bytes = [
        {"at": at[row], "id": UUID(int=row), "vector": vector.tobytes(), "numbers": None}
        for row, vector in enumerate(vectors)
    ]
    fields = {"stream": "stream", "timestamp": "at", "segments": {"c": "segments.c"}}
    in_avro = {**fields, "encoding": "avro", "event_id": "id"}
    in_proto = {**fields, "encoding": "protobuf", "event_id": "note"}
    record_time = {**STREAM, "timestamp": {"record": "timestamp"}}
    output = {"path": "outputs[name=e].data", "shape": "outputs[name=e].shape"}
    inference = {**record_time, "encoding": "inference", "event_id": "id", "embedding": output}
    as_bytes = {**record_time, "encoding": "bytes", "embedding": {"record": "value"}}
    schema, file = json.dumps(AVRO), serialized(protobuf_file())
    return {
        "bytes": (as_bytes, [vector.tobytes() for vector in vectors], (), ""),
        "avro list": (
            in_avro | {"embedding": "numbers"},
            [framed(avro(head | e)) for e in lists],
            (),
            schema,
        ),
        "avro bytes": (
            in_avro | {"embedding": "vector"},
            [framed(avro(head | e)) for e in in_bytes],
            (),
            schema,
        ),
        "protobuf list": (
            in_proto | {"embedding": "numbers"},
            [_message(row, numbers=vector) for row, vector in enumerate(vectors)],
            (),
            file,
        ),
        "protobuf bytes": (
            in_proto | {"embedding": "vector"},
            [_message(row, vector=vector.tobytes()) for row, vector in enumerate(vectors)],
            (),
            file,
        ),
        "inference list": (inference, [_response(vector, is_raw=False) for vector in vectors], (), ""),
        "inference bytes": (inference, [_response(vector, is_raw=True) for vector in vectors], (), ""),
    }


def _message(row: int, **fields: Any) -> bytes:
    message = Embedded(stream="bench", segments={"c": "de"}, note=f"e-{row}", **fields)
    message.at.FromMilliseconds(START_MS + row)
    return framed(b"\0" + message.SerializeToString())


def _response(vector: np.ndarray, *, is_raw: bool) -> bytes:
    response = response_class(model_name="bench", id="0193")
    output = response.outputs.add(name="e", datatype="FP32", shape=[1, len(vector)])
    if is_raw:
        response.raw_output_contents.append(vector.tobytes())
    else:
        output.contents.fp32_contents.extend(vector)
    return bytes(response.SerializeToString())


class Turns:
    """Reads cases with the service of a checkout, whenever it is this one's turn."""

    def __init__(self, checkout: Path, cases: Path) -> None:
        environment = {**os.environ, "PYTHONPATH": str(checkout / "service"), "OPENBLAS_NUM_THREADS": "1"}
        command = [sys.executable, str(TURN), str(cases)]
        self._process = subprocess.Popen(
            command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def measure(self, name: str) -> float:
        """Return the processor time of an event of a case, in us."""
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.write(f"{name}\n")
        self._process.stdin.flush()
        return float(self._process.stdout.readline())

    def close(self) -> None:
        self._process.communicate()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--before", type=Path, required=True, help="a checkout of an earlier commit")
    parser.add_argument("--turns", type=int, default=24)
    parser.add_argument("--only", default="", help="the beginning of the names of cases")
    options = parser.parse_args()
    made = {name: case for dimension in (128, 512) for name, case in make_cases(dimension).items()}
    wanted = {name: case for name, case in made.items() if name.startswith(options.only)}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "cases"
        path.write_bytes(pickle.dumps(wanted))
        own, before = both = [Turns(each, path) for each in (Path(__file__).parents[2], options.before)]
        for name in wanted:
            for each in both:
                each.measure(name)
            spent = np.empty((options.turns, 2))
            for turn in range(options.turns):
                # Who is first takes turns as well.
                for side in (0, 1) if turn % 2 else (1, 0):
                    spent[turn, side] = (own, before)[side].measure(name)
            logs = np.log(spent[:, 0] / spent[:, 1])
            error = stats.sem(logs) * stats.t.ppf(0.975, options.turns - 1)
            say(
                f"{name:36} {np.median(spent[:, 0]):7.2f} us, before {np.median(spent[:, 1]):7.2f}: "
                f"{np.exp(logs.mean()) - 1:+6.1%}, at most {np.exp(logs.mean() + error) - 1:+6.1%}"
            )
        for each in both:
            each.close()


if __name__ == "__main__":
    main()
