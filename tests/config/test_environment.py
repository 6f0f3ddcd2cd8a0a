"""Settings from variables and from a directory of secrets."""

import json
from pathlib import Path

import pytest

from driftgauge.errors import ConfigError
from tests.builders.configs import FIRST, MINIMAL, SECRET, schedule, with_kafka


def test_variables_override_every_kind_of_value(load):
    settings = load(
        DRIFTGAUGE_HTTP__PORT="8080",
        DRIFTGAUGE_HTTP__HOST="10",
        DRIFTGAUGE_TOPICS__EVENTS='["one", "two"]',
        DRIFTGAUGE_TOPICS__INTERNAL="kept",
        DRIFTGAUGE_TOPICS__REPLICATION_FACTOR="3",
        DRIFTGAUGE_ALARMS__FALSE_PAGES_PER_YEAR="0.5",
        DRIFTGAUGE_SHARDS="4",
        DRIFTGAUGE_ALLOWED_LEAD="2m",
        DRIFTGAUGE_COMMIT_INTERVAL="500ms",
        DRIFTGAUGE_REPLICA="driftgauge-1",
        DRIFTGAUGE_KAFKA__BOOTSTRAP_SERVERS="broker:9092",
        DRIFTGAUGE_KAFKA__SSL_CA_LOCATION="ca.pem",
    )
    assert (settings.http.port, settings.http.host) == (8080, "10")
    assert settings.topics.events == ("one", "two")
    assert settings.topics.replication_factor == 3
    assert settings.alarms.false_pages_per_year == 0.5
    assert settings.partials_topic == "kept.partials.4"
    assert settings.allowed_lead == 120_000
    assert settings.commit_interval == 500
    assert settings.replica == "driftgauge-1"
    assert settings.kafka["bootstrap.servers"] == "broker:9092"
    assert settings.kafka["ssl.ca.location"] == "ca.pem"


def test_streams_are_set_as_json(load, tmp_path):
    images = {
        "name": "images",
        "baselines": [FIRST, {"file": "/b.safetensors", "from": "2025-11-03T13:00:00Z"}],
        "windows": ["5m", "1h"],
        "min_events": 7,
        "incomplete_after": "90s",
        "smallest_drift": {"js_divergence": 0.03},
        "warm_up": {"from": "2025-11-03T00:00:00Z", "until": "2025-11-04T00:00:00Z"},
        "segments": ["country"],
    }
    (stream,) = load(DRIFTGAUGE_STREAMS=json.dumps([images])).streams
    assert schedule(stream) == [
        (tmp_path / "a.safetensors", None),
        (Path("/b.safetensors"), 1_762_174_800_000),
    ]
    assert stream.windows == (300_000, 3_600_000)
    assert stream.min_events == 7
    assert stream.incomplete_after == 90_000
    assert stream.smallest_drift.js_divergence == 0.03
    assert (stream.warm_up.start, stream.warm_up.end) == (1_762_128_000_000, 1_762_214_400_000)
    assert stream.segments == ("country",)


def test_sections_are_set_as_json(load):
    settings = load(
        "{}",
        DRIFTGAUGE_KAFKA='{"bootstrap.servers": "b", "group.id": "g"}',
        DRIFTGAUGE_STREAMS='[{"name": "a", "baseline": "a.safetensors", "windows": ["1h"]}]',
    )
    assert (settings.kafka, settings.streams[0].name) == ({"bootstrap.servers": "b", "group.id": "g"}, "a")


def test_json_section_keeps_other_keys_of_file(load):
    settings = load(f"{MINIMAL}http: {{host: localhost}}\n", DRIFTGAUGE_HTTP='{"port": 8080}')
    assert (settings.http.host, settings.http.port) == ("localhost", 8080)


@pytest.mark.parametrize(
    "password",
    [
        "0123",
        "1e3",
        "yes",
        "null",
        "abc #def",
        "*star",
        "&and",
        "!bang",
        "a: b",
        "'quote",
        "[x]",
        "-----A\nB\n",
    ],
)
def test_kafka_property_is_taken_verbatim(load, password):
    assert load(DRIFTGAUGE_KAFKA__SASL_PASSWORD=password).kafka["sasl.password"] == password


@pytest.mark.parametrize(
    "name", ["0", "3", "007", "010", "1_000", "0x1F", "1.50", "yes", "null", "2025-11-03"]
)
def test_replica_name_is_taken_verbatim(load, name):
    # Two replicas whose names were read as one number would end each other's transactions for ever.
    assert load(DRIFTGAUGE_REPLICA=name).replica == name


def test_other_variables_are_ignored(load):
    assert load(DRIFTGAUGE_TEST_BOOTSTRAP="x", DRIFTGAUGE_="y", HTTP__PORT="z") == load()


@pytest.mark.parametrize(
    "variable",
    [
        "STREAMS__0__BASELINE",
        "STREAMS__NAME",
        "HTTP__PORT__X",
        "KAFKA__SASL__PASSWORD",
        "ALLOWED_LEAD__X",
        "HTPP__PORT",
    ],
)
def test_variable_that_names_no_setting_is_reported(problems, variable):
    environ = {f"DRIFTGAUGE_{variable}": "images", "DRIFTGAUGE_HTTP__PORT": "9464"}
    message = problems(f"{MINIMAL}allowed_lead: 5m\n", **environ)
    assert message.endswith(f":\n  - DRIFTGAUGE_{variable}: names no setting; set a list as a whole, in JSON")


def test_variable_with_unknown_key_is_reported(problems):
    assert "http.prot: Extra inputs are not permitted" in problems(DRIFTGAUGE_HTTP__PROT="1")


@pytest.mark.parametrize(
    ("variable", "text", "part"),
    [
        ("TOPICS__EVENTS", "[a", "topics.events: must be a list (in the environment: in JSON)"),
        ("TOPICS__EVENTS", "[a, b]", "topics.events: must be a list (in the environment: in JSON)"),
        ("STREAMS", "null", "streams: must be a list (in the environment: in JSON)"),
        ("KAFKA", "{group.id: g}", "kafka: must be a mapping (in the environment: in JSON)"),
        ("HTTP", "8080", "http: must be a mapping (in the environment: in JSON)"),
        ("HTTP", '{"port": "8080"}', "http.port: Input should be a valid integer"),
        ("HTTP__PORT", "", "http.port: Input should be a valid integer"),
        ("HTTP__PORT", "70000", "http.port: Input should be less than or equal to 65535"),
        ("SHARDS", "1.5", "shards: Input should be a valid integer"),
        ("ALLOWED_LEAD", "5", "allowed_lead: 5 has no unit"),
        ("COMMIT_INTERVAL", "6s", "commit_interval: must not be longer than 5s"),
        ("REPLICA", "two words", "replica: String should match pattern"),
        ("TOPICS__WINDOWS", "a/b", "topics.windows: String should match pattern"),
    ],
)
def test_invalid_variable_is_reported_with_its_key(problems, variable, text, part):
    message = problems(**{f"DRIFTGAUGE_{variable}": text})
    assert message.count("\n") == 1
    assert f"\n  - {part}" in message


@pytest.mark.parametrize("section", ["topics: events", "http: 8080", "http: [8080]", "alarms:"])
def test_variable_hides_no_invalid_section_of_file(problems, section):
    name = section.partition(":")[0]
    message = problems(f"{MINIMAL}{section}\n", **{f"DRIFTGAUGE_{name.upper()}__KEY": "1"})
    assert f"\n  - {name}: must be a mapping" in message


@pytest.fixture
def secrets(tmp_path):
    """A function that writes files of secrets and returns the variable that names their directory."""

    def _secrets(**files):
        directory = tmp_path / "secrets"
        directory.mkdir()
        for name, text in files.items():
            (directory / name).write_text(text, encoding="utf-8")
        return {"DRIFTGAUGE_SECRETS_DIR": str(directory)}

    return _secrets


@pytest.mark.parametrize(
    "name", ["kafka__sasl.password", "kafka__sasl_password", "DRIFTGAUGE_KAFKA__SASL_PASSWORD"]
)
def test_secret_is_read_from_file(load, secrets, name):
    settings = load(with_kafka(**{"sasl.password": "file"}), **secrets(**{name: f"{SECRET}\n"}))
    assert settings.kafka["sasl.password"] == SECRET
    assert SECRET not in repr(settings)


def test_variable_overrides_secret(load, secrets):
    environ = secrets(**{"kafka__sasl.password": "file", "kafka__sasl.username": "user"})
    kafka = load(**environ, DRIFTGAUGE_KAFKA__SASL_PASSWORD=SECRET).kafka
    assert (kafka["sasl.password"], kafka["sasl.username"]) == (SECRET, "user")


def test_secrets_are_read_as_kubernetes_mounts_them(load, tmp_path):
    version = tmp_path / "secrets" / "..2025_11_03"
    version.mkdir(parents=True)
    (version / "kafka__sasl.password").write_text(SECRET)
    (version.parent / "..data").symlink_to(version.name)
    (version.parent / "kafka__sasl.password").symlink_to("..data/kafka__sasl.password")
    settings = load(DRIFTGAUGE_SECRETS_DIR=str(version.parent))
    assert settings.kafka["sasl.password"] == SECRET


def test_secret_that_names_no_setting_is_reported(problems, secrets):
    message = problems(**secrets(kafka__sasl__password=SECRET, other="x"))
    assert message.endswith(":\n  - kafka__sasl__password: names no setting; set a list as a whole, in JSON")


def test_missing_secrets_directory_is_reported_with_other_problems(problems, tmp_path):
    message = problems(f"{MINIMAL}nope: 1\n", DRIFTGAUGE_SECRETS_DIR=str(tmp_path / "absent"))
    assert "DRIFTGAUGE_SECRETS_DIR: " in message
    assert "absent is not a directory of readable files in UTF-8 (SettingsError)" in message
    assert "nope: Extra inputs are not permitted" in message


def test_empty_name_of_secrets_directory_reads_none(load, secrets, monkeypatch):
    monkeypatch.chdir(secrets(**{"kafka__sasl.password": SECRET})["DRIFTGAUGE_SECRETS_DIR"])
    assert load(DRIFTGAUGE_SECRETS_DIR="") == load()


def test_secret_in_other_encoding_is_not_quoted(load, tmp_path):
    directory = tmp_path / "secrets"
    directory.mkdir()
    (directory / "kafka__sasl.password").write_bytes(SECRET.encode("utf-16"))
    with pytest.raises(ConfigError) as caught:
        load(DRIFTGAUGE_SECRETS_DIR=str(directory))
    assert "secrets is not a directory of readable files in UTF-8 (UnicodeDecodeError)" in str(caught.value)
    assert (caught.value.__cause__, caught.value.__context__) == (None, None)


@pytest.mark.parametrize(
    "variable", ["KAFKA__SASL_PASSWORD__X", "KAFKA", "KAFKA__SASL__PASSWORD", "HTTP__PORT"]
)
def test_problem_of_variable_quotes_no_secret(problems, variable):
    assert SECRET not in problems(with_kafka(nope=[1]), **{f"DRIFTGAUGE_{variable}": f"[{SECRET}"})
    assert SECRET not in problems(with_kafka(nope=[1]), **{f"DRIFTGAUGE_{variable}": SECRET})
