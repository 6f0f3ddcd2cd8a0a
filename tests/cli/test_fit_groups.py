"""Tests of `driftgauge baseline fit --group`."""

import json

import numpy as np
import orjson

from tests.builders.baselines import draw_bursts
from tests.cli.command import run


def write_articles(path, key="document"):
    """Write events without a useful time, in articles of five paragraphs."""
    vectors = draw_bursts(2_000, 5)
    lines = [
        orjson.dumps(
            {
                "stream": "s",
                "timestamp": 1_762_128_000_000,
                "embedding": vector,
                "segments": {key: str(row // 5)},
            },
            option=orjson.OPT_SERIALIZE_NUMPY,
        )
        for row, vector in enumerate(np.ascontiguousarray(vectors))
    ]
    path.write_bytes(b"\n".join(lines))


def test_groups_of_events_measure_overdispersion(tmp_path):
    write_articles(tmp_path / "events.jsonl")
    out = tmp_path / "s.safetensors"
    arguments = ("fit", tmp_path / "events.jsonl", "--stream", "s", "--clusters", 6, "--out", out)
    done = run("baseline", *arguments, "--group", "document")
    assert done.returncode == 0, done.stderr
    shown = json.loads(run("baseline", "show", out, "--json").stdout)
    assert shown["window_ms"] is None
    assert shown["groups"] == shown["overdispersion"]["windows"]
    assert 3 < shown["overdispersion"]["counts"] < 7
    assert shown["segments"] == []


def test_unknown_group_is_refused_with_remedy(tmp_path):
    write_articles(tmp_path / "events.jsonl")
    arguments = ("fit", tmp_path / "events.jsonl", "--stream", "s", "--clusters", 6, "--out", tmp_path / "s")
    done = run("baseline", *arguments, "--group", "user")
    assert done.returncode == 2
    assert "no vector has a group 'user'" in done.stderr
