"""Tests of `driftgauge.baseline.tables`."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.feather
import pyarrow.ipc
import pyarrow.parquet
import pytest

from driftgauge.baseline import tables
from driftgauge.baseline.collecting import NameColumn, TableColumns, VectorSet
from driftgauge.baseline.vectors import read_vectors
from driftgauge.errors import InputError
from driftgauge.events.refusals import Refusals
from driftgauge.events.vectors import VectorFormat
from driftgauge.progress import WorkProgress
from tests.builders.clocks import MONDAY_MS

VECTORS = np.arange(12, dtype=np.float32).reshape(4, 3) / 8
LISTS = VECTORS.tolist()
TIMES = [MONDAY_MS + 5_000, MONDAY_MS, MONDAY_MS + 3_000, MONDAY_MS + 4_000]


def parquet(folder: Path, columns: dict[str, Any], **options: Any) -> Path:
    path = folder / "vectors.parquet"
    pa.parquet.write_table(pa.table(columns), path, **options)
    return path


def read(
    path: Path, model_version: str | None = None, refusals: Refusals | None = None, **columns: Any
) -> VectorSet:
    return read_vectors(
        path,
        model_version=model_version,
        refusals=refusals or Refusals(),
        columns=TableColumns(**columns),
    )


def vectors_of(kind: pa.DataType) -> pa.Array:
    return pa.array(LISTS, kind)


def packed(dtype: str, kind: pa.DataType) -> pa.Array:
    return pa.array([row.astype(dtype).tobytes() for row in VECTORS], kind)


@pytest.mark.parametrize(
    ("column", "number"),
    [
        *(
            (vectors_of(kind), "f32")
            for kind in (
                pa.list_(pa.float32()),
                pa.list_(pa.float64()),
                pa.list_(pa.float16()),
                pa.large_list(pa.float32()),
                pa.list_(pa.float32(), 3),
            )
        ),
        *((packed("<f4", kind), "f32") for kind in (pa.binary(), pa.large_binary(), pa.binary(12))),
        (packed("<f2", pa.binary()), "f16"),
    ],
    ids=lambda value: str(getattr(value, "type", value)),
)
def test_lists_and_bytes_of_floats_are_vectors(tmp_path: Path, column: pa.Array, number: str) -> None:
    path = parquet(tmp_path, {"id": [1, 2, 3, 4], "embedding": column})
    result = read(path, number=VectorFormat(number))
    np.testing.assert_array_equal(result.vectors, VECTORS)
    assert result.vectors.dtype == np.float32
    assert (result.times_ms, result.model_version, result.segments) == (None, None, None)


@pytest.mark.parametrize("suffix", [".feather", ".arrow", ".ipc"])
def test_arrow_files_and_streams_are_read(tmp_path: Path, suffix: str) -> None:
    path, table = tmp_path / f"vectors{suffix}", pa.table({"v": LISTS})
    pa.feather.write_feather(table, str(path), chunksize=3)
    np.testing.assert_array_equal(read(path).vectors, VECTORS)
    with pa.ipc.new_stream(str(path), table.schema) as stream:
        stream.write_table(table)
    np.testing.assert_array_equal(read(path).vectors, VECTORS)


def test_read_keeps_order_over_batches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tables, "BATCH_ROWS", 3)
    vectors = np.random.default_rng(0).normal(size=(50, 4)).astype("f4")
    path = parquet(tmp_path, {"v": list(vectors)}, row_group_size=7)
    np.testing.assert_array_equal(read(path).vectors, vectors)


@pytest.mark.parametrize(
    ("column", "unit"),
    [
        (pa.array(TIMES, pa.timestamp("ms", "UTC")), "ms"),
        (pa.array([time * 1_000_000 for time in TIMES], pa.timestamp("ns", "Europe/Berlin")), "ms"),
        (pa.array(TIMES), "ms"),
        (pa.array([time // 1_000 for time in TIMES], pa.int32()), "s"),
        (pa.array([time * 1_000 for time in TIMES]), "us"),
        (pa.array([datetime.fromtimestamp(time / 1_000, UTC).isoformat() for time in TIMES]), "ms"),
    ],
)
def test_read_takes_times(tmp_path: Path, column: pa.Array, unit: str) -> None:
    result = read(parquet(tmp_path, {"v": LISTS, "at": column}), time="at", time_unit=unit)
    assert result.times_ms is not None
    assert result.times_ms.tolist() == TIMES


@pytest.mark.parametrize(
    "column",
    [
        pa.array(TIMES, pa.timestamp("ms")),
        pa.array([f"{datetime.fromtimestamp(time / 1_000, UTC):%Y-%m-%dT%H:%M:%S}" for time in TIMES]),
        pa.array(
            [
                f"{datetime.fromtimestamp(time / 1_000, UTC):%Y-%m-%d %H:%M:%S}{zone}"
                for time, zone in zip(TIMES, ("Z", "", "+00:00", ".000"), strict=True)
            ]
        ),
        pa.array([datetime.fromtimestamp(time / 1_000, UTC).date() for time in TIMES]),
    ],
    ids=("timestamps", "texts", "mixed", "dates"),
)
def test_times_without_an_offset_are_taken_only_as_assumed_utc(tmp_path: Path, column: pa.Array) -> None:
    path = parquet(tmp_path, {"v": LISTS, "at": column})
    with pytest.raises(InputError, match=r"row [01] .*the time has no offset from UTC; .* give --assume-utc"):
        read(path, time="at")
    result = read(path, time="at", assume_utc=True)
    assert result.times_ms is not None
    is_date = pa.types.is_date(column.type)
    assert result.times_ms.tolist() == ([MONDAY_MS] * 4 if is_date else TIMES)


def test_columns_are_segments_labels_texts_and_ids(tmp_path: Path) -> None:
    columns = {
        "v": LISTS,
        "land": pa.array(["de", None, "fr", "de"]).dictionary_encode(),
        "tablet": [True, False, True, True],
        "class": ["a", "b", None, "a"],
        "id": [7, 8, 9, 6],
        "title": ["one", None, "three", "four"],
    }
    path = parquet(tmp_path, columns)
    assert read(path, segments=("land", "tablet")).segments == (
        {"land": "de", "tablet": "true"},
        {"tablet": "false"},
        {"land": "fr", "tablet": "true"},
        {"land": "de", "tablet": "true"},
    )
    name = NameColumn("class", holds_texts=False)
    result = read(path, "1", name=name, event_id="id")
    assert (result.labels, result.event_ids) == (["a", "b", None, "a"], ["7", "8", "9", "6"])
    assert (result.texts, result.model_version) == (None, "1")
    result = read(path, name=NameColumn("title", holds_texts=True))
    assert result.texts == ["one", None, "three", "four"]
    assert (result.labels, result.event_ids) == (None, None)


@pytest.mark.parametrize(
    ("values", "kind"), [([1.0, None, 2.0, 3.0], "double"), ([[1]] * 4, r"list<.*>"), ([0.5] * 4, "double")]
)
@pytest.mark.parametrize(
    ("option", "columns"),
    [
        ("--label", {"name": NameColumn("c", holds_texts=False)}),
        ("--text", {"name": NameColumn("c", holds_texts=True)}),
        ("--id-column", {"event_id": "c"}),
        ("--segment", {"segments": ("c",)}),
    ],
)
def test_read_refuses_floats_and_lists_as_text(
    tmp_path: Path, values: Any, kind: str, option: str, columns: dict[str, Any]
) -> None:
    path = parquet(tmp_path, {"v": LISTS, "c": values})
    expected = rf"vectors\.parquet: column 'c' of {option} holds {kind}; give text or whole numbers"
    with pytest.raises(InputError, match=expected):
        read(path, vector="v", **columns)


LISTED = r"the columns are v \(list"


@pytest.mark.parametrize(
    ("table", "choice", "fault"),
    [
        ({"v": pa.array([None, None], pa.list_(pa.float32()))}, {}, "no rows; give a file that has some"),
        ({"v": pa.array([[], []], pa.list_(pa.float32()))}, {}, r"row 0 .*no vector"),
        ({"v": [b"12345", b"12345"]}, {}, r"row 0 .*no vector of f32"),
        (
            {"v": [[1, 2], [3, 4]]},
            {},
            r"lists of floats or bytes, .*; the columns are v \(list<element: int64>\)",
        ),
        ({"v": []}, {}, r"lists of floats or bytes"),
        ({"v": LISTS, "at": [1, None, 3, 4]}, {"time": "at"}, "row 1 .*the time is null"),
        (
            {"v": LISTS, "at": [MONDAY_MS, MONDAY_MS // 1_000, 3, 4]},
            {"time": "at"},
            "row 1 .*before .*Z, or after the year 9999; check --time-unit",
        ),
        ({"v": LISTS, "at": ["noon"] * 4}, {"time": "at"}, "times of type string .*noon.*; give timestamps"),
        ({"v": LISTS, "at": [0.5] * 4}, {"time": "at"}, "row 0 .*times of type double .*; give timestamps"),
        ({"a": LISTS, "b": LISTS}, {}, r"with --vector-column; the columns are a .*, b "),
        ({"v": LISTS}, {"vector": "w"}, LISTED),
        ({"v": LISTS}, {"time": "w"}, LISTED),
        ({"v": LISTS}, {"segments": ("w",)}, LISTED),
    ],
)
def test_unusable_table_is_refused(
    tmp_path: Path, table: dict[str, Any], choice: dict[str, Any], fault: str
) -> None:
    with pytest.raises(InputError, match=fault):
        read(parquet(tmp_path, table), **choice)


@pytest.mark.parametrize(
    "kind",
    [pa.list_(pa.float32()), pa.list_(pa.float64()), pa.large_list(pa.float32()), pa.list_(pa.float64(), 2)],
    ids=str,
)
def test_read_leaves_refused_rows_out(tmp_path: Path, kind: pa.DataType) -> None:
    nan = float("nan")
    rows = [None, [1.0, 2.0], [1.0, None], [1.0, nan], [1e39, 1.0], [5.0, 6.0]]
    columns = {"v": pa.array(rows, kind), "at": [*range(MONDAY_MS, MONDAY_MS + 6)], "c": [*"abcdef"]}
    path = parquet(tmp_path, columns)
    refusals = Refusals()
    name = NameColumn("c", holds_texts=False)
    found = read(path, "v1", refusals, time="at", name=name, event_id="c", vector="v")
    assert (found.labels, found.event_ids) == (["b", "f"], ["b", "f"])
    np.testing.assert_array_equal(found.vectors, [[1, 2], [5, 6]])
    assert found.times_ms is not None
    assert found.times_ms.tolist() == [MONDAY_MS + 1, MONDAY_MS + 5]
    place = f"{path}, row {{}} (counted from 0)"
    assert refusals.first == [
        f"{place.format(0)}: invalid: the vector is null",
        *(
            f"{place.format(row)}: non_finite: the vector holds null, NaN, infinity or a value beyond float32"
            for row in (2, 3, 4)
        ),
    ]


def test_read_leaves_refused_bytes_out(tmp_path: Path) -> None:
    one = b"\0\0\x80\x3f"
    refusals = Refusals()
    found = read(parquet(tmp_path, {"v": [None, one * 2, one, one, b"\0\0\x80\x7f"]}), refusals=refusals)
    np.testing.assert_array_equal(found.vectors, [[1], [1]])
    assert refusals.by_reason() == {"invalid": 1, "wrong_dimension": 1, "non_finite": 1}
    assert "row 1 (counted from 0): wrong_dimension: the vector has 8 bytes, most have 4" in "".join(
        refusals.first
    )


def test_first_batch_sets_dimension_of_table(tmp_path: Path) -> None:
    path = tmp_path / "vectors.arrow"
    batches = [
        pa.record_batch({"v": pa.array(rows, pa.list_(pa.float32()))})
        for rows in ([[1.0, 2.0]], [[3.0], [4.0]], [[5.0, 6.0], None])
    ]
    with pa.ipc.new_file(path, batches[0].schema) as file:
        for batch in batches:
            file.write(batch)
    refusals = Refusals()
    np.testing.assert_array_equal(read(path, refusals=refusals).vectors, [[1, 2], [5, 6]])
    assert refusals.by_reason() == {"wrong_dimension": 2, "invalid": 1}


@pytest.mark.parametrize("name", ["vectors.parquet", "vectors.arrow"])
@pytest.mark.parametrize("content", [b"", b"PAR1 and no more", None])
def test_read_of_damaged_file_names_it(tmp_path: Path, name: str, content: bytes | None) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError, match=f"{name}: cannot be read .*name a complete Parquet or Arrow file"):
        read(tmp_path / name)


def test_progress_counts_rows(tmp_path: Path) -> None:
    path = parquet(tmp_path, {"v": LISTS * 5_000})
    reports: list[WorkProgress] = []
    read_vectors(path, refusals=Refusals(), track=reports.append)
    assert [work.done for work in reports] == [0, 8_192, 16_384, 20_000]
    assert {(work.noun, work.total) for work in reports} == {("rows read", 20_000)}
