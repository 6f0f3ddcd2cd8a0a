"""`driftgauge config check`, and the configuration errors of all commands."""

import json

from click.testing import CliRunner

from driftgauge.cli import cli
from tests.builders.baselines import save_baseline
from tests.builders.configs import write_config
from tests.cli.command import run


def test_config_check_prints_settings_and_baselines(config, monkeypatch):
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


def test_config_check_counts_warnings_of_all_streams(tmp_path):
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


def test_config_check_reports_properties_and_baselines_together(tmp_path):
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


def test_config_check_reports_registry_properties_without_a_registry(tmp_path):
    mapping = {"encoding": "avro", "stream": "stream", "embedding": "vector"}
    inputs = {"embeddings": mapping}
    registry = {"url": "http://127.0.0.1:1", "basic.auth.user.info": "user:hunter2"}
    save_baseline(tmp_path)
    config = write_config(tmp_path, inputs=inputs, schema_registry=registry)
    assert run("config", "check", "--config", config).returncode == 0
    config = write_config(tmp_path, inputs=inputs, schema_registry={**registry, "no.such.property": 1})
    done = run("config", "check", "--config", config)
    assert done.returncode == 2
    assert "schema_registry: Unrecognized properties: no.such.property" in done.stderr
    assert "hunter2" not in done.stderr


def test_invalid_configuration_reports_all_problems_and_exits_with_2(tmp_path):
    config = write_config(tmp_path, {"windows": [5]}, nope=1)
    done = run("serve", "--config", config)
    assert done.returncode == 2
    assert "streams.0.windows.0: 5 has no unit" in done.stderr
    assert "nope: Extra inputs are not permitted" in done.stderr
    assert "Traceback" not in done.stderr
