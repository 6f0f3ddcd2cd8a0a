"""Commands that are used wrongly: one message with the remedy, no output, status 2."""

import numpy as np
import pytest

from tests.builders.baselines import save_baseline
from tests.builders.configs import write_config
from tests.cli.command import run

MONDAY = "2025-11-03T00:00:00Z"
CHECK = ["config", "check", "--config", "mapped/driftgauge.yaml"]
PLAN = ["plan", "--events-per-hour", "1"]
PUBLISH = ["publish", "a.npy", "--config", "c", "--stream", "s"]
FROM = ["--from", MONDAY]
REPORT = ["report", "--config", "driftgauge.yaml"]
REPLAY = ["replay", "events.jsonl.gz", "--config", "driftgauge.yaml"]
SEVERAL = "name INPUT, a file, or --topic with --config and --from"
UNREADABLE = "driftgauge: absent.yaml cannot be read"
UNSAVED = "driftgauge: absent.safetensors does not exist; fit it"
MAPPED = {
    "topics": {"events": ["embeddings", "orders"]},
    "inputs": {
        "orders": {"stream": {"constant": "images"}, "timestamp": {"record": "timestamp"}, "embedding": "v"}
    },
}


def publish(config, *arguments):
    return ["publish", "events.jsonl.gz", "--config", config, *arguments]


def fit(*arguments):
    return ["baseline", "fit", "--stream", "s", "--out", "b.safetensors", *arguments]


@pytest.fixture
def folder(tmp_path, monkeypatch, config, events):
    """A working folder with configurations, events, vectors and an empty file."""
    (tmp_path / "mapped").mkdir()
    write_config(tmp_path / "mapped", **MAPPED)
    np.save(tmp_path / "vectors.npy", np.random.default_rng(0).normal(size=(800, 4)).astype("f4"))
    (tmp_path / "empty.jsonl").touch()
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    ("arguments", "part"),
    [
        ([], "Usage: "),
        (["nonsense"], "No such command 'nonsense'"),
        (["serve"], "Missing option '--config'"),
        (["serve", "--config", "absent.yaml"], "absent.yaml cannot be read"),
        (["config", "check", "--config", "absent.yaml"], UNREADABLE),
        (["config", "check", "--config", "absent.yaml", "--sample", "a"], UNREADABLE),
        (
            [*CHECK, "--sample", "a.jsonl", "--topic", "orders"],
            "a.jsonl cannot be read (No such file or directory)",
        ),
        ([*CHECK, "--topic", "orders"], "--topic names the topic of a sample; add --sample, or leave it out"),
        (["health", "--config", "absent.yaml"], UNREADABLE),
        (["events", "peek", "--config", "absent.yaml"], "Missing option '--topic'"),
        (["events", "peek", "--config", "absent.yaml", "--topic", "t"], UNREADABLE),
        (["events", "peek", "--config", "c", "--topic", "t", "--last", "0"], "0 is not in the range"),
        (["baseline", "show", "absent.safetensors"], UNSAVED),
        (fit("absent.npy"), "driftgauge: absent.npy"),
        (fit("a.npy", "--clusters", "1"), "'--clusters'"),
        (fit("a.npy", "--window", "0s"), "is not a window length"),
        (fit("a.npy", "--segment", "de"), "does not choose"),
        (fit("a.npy", "--out", "no/b"), "no is not a folder; create it, or choose another path for --out"),
        (fit("vectors.npy", "--segment", "k=v"), "only events carry segments; fit on a .jsonl or .jsonl.gz"),
        (fit(), SEVERAL),
        (fit("a.npy", "--topic", "t"), "--topic needs --config"),
        (fit("a.npy", "--from", MONDAY), "--from and --until belong to --topic without INPUT"),
        (fit("--topic", "t", "--time-column", "at"), "--array and the options of columns are not for"),
        (fit("--topic", "t", "--id-column", "id"), "the options of columns are not for"),
        (fit("--topic", "t"), "--topic needs --config, the configuration file, and --from"),
        (
            fit("--topic", "t", "--config", "c", "--from", MONDAY, "--until", MONDAY),
            "--until must be later than --from",
        ),
        (fit("a.txt"), "name a .npy, .npz, .jsonl or .jsonl.gz file, or one of .parquet, .arrow"),
        (
            fit("a.npy", "--label", "l", "--text", "t"),
            "--label and --text both name clusters; give one of them",
        ),
        ([*PUBLISH, "--span", "5"], "'5' is not a duration"),
        ([*PUBLISH, "--start", "5"], "not an RFC 3339 date-time"),
        (
            publish("driftgauge.yaml", "--stream", "nobody"),
            "has no stream nobody; the service would refuse all of its events; add the stream to streams",
        ),
        (publish("driftgauge.yaml", "--stream", "image"), "events; did you mean images?"),
        (
            publish("driftgauge.yaml", "--stream", "images", "--topic", "embedings"),
            "embedings is not read; did you mean embeddings?",
        ),
        (
            publish("mapped/driftgauge.yaml", "--stream", "images", "--topic", "orders"),
            "the service would refuse there; choose a topic without a mapping (--topic), or take inputs.",
        ),
        (["plan"], "Missing option '--events-per-hour'"),
        (["plan", "--events-per-hour", "0"], "0.0 is not in the range x>0"),
        (["plan", "--events-per-hour", "nan"], "nan is not a finite number"),
        (["plan", "--events-per-hour", "inf"], "inf is not a finite number"),
        ([*PLAN, "--overdispersion", "0.9"], "'--overdispersion'"),
        ([*PLAN, "--smallest-js-divergence", "2"], "'--smallest-js-divergence'"),
        ([*PLAN, "--baseline", "absent.safetensors", "--clusters", "9"], "leave out --clusters"),
        ([*PLAN, "--baseline", "absent.safetensors"], UNSAVED),
        (["replay", "--config", "x.yaml"], "name FILES of records, or --topic and --from"),
        (["replay", "absent.jsonl", "--config", "driftgauge.yaml"], "driftgauge: no such file:"),
        ([*REPLAY, "--until", MONDAY], "and no range with FILES"),
        ([*REPLAY, "--openmetrics", "h", "--label", "job"], "--label job: write NAME=VALUE"),
        ([*REPLAY, "--openmetrics", "h", "--label", "1a=b"], "--label 1a=b: write"),
        ([*REPORT, "a.jsonl", *FROM, "--json"], "and no range with FILES"),
        ([*REPORT, "a.jsonl"], "nothing to write; name a file with --out, or print --json"),
        ([*REPORT, "a.jsonl", "--json", "--window", "0s"], "is not a window length"),
        ([*REPORT, "absent.jsonl", "--json"], "absent.jsonl cannot be read"),
        (
            [*REPORT, "empty.jsonl", "--json"],
            "driftgauge: there is no window in the replay of empty.jsonl; check what it holds",
        ),
    ],
)
def test_wrong_use_prints_one_message_and_exits_with_2(folder, arguments, part):
    done = run(*arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert part in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    "arguments",
    [
        ["serve"],
        ["page"],
        ["publish", "events.jsonl.gz", "--stream", "images"],
        ["events", "peek", "--topic", "embeddings"],
        ["report", "--json"],
        ["report", *FROM, "--json"],
    ],
)
def test_command_that_connects_needs_kafka(tmp_path, arguments):
    config = write_config(tmp_path, nope=1)
    config.write_text(config.read_text().replace("kafka:", "other:"))
    done = run(*arguments, "--config", config)
    assert (done.returncode, done.stdout) == (2, "")
    assert "  - kafka: Field required" in done.stderr
    assert "  - nope: no such key; remove it" in done.stderr


@pytest.mark.parametrize(
    "arguments",
    [["events", "peek", "--topic", "embeddings"], ["report", "--json"]],
)
def test_command_without_brokers_exits_with_1(tmp_path, arguments):
    save_baseline(tmp_path)
    kafka = {"bootstrap.servers": "127.0.0.1:1", "group.id": "driftgauge"}
    done = run(*arguments, "--config", write_config(tmp_path, kafka=kafka))
    assert (done.returncode, done.stdout) == (1, "")
    assert "cannot connect to the Kafka cluster (127.0.0.1:1" in done.stderr
    assert "Connection refused" in done.stderr
