"""`driftgauge baseline fit --label`, `--text` and `--id-column`: names and examples of clusters."""

import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet
import pytest

from tests.builders.clocks import HOUR_MS, MONDAY_MS
from tests.cli.command import run

TEXTS = ("the hockey game", "a fast car engine")


@pytest.fixture
def columns():
    """Return 200 vectors of two clusters, and their classes."""
    random = np.random.default_rng(0)
    classes = random.integers(2, size=200)
    vectors = 5 * np.eye(4)[classes] + random.normal(scale=0.1, size=(200, 4))
    return vectors.astype("f4"), classes


def write_source(folder, kind, vectors, classes):
    labels = [("ice", "road")[each] for each in classes]
    texts = [TEXTS[each] for each in classes]
    ids = [f"{label}-{row}" for row, label in enumerate(labels)]
    if kind == "npz":
        np.savez(folder / "a.npz", v=vectors, label=labels, text=texts, id=ids)
        return folder / "a.npz"
    if kind == "parquet":
        table = {"v": list(vectors), "label": labels, "text": texts, "id": ids}
        pa.parquet.write_table(pa.table(table), folder / "a.parquet")
        return folder / "a.parquet"
    lines = [
        json.dumps(
            {
                "stream": "s",
                "timestamp": MONDAY_MS + row * HOUR_MS,
                "embedding": vector,
                "segments": {"label": labels[row]},
                "text": texts[row],
                "event_id": ids[row],
            }
        )
        for row, vector in enumerate(vectors.tolist())
    ]
    (folder / "a.jsonl").write_text("\n".join(lines))
    return folder / "a.jsonl"


def fit(folder, *arguments):
    out = folder / "out.safetensors"
    done = run("baseline", "fit", *arguments, "--stream", "s", "--clusters", 2, "--out", out)
    shown = json.loads(run("baseline", "show", out, "--json").stdout) if done.returncode == 0 else None
    return done, shown


@pytest.mark.parametrize("kind", ["npz", "parquet", "jsonl"])
def test_labels_and_texts_name_clusters(tmp_path, columns, kind):
    source = write_source(tmp_path, kind, *columns)
    ids = () if kind == "jsonl" else ("--id-column", "id")
    done, shown = fit(tmp_path, source, "--label", "label", *ids)
    assert done.returncode == 0, done.stderr
    assert sorted(each["name"] for each in shown["clusters"]) == ["ice", "road"]
    for cluster in shown["clusters"]:
        assert len(cluster["example_ids"]) == 5
        assert all(each.startswith(cluster["name"]) for each in cluster["example_ids"])
    done, shown = fit(tmp_path, source, "--text", "text")
    assert done.returncode == 0, done.stderr
    assert sorted(each["name"] for each in shown["clusters"]) == ["car, engine, fast", "game, hockey"]
    assert shown["clusters"][0]["example_ids"] == [] or kind == "jsonl"


def test_fit_reports_names_and_missing_examples(tmp_path, columns):
    vectors, classes = columns
    texts = [("冰球比赛", "快速汽车")[each] + "好" * row for row, each in enumerate(classes)]
    ids = [f"{row:065}" for row in range(len(classes))]
    np.savez(tmp_path / "a.npz", v=vectors, label=classes, text=texts, id=ids)
    done, _ = fit(tmp_path, tmp_path / "a.npz", "--label", "label", "--id-column", "id")
    assert "\n2 of 2 clusters are named by labels\n" in done.stderr
    assert (
        "warning: no cluster keeps examples: no held-out vector has an event id of at most 64" in done.stderr
    )
    done, _ = fit(tmp_path, tmp_path / "a.npz", "--text", "text")
    assert done.returncode == 0
    assert "sets the texts of a cluster apart: 0 of 2 clusters are named by texts\n" in done.stderr
    done, _ = fit(tmp_path, tmp_path / "a.npz")
    assert "named by" not in done.stderr


@pytest.mark.parametrize(
    ("arguments", "fault"),
    [
        (("--label", "label", "--text", "text"), "--label and --text both name clusters; give one of them"),
        (("--label", "none"), "no vector has a label 'none'; name a column with values"),
        (("--text", "none"), "or a path in the record's value, or leave out --text"),
    ],
)
def test_unusable_names_exit_with_2(tmp_path, columns, arguments, fault):
    done, _ = fit(tmp_path, write_source(tmp_path, "jsonl", *columns), *arguments)
    assert done.returncode == 2
    assert fault in done.stderr


def test_id_column_belongs_to_file(tmp_path):
    done, _ = fit(tmp_path, "--topic", "t", "--id-column", "id")
    assert done.returncode == 2
    assert "the options of columns belong to INPUT" in done.stderr
