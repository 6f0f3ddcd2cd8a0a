"""Settings from variables and from a directory of secrets."""

import json

import pytest

from driftgauge.config import load_settings, read_kafka_secrets
from driftgauge.errors import ConfigError
from tests.builders.configs import FIRST, MINIMAL, SECRET, with_kafka


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


def test_secrets_are_read_as_kubernetes_mounts_them(load, tmp_path):
    version = tmp_path / "secrets" / "..2025_11_03"
    version.mkdir(parents=True)
    (version / "kafka__sasl.password").write_text(SECRET)
    (version.parent / "..data").symlink_to(version.name)
    (version.parent / "kafka__sasl.password").symlink_to("..data/kafka__sasl.password")
    settings = load(DRIFTGAUGE_SECRETS_DIR=str(version.parent))
    assert settings.kafka["sasl.password"] == SECRET


def test_variables_override_every_kind_of_value(load, tmp_path, snapshot):
    images = {
        "name": "images",
        "baselines": [FIRST, {"file": "/b.safetensors", "from": "2025-11-03T13:00:00Z"}],
        "windows": ["5m", "1h"],
        "incomplete_after": "90s",
        "smallest_drift": {"js_divergence": 0.03},
        "warm_up": {"from": "2025-11-03T00:00:00Z", "until": "2025-11-04T00:00:00Z"},
        "segments": ["country"],
    }
    settings = load(
        f"{MINIMAL}http: {{host: localhost}}\n",
        DRIFTGAUGE_HTTP='{"port": 8080}',
        DRIFTGAUGE_TOPICS__EVENTS='["one", "two"]',
        DRIFTGAUGE_TOPICS__INTERNAL="kept",
        DRIFTGAUGE_TOPICS__REPLICATION_FACTOR="3",
        DRIFTGAUGE_ALARMS__FALSE_PAGES_PER_YEAR="0.5",
        DRIFTGAUGE_SHARDS="4",
        DRIFTGAUGE_ALLOWED_LEAD="2m",
        DRIFTGAUGE_KAFKA__BOOTSTRAP_SERVERS="broker:9092",
        DRIFTGAUGE_KAFKA__SSL_CA_LOCATION="ca.pem",
        DRIFTGAUGE_KAFKA__PLUGIN_LIBRARY_PATHS="own",
        DRIFTGAUGE_SCHEMA_REGISTRY__URL="https://registry",
        DRIFTGAUGE_SCHEMA_REGISTRY__BASIC_AUTH_USER_INFO=f"user:{SECRET}",
        DRIFTGAUGE_STREAMS=json.dumps([images]),
    )
    assert settings.kafka["plugin.library.paths"] == "own", "no file may set it, but the environment may"
    assert settings.schema_registry["basic.auth.user.info"] == f"user:{SECRET}"
    assert settings.model_dump_json(indent=1).replace(str(tmp_path), "FOLDER") == snapshot


@pytest.mark.parametrize(
    "text",
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
def test_kafka_property_is_taken_verbatim(load, text):
    assert load(DRIFTGAUGE_KAFKA__SASL_PASSWORD=text).kafka["sasl.password"] == text


@pytest.mark.parametrize("name", ["0", "3", "007", "1_000", "0x1F", "1.50", "yes", "null", "2025-11-03"])
def test_replica_name_is_taken_verbatim(load, name):
    # Two replicas whose names were read as one number would end each other's transactions for ever.
    assert load(DRIFTGAUGE_REPLICA=name).replica == name


def test_other_variables_and_secrets_of_no_folder_are_ignored(load, secrets, monkeypatch):
    monkeypatch.chdir(secrets(**{"kafka__sasl.password": SECRET})["DRIFTGAUGE_SECRETS_DIR"])
    others = {"HTTP__PORT": "x", "_DRIFTGAUGE_COMPLETE": "y", "SHARD": "z"}
    assert load(DRIFTGAUGE_SECRETS_DIR="", **others) == load()


def test_variables_that_kubernetes_makes_of_a_service_are_ignored(load):
    links = {
        f"DRIFTGAUGE_{service}{name}": value
        for service in ("", "METRICS_")
        for name, value in {
            "SERVICE_HOST": "10.0.0.1",
            "SERVICE_PORT": "9464",
            "SERVICE_PORT_HTTP": "9464",
            "PORT": "tcp://10.0.0.1:9464",
            "PORT_9464_TCP": "tcp://10.0.0.1:9464",
            "PORT_9464_TCP_PROTO": "tcp",
            "PORT_9464_TCP_PORT": "9464",
            "PORT_9464_TCP_ADDR": "10.0.0.1",
        }.items()
    }
    assert load(**links) == load()


@pytest.mark.parametrize(
    ("name", "remedy"),
    [
        ("DRIFTGAUGE_ALLOWED_LAED", "did you mean DRIFTGAUGE_ALLOWED_LEAD?"),
        ("DRIFTGAUGE_SHARD", "did you mean DRIFTGAUGE_SHARDS?"),
        ("DRIFTGAUGE_HTTP_PORT", "did you mean DRIFTGAUGE_HTTP__PORT?"),
        ("DRIFTGAUGE_HTPT__PORT", "did you mean DRIFTGAUGE_HTTP__PORT?"),
        ("DRIFTGAUGE_SECRET_DIR", "did you mean DRIFTGAUGE_SECRETS_DIR?"),
        ("DRIFTGAUGE_PORT", "remove it"),
        ("DRIFTGAUGE_DEBUG", "remove it"),
        ("DRIFTGAUGE_", "remove it"),
    ],
)
def test_variable_that_names_nothing_is_a_problem_beside_the_others(problems, name, remedy):
    message = problems(f"{MINIMAL}nope: 1\n", **{name: "3"})
    assert f"  - {name}: names no setting; {remedy}" in message
    assert "  - nope: no such key; remove it" in message


def test_variable_overrides_secret(load, secrets):
    environ = secrets(**{"kafka__sasl.password": "file", "kafka__sasl.username": "user"})
    kafka = load(**environ, DRIFTGAUGE_KAFKA__SASL_PASSWORD=SECRET).kafka
    assert (kafka["sasl.password"], kafka["sasl.username"]) == (SECRET, "user")
    again = {**environ, "DRIFTGAUGE_KAFKA__SASL_PASSWORD": SECRET}
    assert read_kafka_secrets(again) == {"sasl.username": "user"}


def test_unusable_secrets_are_reported_and_not_quoted(problems, secrets, tmp_path):
    message = problems(f"{MINIMAL}nope: 1\n", DRIFTGAUGE_SECRETS_DIR=str(tmp_path / "absent"))
    assert f"DRIFTGAUGE_SECRETS_DIR: {tmp_path / 'absent'} is no directory" in message
    assert "nope: no such key" in message
    environ = secrets(kafka__sasl__password=SECRET, other="x")
    names = "- kafka__sasl__password: names no setting; set a list as a whole, in JSON"
    assert problems(**environ).endswith(f":\n  {names}")
    (tmp_path / "secrets" / "kafka__sasl.password").write_bytes(SECRET.encode("utf-16"))
    with pytest.raises(ConfigError, match=r"/kafka__sasl\.password cannot be read as UTF-8;") as caught:
        load_settings(tmp_path / "driftgauge.yaml", environ)
    assert (caught.value.__cause__, caught.value.__context__) == (None, None)


@pytest.mark.parametrize("name", ["kafka__plugin.library.paths", "KAFKA__SSL_ENGINE_LOCATION"])
def test_file_of_secrets_sets_no_property_that_runs_code(problems, secrets, name):
    message = problems(MINIMAL, **secrets(**{name: "own"}))
    assert "would make librdkafka run code, so no file may set it" in message
