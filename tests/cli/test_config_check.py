"""`driftgauge config check`: settings, baselines, warnings, and problems of all kinds at once."""

import json
import signal

import numpy as np
import pytest
import yaml

from driftgauge import api
from driftgauge.page.summary import SUMMARY
from tests.builders.baselines import save_baseline
from tests.builders.configs import SECRET, write_config
from tests.cli.command import run

MONDAY = "2025-11-03T00:00:00Z"
MAPPING = {"encoding": "avro", "stream": "stream", "timestamp": "at", "embedding": "vector"}
REGISTRY = {"url": "http://127.0.0.1:1", "basic.auth.user.info": f"user:{SECRET}"}


def check(config, *arguments, status=0, **environ):
    done = run("config", "check", "--config", config, *arguments, **environ)
    assert done.returncode == status, done.stderr
    assert SECRET not in done.stdout + done.stderr
    return done.stdout if status == 0 else done.stderr


def test_settings_and_baselines_are_printed(config):
    environ = {
        "DRIFTGAUGE_HTTP__PORT": "9999",
        "DRIFTGAUGE_KAFKA__SASL_PASSWORD": SECRET,
        "DRIFTGAUGE_REPLICA": "0",
    }
    settings = json.loads(check(config, "--json", **environ))["settings"]
    assert (settings["http"]["port"], settings["kafka"]["sasl.password"]) == (9999, "***")
    assert settings["streams"][0]["windows"] == ["1h", "1d"]
    assert (settings["replica"], settings["commit_interval"]) == ("0", "1s")
    topics, written, stream, pane, baseline, bursts, _, verdict = check(config, **environ).splitlines()
    assert pane.startswith("  a pane that waits takes ")
    assert (topics, written) == (
        "topics: reads embeddings (events in JSON), driftgauge.marks (marks, for the page)",
        "  writes driftgauge.windows (results), driftgauge.dead-letters (refused records)",
    )
    assert stream == "stream images: windows 1h, 1d, scored from 5 events"
    assert baseline.startswith("  baseline sha256:")
    assert baseline.endswith("in force from the beginning on (now)")
    assert bursts.startswith(
        "    not calibrated for bursts: windows of 1h, 1d; declare a clean time as warm_up"
    )
    assert verdict.endswith("no problem found")


@pytest.mark.parametrize(
    ("measured", "warm_up", "sizes"),
    [
        (False, None, ["1h", "1d"]),
        (True, None, ["1d"]),
        (True, {"from": MONDAY, "until": "2025-11-17T00:00:00Z"}, []),
    ],
)
def test_window_sizes_without_a_calibration_are_named(tmp_path, measured, warm_up, sizes):
    overdispersion = api.Overdispersion(20, 1.5, 1.5 * np.eye(2)) if measured else None
    save_baseline(tmp_path, overdispersion=overdispersion)
    config = write_config(tmp_path, {"windows": ["1h", "1d"], **({"warm_up": warm_up} if warm_up else {})})
    said = f"not calibrated for bursts: windows of {', '.join(sizes)}; declare a clean time as warm_up, or"
    assert (said in check(config)) is bool(sizes)
    (stream,) = json.loads(check(config, "--json"))["streams"]
    assert stream["baselines"][0]["uncalibrated"] == sizes


def test_warnings_of_all_streams_are_counted(tmp_path):
    streams = []
    for name in ("images", "texts"):
        save_baseline(tmp_path, name)
        file = {"file": f"{name}.safetensors"}
        streams.append({"name": name, "baselines": [file, {**file, "from": MONDAY}]})
    config = write_config(tmp_path, *streams)
    *_, past, same, _, verdict = check(config).splitlines()
    assert past.startswith("  warning: ")
    assert "in the past" in past
    assert "contain the same baseline" in same
    assert verdict.endswith("driftgauge.yaml: 4 warnings")
    document = json.loads(check(config, "--json"))
    (first, second), _ = [stream["baselines"] for stream in document["streams"]]
    assert first["identity"] == second["identity"]
    assert (first["from_ms"], first["until_ms"], first["in_force"]) == (None, second["from_ms"], False)
    assert (second["until_ms"], second["in_force"]) == (None, True)
    assert len(document["warnings"]) == 4


def test_problems_of_registry_properties_are_reported(tmp_path):
    registry = {**REGISTRY, "no.such.property": 1}
    message = check(
        write_config(tmp_path, inputs={"embeddings": MAPPING}, schema_registry=registry), status=2
    )
    assert "schema_registry: Unrecognized properties: no.such.property" in message


def test_problems_of_all_kinds_are_reported_together_each_with_its_key(tmp_path):
    config = write_config(
        tmp_path,
        {"window": ["1h"]},
        {"name": "texts"},
        kafka={
            "bootstrap.servers": "localhost:9092",
            "group.id": "g",
            "no.such.property": 1,
            "sasl.password": SECRET,
            "fetch.min.bytes": "many",
        },
        inputs={"orders": MAPPING},
        topics={"windows": "driftgauge.g.partials.16"},
        http={"prot": 1},
    )
    message = check(config, status=2, DRIFTGAUGE_ALLOWED_LEAD="5")
    keys = [line.strip().removeprefix("- ").partition(": ")[0] for line in message.splitlines()[1:]]
    assert keys == [
        "topics", "inputs", "streams.0.window", "http.prot", "allowed_lead",
        "kafka.fetch.min.bytes", "kafka.no.such.property", "streams.texts",
    ]  # fmt: skip
    assert "streams.0.window: no such key; did you mean windows?" in message
    assert "does not exist; fit it" in message
    assert "Traceback" not in message


def test_configuration_without_a_sound_stream_is_checked_to_its_end(tmp_path):
    message = check(write_config(tmp_path, {"window": ["1h"]}, kafka={"no.such.property": 1}), status=2)
    assert "did you mean windows?" in message
    assert "Traceback" not in message


def test_no_client_is_made_of_properties_that_run_code(tmp_path):
    kafka = {
        "bootstrap.servers": "b:1",
        "group.id": "g",
        "plugin.library.paths": "own",
        "no.such.property": 1,
    }
    message = check(write_config(tmp_path, kafka=kafka), status=2)
    assert "kafka.plugin.library.paths: would make librdkafka run code" in message
    assert "no.such.property" not in message, "a client would say it"


@pytest.fixture
def bounded():
    """Interrupts a command that serves where it should refuse to start."""

    def interrupt(*_):
        raise TimeoutError("the command did not end within a minute")

    before = signal.signal(signal.SIGALRM, interrupt)
    signal.alarm(60)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


@pytest.mark.usefixtures("bounded")
@pytest.mark.parametrize(
    ("users", "page", "status"),
    [
        ({"ada": "$2b$04$" + "a" * 53}, True, {"config": 0}),
        ({}, True, {"config": 2, "page": 2, "serve": 2}),
        ({}, False, {"config": 0, "page": 2}),
    ],
)
def test_texts_of_events_need_a_login_of_the_page(tmp_path, users, page, status):
    save_baseline(tmp_path)
    (tmp_path / "web.yaml").write_text(yaml.safe_dump({"basic_auth_users": users}))
    stream = {"name": "images", "baseline": "images.safetensors", "windows": ["1h"], "snippet_bytes": 80}
    http = {"web_config": "web.yaml"}
    config = write_config(tmp_path, stream, http=http, page={"enabled": page})
    for command, expected in status.items():
        arguments = ("config", "check") if command == "config" else (command,)
        done = run(*arguments, "--config", config)
        assert done.returncode == expected, done.stderr
        assert ("streams.images.snippet_bytes" in done.stderr) is (expected == 2)
        assert ("http.web_config" in done.stderr) is (expected == 2)


def test_registry_is_not_asked(tmp_path):
    save_baseline(tmp_path)
    check(write_config(tmp_path, inputs={"embeddings": MAPPING}, schema_registry=REGISTRY))


def test_memory_follows_from_client_properties_streams_and_page(tmp_path):
    save_baseline(tmp_path)
    kafka = {"bootstrap.servers": "a:1", "group.id": "g"}

    def memory(kafka=kafka, **sections):
        document = check(write_config(tmp_path, kafka=kafka, **sections), "--json")
        return json.loads(document)["memory_bytes"]

    default = memory()
    assert sum(default.values()) < 512 * 1024**2, "the memory limit of the manifests"
    larger = memory({**kafka, "queued.max.messages.kbytes": 64 * 1024, "message.max.bytes": 20_000_000})
    fetched = (64 + 8) * 1024**2
    assert (larger["fetch queues"], larger["polls"]) == (3 * fetched, fetched)
    assert larger["dead letters"] - default["dead letters"] == larger["polls"] - default["polls"]
    assert memory(page={"enabled": False})["page"] == 0
    assert default["page"] == 36 * 2**20 + SUMMARY.itemsize * 400_000
    text = check(write_config(tmp_path, kafka=kafka)).splitlines()[-2]
    assert text.startswith(f"memory: at most about {round(sum(default.values()) / 1024**2)} MiB a replica: ")
