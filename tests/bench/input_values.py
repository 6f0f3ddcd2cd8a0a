"""How values hold a vector, by encoding: shared by all engines, so that engines are compared and not parsers.

The environment of quix-streams also runs this module, so it imports NumPy, orjson and pybase64 alone.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import orjson
from pybase64 import b64decode, b64encode

STREAM = "bench"


@dataclass(frozen=True)
class Encoding:
    """An encoding of events.

    Attributes:
        write: Returns a record's value, given a float32 vector and its event time in ms.
        read: Returns the float32 vector of a value.
        settings: The service's settings of a topic in this encoding; None: its own contract.
    """

    write: Callable[[np.ndarray, int], bytes]
    read: Callable[[bytes], np.ndarray]
    settings: dict[str, object] | None = None


def _write_json(vector: np.ndarray, time_ms: int) -> bytes:
    event = {"stream": STREAM, "timestamp": time_ms, "embedding": vector}
    return orjson.dumps(event, option=orjson.OPT_SERIALIZE_NUMPY)


def _write_base64(vector: np.ndarray, time_ms: int) -> bytes:
    text = b64encode(vector.tobytes()).decode()
    return orjson.dumps({"stream": STREAM, "timestamp": time_ms, "embedding_b64": text})


ENCODINGS = {
    "json": Encoding(_write_json, lambda value: np.array(orjson.loads(value)["embedding"], np.float32)),
    "base64": Encoding(
        _write_base64,
        lambda value: np.frombuffer(
            b64decode(orjson.loads(value)["embedding_b64"], validate=True), np.float32
        ),
    ),
    "bytes": Encoding(
        lambda vector, time_ms: vector.tobytes(),
        lambda value: np.frombuffer(value, np.float32),
        {
            "encoding": "bytes",
            "stream": {"constant": STREAM},
            "timestamp": {"record": "timestamp"},
            "embedding": {"record": "value"},
        },
    ),
}
