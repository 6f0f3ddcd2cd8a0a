"""The command line as an operator meets it: a process, its output, its exit status."""

import json
import subprocess
import sys

import jsonschema
import numpy as np
import pytest
from click.testing import CliRunner
from confluent_kafka import TopicPartition

from driftgauge.cli import cli
from driftgauge.kafka import client
from driftgauge.kafka.embedded import EmbeddedBroker
from tests.events.golden import SCHEMAS
from tests.watched import (
    DAY_MS,
    HOUR_MS,
    MONDAY_MS,
    event,
    save_baseline,
    write_config,
    write_events,
)

TIMEOUT_S = 60


def run(*arguments, **environ):
    """Run `driftgauge` as a process with nothing of this one's environment but what is given."""
    return subprocess.run(
        [sys.executable, "-m", "driftgauge", *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
        check=False,
        env={"PATH": "", "OMP_NUM_THREADS": "1", **environ},
    )


def imported_by(statement):
    """The top-level modules that a fresh interpreter has loaded after a statement."""
    program = f"{statement}; import sys; print(*{{name.split('.')[0] for name in sys.modules}})"
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=TIMEOUT_S, check=True
    )
    return set(done.stdout.split())


@pytest.fixture
def config(tmp_path):
    save_baseline(tmp_path)
    return write_config(tmp_path)


def commands(group, path=()):
    """Every command and group, as the arguments that name it."""
    yield path
    for name, command in getattr(group, "commands", {}).items():
        yield from commands(command, (*path, name))


@pytest.mark.parametrize("path", list(commands(cli)), ids=" ".join)
def test_every_command_explains_itself(path):
    result = CliRunner().invoke(cli, [*path, "--help"])
    assert result.exit_code == 0
    assert "Usage:" in result.output
    summary = result.output.split("\n\n")[1].strip()
    assert summary.split()[0][0].isupper()


def test_all_commands_of_the_contract_are_there():
    assert {" ".join(path) for path in commands(cli)} == {
        "",
        "serve",
        "replay",
        "publish",
        "demo",
        "config",
        "config check",
        "baseline",
        "baseline fit",
        "baseline show",
    }


def test_the_module_runs_as_the_command():
    done = run("--version")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("driftgauge, version ")


@pytest.mark.parametrize("module", ["driftgauge.app", "driftgauge.cli"])
def test_serving_carries_no_scikit_learn(module):
    loaded = imported_by(f"import {module}")
    assert {"driftgauge", "confluent_kafka", "numpy"} <= loaded
    assert not {"sklearn", "scipy", "matplotlib", "joblib", "pandas"} & loaded


@pytest.mark.parametrize(
    ("arguments", "part"),
    [
        (["serve"], "Missing option '--config'"),
        (["nonsense"], "No such command 'nonsense'"),
        (["replay", "--config", "x.yaml"], "Missing argument 'FILES...'"),
        (["serve", "--config", "absent.yaml"], "driftgauge: absent.yaml cannot be read"),
        (["config", "check", "--config", "absent.yaml"], "driftgauge: absent.yaml cannot be read"),
        (
            ["baseline", "show", "absent.safetensors"],
            "driftgauge: absent.safetensors: cannot read the baseline",
        ),
        (["baseline", "fit", "absent.npy", "--stream", "s", "--out", "o"], "driftgauge: absent.npy"),
        (["baseline", "fit", "a.npy", "--stream", "s", "--out", "o", "--clusters", "1"], "'--clusters'"),
        (["publish", "a.npy", "--config", "c", "--stream", "s", "--span", "5"], "'5' is not a duration"),
        (["publish", "a.npy", "--config", "c", "--stream", "s", "--start", "5"], "not an RFC 3339 date-time"),
    ],
)
def test_what_the_operator_did_wrong_is_one_message_and_exit_status_2(arguments, part):
    done = run(*arguments)
    assert done.returncode == 2
    assert part in done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout == ""


def test_config_check_prints_what_is_in_force_and_what_each_stream_is_scored_with(config, monkeypatch):
    monkeypatch.setenv("DRIFTGAUGE_HTTP__PORT", "9999")
    monkeypatch.setenv("DRIFTGAUGE_KAFKA__SASL_PASSWORD", "hunter2")
    monkeypatch.setenv("DRIFTGAUGE_REPLICA", "0")
    result = CliRunner().invoke(cli, ["config", "check", "--config", str(config)])
    assert result.exit_code == 0, result.output
    settings, end = json.JSONDecoder().raw_decode(result.output)
    assert settings["http"]["port"] == 9999
    assert settings["kafka"]["sasl.password"] == "***"
    assert settings["streams"][0]["windows"] == ["1h", "1d"]
    assert (settings["replica"], settings["commit_interval"]) == ("0", "1s")
    stream, verdict = result.output[end:].strip().splitlines()
    assert stream.startswith(
        "stream images: 4 clusters of 4 dimensions, windows 1h, 1d, scored from 5 events"
    )
    assert verdict.endswith("no problem found")
    assert "hunter2" not in result.output


def test_config_check_reports_the_properties_and_the_baselines_together(tmp_path):
    config = write_config(
        tmp_path,
        kafka={
            "bootstrap.servers": "localhost:9092",
            "group.id": "g",
            "no.such.property": 1,
            "sasl.password": "hunter2",
            "fetch.min.bytes": "many",
        },
    )
    done = run("config", "check", "--config", config)
    assert done.returncode == 2
    for part in ("kafka.no.such.property", "kafka.fetch.min.bytes", "streams.images.baseline", "cannot read"):
        assert part in done.stderr
    assert "hunter2" not in done.stderr
    assert "Traceback" not in done.stderr


def test_a_broken_configuration_is_told_whole_with_exit_status_2(tmp_path):
    config = write_config(tmp_path, {"windows": [5]}, nope=1)
    done = run("serve", "--config", config)
    assert done.returncode == 2
    assert "streams.0.windows.0: 5 has no unit" in done.stderr
    assert "nope: Extra inputs are not permitted" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.fixture
def events(tmp_path):
    """A scored hour, one with too few events, and what is refused."""
    return write_events(
        tmp_path / "events.jsonl.gz",
        [
            *[event(MONDAY_MS + i, i % 2) for i in range(20)],
            *[event(MONDAY_MS + HOUR_MS + i, 3) for i in range(4)],
            b"{",
            event(MONDAY_MS, 0, stream="sounds"),
        ],
    )


def test_replay_prints_records_by_the_schema(config, events):
    done = run("replay", events, "--config", config, "--json")
    assert done.returncode == 0, done.stderr
    records = [json.loads(line) for line in done.stdout.splitlines()]
    schema = json.loads((SCHEMAS / "window-result.v1.schema.json").read_text(encoding="utf-8"))
    validator = jsonschema.Draft202012Validator(schema)
    for record in records:
        validator.validate(record)
    assert [(r["window"], r["start"], r["revision"], r["count"]) for r in records] == [
        ("1h", "2025-11-03T00:00:00Z", 0, 20),
        ("1h", "2025-11-03T01:00:00Z", 0, 4),
        ("1d", "2025-11-03T00:00:00Z", 0, 24),
    ]
    assert [cluster["count"] for cluster in records[0]["clusters"]] == [10, 10, 0, 0]
    assert records[0]["js_divergence"] == pytest.approx(
        sum(cluster["js_contribution"] for cluster in records[0]["clusters"])
    )
    assert records[1]["js_divergence"] is None
    # A file that has ended is behind nobody, and has lost nothing.
    assert {(len(record["incomplete"]), record["events_lost"]) for record in records} == {(0, False)}


def test_replay_without_json_is_a_line_to_read_for_each_window(config, events):
    done = run("replay", events, "--config", config)
    hour, few, day = done.stdout.splitlines()
    assert hour.startswith("images 1h 2025-11-03T00:00:00Z revision 0: 20 events, JSD 0.")
    assert "(noise floor 0." in hour
    assert few == "images 1h 2025-11-03T01:00:00Z revision 0: 4 events, too few events to be scored"
    assert day.startswith("images 1d 2025-11-03T00:00:00Z revision 0: 24 events, JSD 0.")


def test_replay_says_what_was_refused_on_stderr(config, events):
    done = run("replay", events, "--config", config, "--json")
    assert done.stderr.splitlines() == [
        "refused: 1 events of no known stream: undecodable",
        "refused: 1 events of no known stream: unknown_stream",
    ]


def test_replay_of_a_missing_file_is_exit_status_2(config, tmp_path):
    done = run("replay", tmp_path / "absent.jsonl", "--config", config)
    assert (done.returncode, done.stdout) == (2, "")
    assert "driftgauge: no such file:" in done.stderr


def test_a_baseline_is_fitted_shown_and_used(tmp_path):
    random = np.random.default_rng(0)
    vectors = (np.eye(4)[random.integers(4, size=800)] + random.normal(scale=0.05, size=(800, 4))).astype(
        "f4"
    )
    np.save(tmp_path / "vectors.npy", vectors)
    out = tmp_path / "images.safetensors"
    fit = run(
        "baseline", "fit", tmp_path / "vectors.npy", "--stream", "images", "--clusters", "4", "--out", out
    )
    assert fit.returncode == 0, fit.stderr
    shown = run("baseline", "show", out, "--json")
    assert json.loads(shown.stdout)["stream"] == "images"
    assert run("baseline", "show", out).stdout == fit.stdout
    assert run("config", "check", "--config", write_config(tmp_path)).returncode == 0
    events = write_events(tmp_path / "events.jsonl", [event(MONDAY_MS + DAY_MS, i % 4) for i in range(400)])
    done = run("replay", events, "--config", tmp_path / "driftgauge.yaml", "--json")
    record = json.loads(done.stdout.splitlines()[0])
    assert [cluster["count"] for cluster in record["clusters"]] == [100] * 4


def test_publishing_for_a_stream_that_nobody_watches_is_exit_status_2(config, events):
    done = run("publish", events, "--config", config, "--stream", "nobody")
    assert (done.returncode, done.stdout) == (2, "")
    assert "does not watch a stream nobody: its events would all be refused" in done.stderr


def test_a_baseline_is_not_fitted_for_a_folder_that_is_not_there(tmp_path):
    done = run(
        "baseline", "fit", tmp_path / "a.npy", "--stream", "s", "--out", tmp_path / "no" / "b.safetensors"
    )
    assert done.returncode == 2
    assert "no is not a folder; make it, or write the baseline elsewhere" in done.stderr


def test_events_that_are_published_again_keep_their_times_and_model_version(tmp_path):
    rows = [
        {"stream": "images", "timestamp": MONDAY_MS + 777 * n, "embedding": [n, 1.0], "model_version": "m1"}
        for n in range(5)
    ]
    events = tmp_path / "recorded.jsonl"
    events.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    with EmbeddedBroker(["recorded"]) as broker:
        config = tmp_path / "driftgauge.yaml"
        config.write_text(
            f'kafka: {{bootstrap.servers: "{broker.bootstrap}", group.id: g}}\n'
            "topics: {events: [recorded]}\n"
            "streams: [{name: images, baseline: b.safetensors, windows: [1h]}]\n",
            encoding="utf-8",
        )
        done = run("publish", events, "--config", config, "--stream", "images")
        assert done.returncode == 0, done.stderr
        consumer = client.consumer(
            {"bootstrap.servers": broker.bootstrap, "group.id": "reader", "session.timeout.ms": 6_000}
        )
        consumer.assign([TopicPartition("recorded", partition, 0) for partition in range(4)])
        sent = []
        for _ in range(100):
            sent += [json.loads(m.value()) for m in consumer.consume(20, 0.1) if m.error() is None]
            if len(sent) == len(rows):
                break
        consumer.close()
    assert sorted(sent, key=lambda event: event["timestamp"]) == rows
