"""Tests of `driftgauge.baseline.vectors`."""

import base64
import gzip
import json
import pickle
import re
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from driftgauge.baseline.collecting import NameColumn, VectorSet
from driftgauge.baseline.table_layout import TableColumns
from driftgauge.baseline.vectors import read_vectors
from driftgauge.errors import InputError
from driftgauge.events.refusals import Refusals

VECTORS = np.arange(12, dtype=np.float32).reshape(4, 3) / 8


def read(path: Path, refusals: Refusals | None = None, **choice: Any) -> VectorSet:
    return read_vectors(path, refusals=refusals or Refusals(), **choice)


def npy(folder: Path, array: np.ndarray) -> Path:
    np.save(folder / "vectors.npy", array)
    return folder / "vectors.npy"


def npz(folder: Path, **arrays: np.ndarray) -> Path:
    np.savez_compressed(folder / "vectors.npz", **arrays)
    return folder / "vectors.npz"


def event(
    values: list[float], *, stream: str = "s", time_ms: int = 1_000, **more: object
) -> dict[str, object]:
    return {"stream": stream, "timestamp": time_ms, "embedding": values, **more}


def jsonl(folder: Path, *events: dict[str, object] | str) -> Path:
    path = folder / "events.jsonl"
    path.write_text("".join(f"{e if isinstance(e, str) else json.dumps(e)}\n" for e in events))
    return path


@pytest.mark.parametrize("dtype", ["<f2", "<f4", "<f8", ">f4"])
def test_read_converts_float_array_to_float32(tmp_path: Path, dtype: str) -> None:
    read_back = read(npy(tmp_path, VECTORS.astype(dtype)), model_version="v1")
    np.testing.assert_array_equal(read_back.vectors, VECTORS)
    assert read_back.vectors.dtype == np.float32
    assert read_back.times_ms is None
    assert read_back.model_version == "v1"
    assert read_back.segments is None


@pytest.mark.parametrize("dtype", [np.uint8, np.int64, np.bool_, np.complex64])
def test_read_rejects_array_of_other_dtype(tmp_path: Path, dtype: type) -> None:
    with pytest.raises(InputError, match=rf"holds {np.dtype(dtype)}; .* save them as float32"):
        read(npy(tmp_path, VECTORS.astype(dtype)))


@pytest.mark.parametrize("shape", [(12,), (2, 2, 3), (0, 3), (3, 0), ()])
def test_read_rejects_array_of_other_shape(tmp_path: Path, shape: tuple[int, ...]) -> None:
    with pytest.raises(InputError, match=r"as an array \(n, d\), one per row; the shape is \("):
        read(npy(tmp_path, np.ones(shape, np.float32)))


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1e39])
def test_read_names_rows_not_finite_in_float32(tmp_path: Path, value: float) -> None:
    array = np.zeros((20, 3))
    array[[4, 7, 8, 9, 11, 13], 1] = value
    with pytest.raises(
        InputError, match=r"vectors\.npy: 6 of 20 rows .* row 4, 7, 8, 9, 11 \(counted from 0\)"
    ):
        read(npy(tmp_path, array))


def test_read_takes_only_matrix_of_archive(tmp_path: Path) -> None:
    path = npz(tmp_path, labels=np.arange(4), train=VECTORS)
    np.testing.assert_array_equal(read(path).vectors, VECTORS)


def test_read_of_several_matrices_needs_choice(tmp_path: Path) -> None:
    path = npz(tmp_path, labels=np.arange(4), train=VECTORS, test=VECTORS[:2])
    with pytest.raises(InputError, match=r"choose one with --array: train \(4, 3\), test \(2, 3\)$"):
        read(path)
    np.testing.assert_array_equal(read(path, array="test").vectors, VECTORS[:2])


def test_read_of_missing_array_lists_arrays(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no array 'trian'; choose with --array one of: labels, train"):
        read(npz(tmp_path, labels=np.arange(4), train=VECTORS), array="trian")


def test_read_rejects_chosen_array_of_other_shape(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"the shape is \(4,\)"):
        read(npz(tmp_path, labels=np.arange(4), train=VECTORS), array="labels")


def test_read_rejects_archive_without_matrix(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"the file holds labels \(4,\)"):
        read(npz(tmp_path, labels=np.arange(4)))


def test_read_ignores_other_members_of_archive(tmp_path: Path) -> None:
    path = npz(tmp_path, train=VECTORS)
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("README", "hello")
    assert len(read(path).vectors) == 4


LABEL = NameColumn("digit", holds_texts=False)


def test_read_takes_labels_and_ids_of_archive(tmp_path: Path) -> None:
    path = npz(
        tmp_path, a=VECTORS, digit=np.array([3, 1, 4, 1], np.uint8), ids=np.array(["a", "b", "c", "ü"])
    )
    result = read(path, columns=TableColumns(name=LABEL, event_id="ids"))
    np.testing.assert_array_equal(result.vectors, VECTORS)
    assert result.labels == ["3", "1", "4", "1"]
    assert result.event_ids == ["a", "b", "c", "ü"]
    assert result.texts is None
    texts = read(path, columns=TableColumns(name=NameColumn("ids", holds_texts=True))).texts
    assert texts is not None
    assert texts.texts == ["a", "b", "c", "ü"]


@pytest.mark.parametrize("labels", [np.zeros(3, int), np.zeros((4, 1), int), np.zeros(4)])
def test_read_rejects_unusable_labels_of_archive(tmp_path: Path, labels: np.ndarray) -> None:
    with pytest.raises(InputError, match=r"array 'digit' of --label holds .*; give text or whole numbers"):
        read(npz(tmp_path, a=VECTORS, digit=labels), array="a", columns=TableColumns(name=LABEL))


def test_read_rejects_pickled_labels_of_archive(tmp_path: Path) -> None:
    path = npz(tmp_path, a=VECTORS, digit=np.array(["a", None, "b", "c"], object))
    for array in (None, "a"):
        with pytest.raises(InputError, match=r"npz: array 'digit' holds Python objects; .*\.astype\(str\)$"):
            read(path, array=array, columns=TableColumns(name=LABEL))


def test_refused_events_take_their_labels_and_ids_with_them(tmp_path: Path) -> None:
    path = jsonl(
        tmp_path,
        event([1, 2], event_id="a", digit=1),
        event([1, 2, 3], event_id="b", digit=2),
        event([3, 4], event_id="c", digit=3),
    )
    result = read(path, columns=TableColumns(name=LABEL))
    assert (result.labels, result.event_ids) == (["1", "3"], ["a", "c"])


def test_read_of_missing_labels_lists_arrays(tmp_path: Path) -> None:
    path = npz(tmp_path, a=VECTORS)
    for option, columns in (
        ("--label", TableColumns(name=LABEL)),
        ("--text", TableColumns(name=NameColumn("digit", holds_texts=True))),
        ("--id-column", TableColumns(event_id="digit")),
    ):
        with pytest.raises(InputError, match=rf"no array 'digit'; choose with {option} one of: a$"):
            read(path, columns=columns)


def test_read_of_plain_array_refuses_labels_with_remedy(tmp_path: Path) -> None:
    for columns in (TableColumns(name=LABEL), TableColumns(event_id="digit")):
        with pytest.raises(InputError, match=r"holds vectors alone, and no 'digit'; save .* with np\.savez"):
            read(npy(tmp_path, VECTORS), columns=columns)


def test_read_takes_labels_texts_and_ids_of_events(tmp_path: Path) -> None:
    path = jsonl(
        tmp_path,
        event([1, 2], event_id="a", segments={"digit": "3"}, meta={"title": "first"}),
        event([1, 2], stream="t", event_id="b", segments={"digit": "4"}),
        event([3, 4], digit=1),
    )
    result = read(path, stream="s", columns=TableColumns(name=LABEL))
    assert result.labels == ["3", "1"]
    assert result.event_ids == ["a", None]
    texts = read(
        path, stream="s", columns=TableColumns(name=NameColumn("meta.title", holds_texts=True))
    ).texts
    assert texts is not None
    assert (texts.rows.tolist(), texts.texts) == ([0], ["first"])


@pytest.mark.parametrize("name", ["vectors.npy", "vectors.npz"])
def test_read_rejects_pickle(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(pickle.dumps(VECTORS))
    with pytest.raises(InputError, match="cannot be read"):
        read(tmp_path / name)


def test_read_rejects_object_array(tmp_path: Path) -> None:
    objects = np.array([{}], dtype=object)
    with pytest.raises(InputError, match=r"cannot be read .*Object arrays"):
        read(npy(tmp_path, objects))
    with pytest.raises(InputError, match="array 'objects' holds Python objects"):
        read(npz(tmp_path, objects=objects))


@pytest.mark.parametrize("name", ["a.jsonl", "a.jsonl.gz"])
def test_read_of_events_takes_no_column_of_ids(tmp_path: Path, name: str) -> None:
    with pytest.raises(InputError, match=f"{name}: leave out --id-column; events have their event_id"):
        read(tmp_path / name, columns=TableColumns(event_id="id"))


@pytest.mark.parametrize("name", ["a.npy", "a.npz", "a.jsonl", "a.jsonl.gz"])
def test_read_of_missing_file_names_path(tmp_path: Path, name: str) -> None:
    with pytest.raises(InputError, match=rf"{name}:? cannot be read \(No such file"):
        read(tmp_path / name)


def test_read_rejects_truncated_array_file(tmp_path: Path) -> None:
    for path in (npy(tmp_path, VECTORS), npz(tmp_path, train=VECTORS)):
        content = path.read_bytes()
        for length in range(0, len(content), 7):
            path.write_bytes(content[:length])
            with pytest.raises(InputError, match="cannot be read"):
                read(path)


def test_read_rejects_unknown_format(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"name a \.npy, \.npz, \.jsonl or \.jsonl\.gz file"):
        read(tmp_path / "vectors.csv")


@pytest.mark.parametrize("name", ["a.npy", "a.jsonl"])
def test_read_rejects_choice_of_array_without_archive(tmp_path: Path, name: str) -> None:
    with pytest.raises(InputError, match=r"--array chooses an array of a \.npz file; leave it out"):
        read(tmp_path / name, array="train")


def test_read_keeps_order_of_events(tmp_path: Path) -> None:
    packed = base64.b64encode(VECTORS[1].astype("<f4").tobytes()).decode()
    path = jsonl(
        tmp_path,
        event(VECTORS[0].tolist(), time_ms=5_000),
        {"stream": "s", "timestamp": "1970-01-01T00:00:02+00:00", "embedding_b64": packed},
    )
    result = read(path)
    np.testing.assert_array_equal(result.vectors, VECTORS[:2])
    assert result.vectors.dtype == np.float32
    assert result.times_ms is not None
    assert result.times_ms.tolist() == [5_000, 2_000]
    assert result.times_ms.dtype == np.int64
    assert result.model_version is None


def test_read_returns_segments_of_events(tmp_path: Path) -> None:
    path = jsonl(
        tmp_path,
        event([1, 2], segments={"country": "de", "device": "tv"}),
        event([1, 2]),
        event([1, 2], stream="t", segments={"country": "us"}),
        event([3, 4], segments={"country": "fr"}),
    )
    assert read(path, stream="s").segments == ({"country": "de", "device": "tv"}, {}, {"country": "fr"})


def test_read_decompresses_gzipped_events(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl.gz"
    path.write_bytes(gzip.compress(json.dumps(event([1, 2])).encode()))
    np.testing.assert_array_equal(read(path).vectors, [[1, 2]])


def test_read_rejects_truncated_gzip_file(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl.gz"
    path.write_bytes(gzip.compress(json.dumps(event([1, 2])).encode() + b"\n")[:-5])
    with pytest.raises(InputError, match="cannot be read"):
        read(path)


@pytest.mark.parametrize(
    ("line", "fault"),
    [
        ("{", "line 2: undecodable: "),
        ('{"stream": "s", "timestamp": 1}', "line 2: invalid: .*embedding"),
        (json.dumps(event([1, 1e39])), "line 2: non_finite: "),
        (json.dumps(event([1, float("nan")])), "line 2: undecodable: "),
    ],
)
def test_read_leaves_refused_lines_out(tmp_path: Path, line: str, fault: str) -> None:
    refusals = Refusals()
    found = read(jsonl(tmp_path, event([1, 2]), line, event([3, 4])), refusals)
    np.testing.assert_array_equal(found.vectors, [[1, 2], [3, 4]])
    (first,) = refusals.first
    assert re.search(rf"events\.jsonl, {fault}", first)
    assert refusals.numbers.total() == 1


def test_compressed_file_without_sound_event_is_an_error(tmp_path: Path) -> None:
    refusals = Refusals()
    path = tmp_path / "events.jsonl.gz"
    path.write_bytes(gzip.compress(b"{\n\n[]\n"))
    with pytest.raises(InputError, match="no event; streams in the file: none"):
        read(path, refusals)
    assert [line.split(": ")[:2] for line in refusals.first] == [
        [f"{path}, line 1", "undecodable"],
        [f"{path}, line 3", "invalid"],
    ]


def test_read_of_several_streams_needs_choice(tmp_path: Path) -> None:
    path = jsonl(tmp_path, event([1, 2], stream="b"), event([1, 2, 3], stream="a"), event([3, 4], stream="b"))
    with pytest.raises(InputError, match="line 2: a second stream; choose one with --stream: a, b"):
        read(path)
    np.testing.assert_array_equal(read(path, stream="b").vectors, [[1, 2], [3, 4]])


def test_read_of_missing_stream_lists_streams(tmp_path: Path) -> None:
    path = jsonl(tmp_path, event([1, 2], stream="b"), event([1, 2], stream="a"))
    with pytest.raises(InputError, match="no event of stream 'c'; streams in the file: a, b"):
        read(path, stream="c")


def test_read_rejects_file_without_events(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no event; streams in the file: none"):
        read(jsonl(tmp_path))


def test_read_of_several_model_versions_needs_choice(tmp_path: Path) -> None:
    path = jsonl(
        tmp_path,
        event([1, 2], model_version="v1"),
        event([3, 4]),
        event([5, 6, 7], model_version="v2"),
        event([8, 9], model_version="v1"),
    )
    with pytest.raises(InputError, match=r"line 3: model version 'v2' after 'v1'.*--model-version"):
        read(path)
    chosen = read(path, model_version="v1")
    np.testing.assert_array_equal(chosen.vectors, [[1, 2], [3, 4], [8, 9]])
    assert chosen.model_version == "v1"
    with pytest.raises(InputError, match="no event of stream 's' of model version 'v3'"):
        read(jsonl(tmp_path, event([1, 2], model_version="v1")), stream="s", model_version="v3")


def test_read_takes_model_version_from_later_event(tmp_path: Path) -> None:
    assert read(jsonl(tmp_path, event([1, 2]), event([1, 2], model_version="v1"))).model_version == "v1"


def test_read_leaves_events_of_rare_dimensions_out(tmp_path: Path) -> None:
    refusals = Refusals()
    # More events than are added at once, the first and the last of another dimension.
    events = [event([1]), *(event([n, 2]) for n in range(600)), event([1, 2, 3])]
    found = read(jsonl(tmp_path, *events), refusals)
    assert found.vectors.shape == (600, 2)
    path = tmp_path / "events.jsonl"
    assert refusals.first == [
        f"{path}, line 1: wrong_dimension: embedding: 1 numbers, most events have 2",
        f"{path}, line 602: wrong_dimension: embedding: 3 numbers, most events have 2",
    ]
