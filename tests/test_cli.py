"""The command line as an operator meets it: a process, its output, its exit status."""

import json
import re
import subprocess
import sys
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer

import jsonschema
import numpy as np
import pytest
from click.testing import CliRunner
from confluent_kafka import TopicPartition
from deploy.demo.embedded_broker import EmbeddedBroker

from driftgauge.cli import cli
from driftgauge.kafka import client
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

TIMEOUT_S = 300


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
    """The modules that a fresh interpreter has loaded after a statement, no deeper than `scipy.special`."""
    program = f"{statement}; import sys; print(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=TIMEOUT_S, check=True
    )
    paths = [name.split(".") for name in done.stdout.split()]
    return {".".join(path[:depth]) for path in paths for depth in (1, 2)}


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
        "plan",
        "backtest",
        "health",
        "kafka",
        "kafka reshard",
        "kafka transactions",
        "kafka transactions list",
        "kafka transactions resolve",
        "config",
        "config check",
        "baseline",
        "baseline fit",
        "baseline show",
        "baseline compare",
    }


def test_the_module_runs_as_the_command():
    done = run("--version")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("driftgauge, version ")


@pytest.mark.parametrize("module", ["driftgauge.app", "driftgauge.cli"])
def test_serving_carries_no_scikit_learn(module):
    loaded = imported_by(f"import {module}")
    assert {"driftgauge", "confluent_kafka", "numpy"} <= loaded
    assert not {"sklearn", "matplotlib", "joblib", "pandas"} & loaded
    # The statistics need its special functions; the rest of it takes longer to load than all of the service.
    public = {name for name in loaded if name.startswith("scipy.") and not name.startswith("scipy._")}
    assert public <= {"scipy.special", "scipy.version"}


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
        (
            ["baseline", "fit", "a.npy", "--stream", "s", "--out", "o", "--window", "0s"],
            "is not a window length",
        ),
        (["baseline", "fit", "a.npy", "--stream", "s", "--out", "o", "--segment", "de"], "does not choose"),
        (["baseline", "compare", "a.safetensors"], "Missing argument 'B'"),
        (["baseline", "compare", "absent.safetensors", "b"], "driftgauge: absent.safetensors: cannot read"),
        (["publish", "a.npy", "--config", "c", "--stream", "s", "--span", "5"], "'5' is not a duration"),
        (["publish", "a.npy", "--config", "c", "--stream", "s", "--start", "5"], "not an RFC 3339 date-time"),
        (["health", "--config", "absent.yaml"], "driftgauge: absent.yaml cannot be read"),
        (
            ["health", "--config", "absent.yaml", "--url", "http://localhost:9464"],
            "--url both name a service",
        ),
        (["plan"], "Missing option '--events-per-hour'"),
        (["plan", "--events-per-hour", "0"], "0.0 is not in the range x>0"),
        (["plan", "--events-per-hour", "nan"], "nan is not a finite number"),
        (["plan", "--events-per-hour", "inf"], "inf is not a finite number"),
        (["plan", "--events-per-hour", "1", "--dispersion", "0.9"], "'--dispersion'"),
        (["plan", "--events-per-hour", "1", "--smallest-divergence", "2"], "'--smallest-divergence'"),
        (
            ["plan", "--events-per-hour", "1", "--baseline", "absent.safetensors"],
            "driftgauge: absent.safetensors: cannot read the baseline",
        ),
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
    stream, baseline, verdict = result.output[end:].strip().splitlines()
    assert stream == "stream images: windows 1h, 1d, scored from 5 events"
    assert baseline.startswith("  baseline sha256:")
    assert baseline.endswith("in force from the beginning on (now)")
    assert verdict.endswith("no problem found")
    assert "hunter2" not in result.output


def test_config_check_counts_the_warnings_of_every_stream(tmp_path):
    streams = []
    for name in ("images", "texts"):
        save_baseline(tmp_path, name)
        listed = [
            {"file": f"{name}.safetensors"},
            {"file": f"{name}.safetensors", "from": "2025-11-03T00:00:00Z"},
        ]
        streams.append({"name": name, "baselines": listed})
    config = write_config(tmp_path, *streams)
    result = CliRunner().invoke(cli, ["config", "check", "--config", str(config)])
    assert result.exit_code == 0, result.output
    *_, past, same, verdict = result.output.splitlines()
    assert past.startswith("  warning: ")
    assert "in the past" in past
    assert "contain the same baseline" in same
    assert verdict.endswith("driftgauge.yaml: 4 warnings")


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
    for part in ("kafka.no.such.property", "kafka.fetch.min.bytes", "streams.images: ", "cannot read"):
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
    assert [record["verdict"] for record in records] == ["insufficient"] * 3
    assert [record["p_value"] is None for record in records] == [False, True, False]
    # A file that has ended is behind nobody, and has lost nothing.
    assert {(len(record["incomplete"]), record["events_lost"]) for record in records} == {(0, False)}


def test_replay_without_json_is_a_line_to_read_for_each_window(config, events):
    done = run("replay", events, "--config", config)
    hour, few, day = done.stdout.splitlines()
    assert hour.startswith("images 1h 2025-11-03T00:00:00Z revision 0: insufficient; 20 events, JSD 0.")
    assert "(noise floor 0." in hour
    assert re.search(r", mean shift -?0\.\d{4}, p [\d.e-]+$", hour)
    assert few == (
        "images 1h 2025-11-03T01:00:00Z revision 0: insufficient; 4 events, too few events to be scored"
    )
    assert day.startswith("images 1d 2025-11-03T00:00:00Z revision 0: insufficient; 24 events, JSD 0.")


def test_replay_says_what_was_refused_on_stderr(config, events):
    done = run("replay", events, "--config", config, "--json")
    assert done.stderr.splitlines() == [
        "rejected: 1 events of no known stream: undecodable",
        "rejected: 1 events of no known stream: unknown_stream",
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


@pytest.fixture
def history(tmp_path):
    """Recorded events of 60 hours, in bursts of three, from two countries and a half."""
    random = np.random.default_rng(0)
    lines = []
    for hour in range(60):
        for burst in range(20):
            cluster, country = random.integers(4), ["de", "fr", "de", "fr", "us"][burst % 5]
            for i in range(3):
                vector = [
                    round(x, 3) for x in (np.eye(4)[cluster] + random.normal(scale=0.1, size=4)).tolist()
                ]
                time_ms = MONDAY_MS + hour * HOUR_MS + burst * 1_000 + i
                row = {"stream": "images", "timestamp": time_ms, "embedding": vector}
                lines.append(json.dumps({**row, "segments": {"country": country}}).encode())
    return write_events(tmp_path / "history.jsonl.gz", lines)


def test_a_baseline_of_events_knows_bursts_and_segments(tmp_path, history):
    out = tmp_path / "images.safetensors"
    arguments = ("--stream", "images", "--clusters", 4, "--segment", "country=de,fr", "--out", out)
    fit = run("baseline", "fit", history, *arguments)
    assert fit.returncode == 0, fit.stderr
    assert "windows of 1h held out: counts vary" in fit.stderr
    assert run("baseline", "show", out).stdout == fit.stdout
    shown = json.loads(run("baseline", "show", out, "--json").stdout)
    assert shown["window_ms"] == HOUR_MS
    assert shown["dependence"]["windows"] == 30
    assert 2 < shown["dependence"]["counts"] < 4.5
    assert [(segment["key"], segment["value"]) for segment in shown["segments"]] == [
        ("country", "de"),
        ("country", "fr"),
        ("country", "other"),
    ]
    assert shown["training_set"] is False

    day = tmp_path / "day.safetensors"
    coarse = run("baseline", "fit", history, *arguments[:-1], day, "--window", "1d", "--training-set")
    assert coarse.returncode == 0, coarse.stderr
    assert "warning: the events are of 3 windows of 1d" in coarse.stderr
    assert "note: The model was trained on this reference" in coarse.stdout

    compared = run("baseline", "compare", out, day)
    assert (compared.returncode, compared.stderr) == (0, "")
    assert compared.stdout.startswith(f"A  {out}\nB  {day}\n\nResults against A and B can")
    document = json.loads(run("baseline", "compare", out, day, "--json").stdout)
    assert (document["a"]["window_ms"], document["b"]["window_ms"]) == (HOUR_MS, None)
    assert len(document["matches"]) == 4


def test_segments_of_vectors_without_events_are_exit_status_2(tmp_path):
    np.save(tmp_path / "vectors.npy", np.random.default_rng(0).normal(size=(800, 4)).astype("f4"))
    arguments = ("--stream", "s", "--segment", "country=de", "--out", tmp_path / "b.safetensors")
    done = run("baseline", "fit", tmp_path / "vectors.npy", *arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert "only events carry segments; fit on a .jsonl or .jsonl.gz file" in done.stderr


def test_a_plan_says_which_windows_suit_the_traffic():
    done = run("plan", "--events-per-hour", "1000")
    assert (done.returncode, done.stderr) == (0, "")
    assert "Recommended: windows of 6h" in done.stdout
    options = ("--clusters", 60, "--baseline-count", 100_000, "--streams", 2, "--dispersion", 1.5)
    record = json.loads(run("plan", "--events-per-hour", "1000", *options, "--json").stdout)
    assert (record["clusters"], record["baseline_count"], record["streams"]) == (60, 100_000, 2)
    assert record["inflation"] == {"counts": 1.5, "means": 1.5}
    assert record["smallest_drift"] == {"js_divergence": 0.01, "mean_shift": 0.05}
    assert (record["false_pages_per_year"], record["daily_cycle"]) == (1, False)
    options = ("--smallest-divergence", 0.02, "--smallest-shift", 0.1, "--false-pages-per-year", 12)
    record = json.loads(run("plan", "--events-per-hour", "1000", *options, "--daily-cycle", "--json").stdout)
    assert record["smallest_drift"] == {"js_divergence": 0.02, "mean_shift": 0.1}
    assert (record["false_pages_per_year"], record["daily_cycle"]) == (12, True)
    assert record["recommended"] == "1d"


def test_a_plan_takes_from_a_baseline_what_it_says_and_refuses_to_be_told_as_well(tmp_path):
    save_baseline(tmp_path)
    path = tmp_path / "images.safetensors"
    done = run("plan", "--events-per-hour", "1000", "--baseline", path, "--json")
    assert done.returncode == 0, done.stderr
    record = json.loads(done.stdout)
    assert (record["clusters"], record["components"], record["baseline_count"]) == (4, 2, 100)
    done = run("plan", "--events-per-hour", "1000", "--baseline", path, "--clusters", 5)
    assert (done.returncode, done.stdout) == (2, "")
    assert "--baseline already sets --clusters; remove --baseline or these options" in done.stderr


@contextmanager
def answering(status, missing):
    """A service's /livez, always with 200, and /readyz; yields its port."""

    class Answer(BaseHTTPRequestHandler):
        def do_GET(self):
            ready = self.path == "/readyz"
            body = json.dumps({"ready": not missing, "missing": missing} if ready else {"alive": True})
            self.send_response(status if ready else 200)
            self.end_headers()
            self.wfile.write(body.encode())

        def log_message(self, *_):
            pass

    with HTTPServer(("127.0.0.1", 0), Answer) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield server.server_port
        finally:
            server.shutdown()
            thread.join()


def test_the_health_of_a_service_is_a_line_and_an_exit_status(tmp_path):
    save_baseline(tmp_path)
    config = write_config(tmp_path)
    with answering(503, ["restored"]) as port:
        # As in a container: served on all addresses, asked on loopback, and no proxy is asked instead.
        environ = {
            "DRIFTGAUGE_HTTP__HOST": "0.0.0.0",  # noqa: S104 - nothing listens there
            "DRIFTGAUGE_HTTP__PORT": str(port),
            "http_proxy": "http://127.0.0.1:1",
        }
        alive = run("health", "--config", config, **environ)
        ready = run("health", "--config", config, "--ready", **environ)
        named = run("health", "--url", f"http://127.0.0.1:{port}/", "--ready")
    assert (alive.returncode, alive.stderr) == (0, "")
    assert alive.stdout == f'http://127.0.0.1:{port}/livez answers 200: {{"alive": true}}\n'
    assert ready.returncode == named.returncode == 1
    assert ready.stdout == named.stdout
    assert 'readyz answers 503: {"ready": false, "missing": ["restored"]}' in ready.stdout
    with answering(200, []) as port:
        assert run("health", "--url", f"http://127.0.0.1:{port}", "--ready").returncode == 0


@pytest.mark.parametrize(
    ("url", "reason"),
    [("http://127.0.0.1:1", "Connection refused"), ("127.0.0.1", "unknown url type"), ("file:/", "")],
)
def test_a_service_that_does_not_answer_is_not_healthy(url, reason):
    done = run("health", "--url", url)
    assert (done.returncode, done.stderr) == (1, "")
    assert done.stdout.startswith(f"{url.rstrip('/')}/livez does not answer")
    assert reason in done.stdout
    assert done.stdout.count("\n") == 1


def test_publishing_for_a_stream_that_nobody_watches_is_exit_status_2(config, events):
    done = run("publish", events, "--config", config, "--stream", "nobody")
    assert (done.returncode, done.stdout) == (2, "")
    assert "has no stream nobody; the service would reject all events" in done.stderr


def test_a_baseline_is_not_fitted_for_a_folder_that_is_not_there(tmp_path):
    done = run(
        "baseline", "fit", tmp_path / "a.npy", "--stream", "s", "--out", tmp_path / "no" / "b.safetensors"
    )
    assert done.returncode == 2
    assert "no is not a folder; create it, or choose another path for --out" in done.stderr


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
            {"bootstrap.servers": broker.bootstrap, "session.timeout.ms": 6_000}, "reader"
        )
        consumer.assign([TopicPartition("recorded", partition, 0) for partition in range(4)])
        sent = []
        for _ in range(100):
            sent += [json.loads(m.value()) for m in consumer.consume(20, 0.1) if m.error() is None]
            if len(sent) == len(rows):
                break
        consumer.close()
    assert sorted(sent, key=lambda event: event["timestamp"]) == rows
