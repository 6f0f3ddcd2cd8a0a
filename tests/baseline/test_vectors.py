"""Vectors read from arrays, archives, events and tables: what is taken, what is left out, and the faults."""

import base64
import gzip
import io
import json
import os
import pickle
import re
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet
import pytest
from numpy.typing import NDArray

from driftgauge import files
from driftgauge.baseline.collecting import Collector, NameColumn, TableColumns, VectorSet
from driftgauge.baseline.vectors import read_vectors
from driftgauge.errors import InputError
from driftgauge.events.refusals import Refusals
from tests.builders.clocks import MONDAY_MS
from tests.builders.events import write_events

VECTORS = np.arange(12, dtype=np.float32).reshape(4, 3) / 8
LABEL = NameColumn("digit", holds_texts=False)
TEXT = NameColumn("digit", holds_texts=True)
NUMBERS = np.arange(4)


def read(path: Path, refusals: Refusals | None = None, **choice: Any) -> VectorSet:
    return read_vectors(path, refusals=refusals or Refusals(), **{"stream": "s", **choice})


def npy(folder: Path, array: np.ndarray) -> Path:
    np.save(folder / "vectors.npy", array)
    return folder / "vectors.npy"


def npz(folder: Path, **arrays: np.ndarray) -> Path:
    np.savez_compressed(folder / "vectors.npz", **arrays)
    return folder / "vectors.npz"


def event(
    values: list[float], *, stream: str = "s", time_ms: int = MONDAY_MS, **more: object
) -> dict[str, object]:
    return {"stream": stream, "timestamp": time_ms, "embedding": values, **more}


def jsonl(folder: Path, *events: dict[str, object] | str, name: str = "events.jsonl") -> Path:
    lines = [each.encode() if isinstance(each, str) else json.dumps(each).encode() for each in events]
    return write_events(folder / name, lines)


@pytest.mark.parametrize("dtype", ["<f2", "<f4", "<f8", ">f4"])
def test_array_becomes_float32(tmp_path: Path, dtype: str) -> None:
    result = read(npy(tmp_path, VECTORS.astype(dtype)), model_version="v1")
    np.testing.assert_array_equal(result.vectors, VECTORS)
    assert result.vectors.dtype == np.float32
    assert (result.times_ms, result.segments, result.model_version) == (None, None, "v1")


@pytest.mark.parametrize(
    ("array", "fault"),
    [
        *(
            (VECTORS.astype(dtype), rf"holds {np.dtype(dtype)}; .* save them as float32")
            for dtype in (np.uint8, np.int64, np.bool_, np.complex64)
        ),
        *(
            (np.ones(shape, np.float32), r"as an array \(n, d\), one per row; the shape is \(")
            for shape in ((12,), (2, 2, 3), (0, 3), (3, 0), ())
        ),
        *(
            (np.where(np.isin(np.arange(20), [4, 7, 8, 9, 11, 13]), value, 0.0)[:, None], "6 of 20 rows")
            for value in (np.nan, np.inf, -np.inf, 1e39)
        ),
        (
            np.where(np.isin(np.arange(20), [4, 7, 8, 9, 11, 13]), np.nan, 0)[:, None],
            r"vectors\.npy: 6 of 20 rows .* row 4 \(counted from 0\)",
        ),
        (np.array([{}], dtype=object), r"Object arrays cannot be loaded .*\.astype\(str\)$"),
    ],
)
def test_unusable_array_is_refused(tmp_path: Path, array: np.ndarray, fault: str) -> None:
    with pytest.raises(InputError, match=fault):
        read(npy(tmp_path, array))


def test_archive_holds_vectors_labels_texts_and_ids(tmp_path: Path) -> None:
    ids = np.array(["a", "b", "c", "ü"])
    path = npz(tmp_path, digit=np.array([3, 1, 4, 1], np.uint8), ids=ids, train=VECTORS)
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("README", "hello")
    result = read(path, columns=TableColumns(name=LABEL, event_id="ids"))
    np.testing.assert_array_equal(result.vectors, VECTORS)
    assert (result.labels, result.event_ids, result.texts) == (["3", "1", "4", "1"], ids.tolist(), None)
    texts = read(path, columns=TableColumns(name=NameColumn("ids", holds_texts=True))).texts
    assert texts == ids.tolist()
    path = npz(tmp_path, train=VECTORS, test=VECTORS[:2])
    np.testing.assert_array_equal(read(path, array="test").vectors, VECTORS[:2])


@pytest.mark.parametrize(
    ("arrays", "choice", "fault"),
    [
        (
            {"labels": NUMBERS, "train": VECTORS, "test": VECTORS[:2]},
            {},
            r"with --array; the file holds train \(4, 3\), test \(2, 3\)$",
        ),
        (
            {"labels": NUMBERS, "train": VECTORS},
            {"array": "trian"},
            "no array 'trian'; choose with --array one of: labels, train",
        ),
        ({"labels": NUMBERS, "train": VECTORS}, {"array": "labels"}, r"the shape is \(4,\)"),
        ({"labels": NUMBERS}, {}, r"the file holds labels \(4,\)"),
        ({"objects": np.array([{}], dtype=object)}, {"array": "objects"}, "Object arrays cannot be loaded"),
        *(
            (
                {"a": VECTORS, "digit": labels},
                {"array": "a", "columns": TableColumns(name=LABEL)},
                r"array 'digit' of --label holds .*; give text or whole numbers",
            )
            for labels in (np.zeros(3, int), np.zeros((4, 1), int), np.zeros(4))
        ),
        *(
            (
                {"a": VECTORS, "digit": np.array(["a", None, "b", "c"], object)},
                {"array": array, "columns": TableColumns(name=LABEL)},
                r"npz: .*Object arrays cannot be loaded .*\.astype\(str\)$",
            )
            for array in (None, "a")
        ),
        *(
            ({"a": VECTORS}, {"columns": columns}, rf"no array 'digit'; choose with {option} one of: a$")
            for option, columns in (
                ("--label", TableColumns(name=LABEL)),
                ("--text", TableColumns(name=TEXT)),
                ("--id-column", TableColumns(event_id="digit")),
            )
        ),
    ],
)
def test_unusable_archive_is_refused(
    tmp_path: Path, arrays: dict[str, np.ndarray], choice: dict[str, Any], fault: str
) -> None:
    with pytest.raises(InputError, match=fault):
        read(npz(tmp_path, **arrays), **choice)


@pytest.mark.parametrize("columns", [TableColumns(name=LABEL), TableColumns(event_id="digit")])
def test_plain_array_refuses_labels_with_remedy(tmp_path: Path, columns: TableColumns) -> None:
    with pytest.raises(InputError, match=r"holds vectors alone, and no 'digit'; save .* with np\.savez"):
        read(npy(tmp_path, VECTORS), columns=columns)


MISSING = r":? cannot be read \(No such file"


@pytest.mark.parametrize(
    ("name", "content", "choice", "fault"),
    [
        ("vectors.npy", pickle.dumps(VECTORS), {}, "cannot be read"),
        ("vectors.npz", pickle.dumps(VECTORS), {}, "cannot be read"),
        (
            "a.jsonl.gz",
            gzip.compress(json.dumps(event([1, 2])).encode() + b"\n", mtime=0)[:-5],
            {},
            "cannot be read",
        ),
        *((name, None, {}, f"{name}{MISSING}") for name in ("a.npy", "a.npz")),
        *((name, None, {}, f"no such file: .*{name}") for name in ("a.jsonl", "a.jsonl.gz")),
        ("vectors.csv", None, {}, r"name a \.npy, \.npz, \.jsonl or \.jsonl\.gz file"),
        *(
            (name, None, {"array": "a"}, r"--array chooses an array of a \.npz file; leave it out")
            for name in ("a.npy", "a.jsonl")
        ),
        *(
            (
                name,
                None,
                {"columns": TableColumns(event_id="id")},
                f"{name}: leave out --id-column; events have their event_id",
            )
            for name in ("a.jsonl", "a.jsonl.gz")
        ),
    ],
)
def test_unusable_file_is_named(
    tmp_path: Path, name: str, content: bytes | None, choice: dict[str, Any], fault: str
) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError, match=fault):
        read(tmp_path / name, **choice)


def test_size_is_checked_by_header_and_only_of_the_chosen_array(tmp_path: Path) -> None:
    header = io.BytesIO()
    stated = {"descr": "<f4", "fortran_order": False, "shape": (1 << 50,)}
    np.lib.format.write_array_header_1_0(header, stated)
    (tmp_path / "a.npy").write_bytes(header.getvalue())
    path = npz(tmp_path, train=VECTORS)
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("labels.npy", header.getvalue())
    np.testing.assert_array_equal(read(path).vectors, VECTORS)
    for large, array in ((tmp_path / "a.npy", None), (path, "labels")):
        with pytest.raises(
            InputError, match="would take 4,503,599,627,370,496 bytes of memory, over 100 times"
        ):
            read(large, array=array)


@pytest.mark.parametrize("name", ["a.npz", "a.parquet"])
def test_file_that_would_take_far_more_memory_than_its_size_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    path = tmp_path / name

    def write(vectors: NDArray[np.floating]) -> None:
        array = vectors.astype(np.float32)
        if name.endswith("npz"):
            np.savez_compressed(path, v=array)
        else:
            pyarrow.parquet.write_table(pyarrow.table({"v": list(array)}), path, compression="gzip")

    write(np.zeros((40_000, 100)))
    # Small files may hold anything.
    assert len(read(path).vectors) == 40_000
    monkeypatch.setattr(files, "_ALWAYS_BYTES", 0)
    with pytest.raises(InputError, match=r"would take 16,000,000 bytes of memory, over 100 times as many"):
        read(path)
    write(np.random.default_rng(0).normal(size=(2_000, 10)))
    assert len(read(path).vectors) == 2_000


@pytest.mark.parametrize("name", ["a.npy", "a.npz", "a.jsonl", "a.jsonl.gz", "a.parquet", "a.arrow"])
def test_pipe_is_refused_without_waiting(tmp_path: Path, name: str) -> None:
    os.mkfifo(tmp_path / name)
    with pytest.raises(InputError, match=r"cannot be read \(.*a pipe, a device"):
        read(tmp_path / name)


def test_truncated_array_file_is_refused(tmp_path: Path) -> None:
    for path in (npy(tmp_path, VECTORS), npz(tmp_path, train=VECTORS)):
        content = path.read_bytes()
        for length in range(0, len(content), 7):
            path.write_bytes(content[:length])
            with pytest.raises(InputError, match="cannot be read"):
                read(path)


@pytest.mark.parametrize("name", ["events.jsonl", "events.jsonl.gz"])
def test_events_keep_order_and_everything_of_the_stream(tmp_path: Path, name: str) -> None:
    packed = base64.b64encode(VECTORS[1].astype("<f4").tobytes()).decode()
    meta = {"title": "a" * 2_000}
    path = jsonl(
        tmp_path,
        event(
            VECTORS[0].tolist(), time_ms=MONDAY_MS + 5_000, event_id="a", segments={"digit": "3"}, meta=meta
        ),
        event([1, 2], stream="t", event_id="b", segments={"digit": "4"}, model_version="v0"),
        {"stream": "s", "timestamp": "2025-11-03T00:00:02+00:00", "embedding_b64": packed, "digit": 1},
        event(VECTORS[2].tolist(), segments={"country": "fr"}, model_version="v1"),
        name=name,
    )
    result = read(path, stream="s", columns=TableColumns(name=LABEL))
    np.testing.assert_array_equal(result.vectors, VECTORS[:3])
    assert (result.vectors.dtype, result.model_version) == (np.float32, "v1")
    assert result.times_ms is not None
    assert (result.times_ms.tolist(), result.times_ms.dtype) == (
        [MONDAY_MS + 5_000, MONDAY_MS + 2_000, MONDAY_MS],
        np.int64,
    )
    assert result.segments == ({"digit": "3"}, {}, {"country": "fr"})
    assert (result.labels, result.event_ids) == (["3", "1", None], ["a", None, None])
    title = TableColumns(name=NameColumn("meta.title", holds_texts=True))
    texts = read(path, stream="s", columns=title).texts
    assert texts == ["a" * 400, None, None]


@pytest.mark.parametrize(
    ("events", "choice", "fault"),
    [
        ([], {}, "no event of stream 's'; streams that were read: none; no record was read"),
        (["{", "", "[]"], {}, "no event of stream 's'; streams that were read: none"),
        (
            [event([1, 2], stream=name) for name in ("images", *map("s{}".format, range(25)))],
            {"stream": "imgaes"},
            "stream 'imgaes'; streams that were read: images, s0, .* and 6 more; did you mean images",
        ),
        (
            [event([1, 2], model_version="v1"), event([3, 4]), event([5, 6, 7], model_version="v2")],
            {},
            r"line 3: model version 'v2' after 'v1'.*--model-version",
        ),
        (
            [event([1, 2], model_version="v1")],
            {"stream": "s", "model_version": "v3"},
            "no event of stream 's' of model version 'v3'",
        ),
    ],
)
def test_events_that_need_a_choice_are_refused(
    tmp_path: Path, events: list[Any], choice: dict[str, str], fault: str
) -> None:
    with pytest.raises(InputError, match=fault):
        read(jsonl(tmp_path, *events), **choice)


def test_stream_and_model_version_are_chosen(tmp_path: Path) -> None:
    path = jsonl(tmp_path, event([1, 2], stream="b"), event([1, 2, 3], stream="a"), event([3, 4], stream="b"))
    np.testing.assert_array_equal(read(path, stream="b").vectors, [[1, 2], [3, 4]])
    versions = (("v1", [1, 2]), (None, [3, 4]), ("v2", [5, 6, 7]), ("v1", [8, 9]))
    path = jsonl(tmp_path, *(event(vector, model_version=version) for version, vector in versions))
    chosen = read(path, model_version="v1")
    np.testing.assert_array_equal(chosen.vectors, [[1, 2], [3, 4], [8, 9]])
    assert chosen.model_version == "v1"


@pytest.mark.parametrize(
    ("line", "fault"),
    [
        ("{", "line 2: undecodable: "),
        ('{"stream": "s", "timestamp": 1}', "line 2: invalid: .*embedding"),
        (json.dumps(event([1, 1e39])), "line 2: non_finite: "),
        (json.dumps(event([1, float("nan")])), "line 2: undecodable: "),
        (json.dumps(event([1, 2, 3])), "line 2: wrong_dimension: embedding: 3 numbers, the first have 2"),
    ],
)
def test_refused_lines_are_left_out_with_their_labels_and_ids(tmp_path: Path, line: str, fault: str) -> None:
    refusals = Refusals()
    path = jsonl(tmp_path, event([1, 2], event_id="a", digit=1), line, event([3, 4], event_id="c", digit=3))
    found = read(path, refusals, columns=TableColumns(name=LABEL))
    np.testing.assert_array_equal(found.vectors, [[1, 2], [3, 4]])
    assert (found.labels, found.event_ids) == (["1", "3"], ["a", "c"])
    (first,) = refusals.first
    assert re.search(rf"events\.jsonl, {fault}", first)
    assert refusals.numbers.total() == 1


def test_collector_grows_and_keeps_order() -> None:
    blocks = [np.full((700, 3), number, np.float32) for number in range(8)]
    collector = Collector(3, capacity=100)
    for number, block in enumerate(blocks):
        collector.add(block, np.full(700, number))
    collected = collector.finish("v1")
    np.testing.assert_array_equal(collected.vectors, np.concatenate(blocks))
    assert collected.times_ms is not None
    assert collected.times_ms.tolist() == np.repeat(np.arange(8), 700).tolist()
    assert (collected.model_version, collected.segments) == ("v1", None)


def test_collector_shares_mappings_of_kept_keys() -> None:
    collector = Collector(1, keys={"country"})
    vectors = np.ones((3, 1), np.float32)
    collector.add(vectors, segments=[{"country": "de", "user": "1"}, {"country": "de", "user": "2"}, None])
    segments = collector.finish(None).segments
    assert segments == ({"country": "de"}, {"country": "de"}, {})
    assert segments[0] is segments[1]


def test_collector_shares_labels_and_keeps_what_a_name_shows() -> None:
    collector = Collector(1, name=NameColumn("class", holds_texts=False))
    for long in ("é" * 1_000, "é" * 2_000):
        names = ["".join(["c", "ar"]), None, long]
        collector.add(np.ones((3, 1), np.float32), names=names, event_ids=["a", None, "b"])
    collected = collector.finish(None)
    assert collected.labels == ["car", None, "é" * 38 + "…"] * 2
    assert collected.labels[0] is collected.labels[3]
    assert collected.event_ids == ["a", None, "b"] * 2
    assert collected.texts is None
