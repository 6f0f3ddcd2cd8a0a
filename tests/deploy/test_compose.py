"""The compose stack without an engine: its form, its commands, and the files that its servers read."""

import re
import sys

import click
import pytest
import yaml
from deploy.demo.__main__ import demo
from deploy.demo.traffic import LIVE_STREAM

from driftgauge.cli import cli
from driftgauge.config import load_settings
from tests.deploy.dockerfile import DOCKER, PROJECT, ROOT, only, stages
from tests.deploy.stack import DEMO, FILE, HELD_MIB, OURS, SERVICES, STACK, mounts
from tests.harness.jars import kafka_version
from tests.processes import run_command, run_required

EACH = pytest.mark.parametrize("name", SERVICES)


def test_compose_file_matches_compose_specification():
    command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.compose-spec", FILE]
    done = run_command(*command)
    assert (done.returncode, done.stderr) == (0, "")


def test_images_match_project_version_and_tested_kafka():
    ours = {"driftgauge": "driftgauge", "page": "driftgauge"} | dict.fromkeys(DEMO, "driftgauge-demo")
    assert {name: f"{image}:{PROJECT['version']}" for name, image in ours.items()} == {
        name: service["image"] for name, service in OURS.items()
    }
    assert {SERVICES[name]["image"] for name in ("kafka", "topics")} == {f"apache/kafka:{kafka_version()}"}


@EACH
def test_every_service_is_pinned_and_confined(name):
    service = SERVICES[name]
    assert re.fullmatch(r"[a-z]+(?:[/-][a-z]+)?:v?\d+\.\d+\.\d+", service["image"])
    # Kafka's start script writes its configuration.
    assert service["read_only"] is (name != "kafka")
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert not {"privileged", "cap_add", "user", "pid", "ipc"} & set(service)
    limits = service["deploy"]["resources"]["limits"]
    assert limits.keys() == {"cpus", "memory", "pids"}
    # Twice the need, and four times where it was measured without load.
    margin = 4 if name in {"prometheus", "alertmanager"} else 2
    assert int(limits["memory"].removesuffix("m")) >= margin * HELD_MIB[name]
    assert all(re.fullmatch(r"127\.0\.0\.1:(\d+):\1", port) for port in service.get("ports", []))


@EACH
def test_every_mount_is_volume_or_existing_read_only_file(name):
    for source, _, mode in mounts(name):
        if source.startswith("."):
            assert (DOCKER / source).exists(), source
            assert mode == "ro"
        else:
            assert source in STACK["volumes"]


def test_each_volume_has_one_writer():
    writers = [source for name in SERVICES for source, _, mode in mounts(name) if mode == "rw"]
    assert sorted(writers) == sorted(STACK["volumes"])


@EACH
def test_every_dependency_condition_can_be_met(name):
    for other, condition in SERVICES[name].get("depends_on", {}).items():
        # A service that always restarts never completes.
        completes = SERVICES[other]["restart"] == "on-failure:3"
        assert condition["condition"] == (
            "service_completed_successfully" if completes else "service_healthy"
        )
        assert completes or SERVICES[other]["healthcheck"]["test"][0] == "CMD"


def parse(arguments, command=cli):
    """The parameters of a command line of driftgauge or the demo, parsed and not run."""
    words = list(arguments)
    while isinstance(command, click.Group):
        command = command.get_command(click.Context(command), words.pop(0))
    return command.make_context("ours", words).params


def params(name):
    """The parameters of one of our services: of its own command, or of the image's default."""
    return parse(OURS[name].get("command", only("CMD").words), demo if name in DEMO else cli)


def test_stack_waits_for_readiness_and_image_checks_liveness():
    _, *image = only("HEALTHCHECK").words
    assert parse(image)["ready"] is False
    for name in ("driftgauge", "page"):
        _, program, *arguments = SERVICES[name]["healthcheck"]["test"]
        assert program == "driftgauge"
        assert parse(arguments)["ready"] is True


def test_our_services_read_mounted_configuration_and_files_of_prepare():
    written = params("prepare")["out"]
    # A new volume takes the owner of the image's folder.
    owned = ["install", "-d", "-o", "65532", "-g", "65532", str(written)]
    assert owned in [step.words for step in stages()["service"]]
    settings = load_settings(DOCKER / "driftgauge.yaml", {})
    (stream,) = settings.streams
    (baseline,) = stream.baselines
    assert (stream.name, baseline.file) == (LIVE_STREAM, written / f"{LIVE_STREAM}.safetensors")
    assert ("prepared", str(written), "rw") in mounts("prepare")
    assert ("prepared", str(written), "ro") in mounts("driftgauge")
    for name in ("driftgauge", "page", "producer"):
        assert ("./driftgauge.yaml", str(params(name)["config_path"]), "ro") in mounts(name)


def test_topic_and_addresses_are_those_of_broker():
    settings = load_settings(DOCKER / "driftgauge.yaml", {})
    options = dict(word.removeprefix("--").partition("=")[::2] for word in SERVICES["topics"]["command"][1:])
    assert (options["topic"],) == settings.topics.events
    assert int(options["partitions"]) >= OURS["driftgauge"]["deploy"]["replicas"] > 1
    address = SERVICES["kafka"]["environment"]["KAFKA_ADVERTISED_LISTENERS"].removeprefix("PLAINTEXT://")
    assert {
        options["bootstrap-server"],
        settings.kafka["bootstrap.servers"],
        SERVICES["kafka"]["healthcheck"]["test"][-1],
    } == {address}


def read(path):
    return yaml.safe_load((ROOT / "deploy" / path).read_text())


def test_servers_find_each_other_by_compose_names():
    config = read("prometheus/prometheus.yml")
    (job,) = config["scrape_configs"]
    (found,) = job["dns_sd_configs"]
    assert str(found["port"]) == only("EXPOSE").text.split()[0]
    # Compose names a container after its project, service and number.
    replicas = range(1, 1 + SERVICES["driftgauge"]["deploy"]["replicas"])
    assert {f"{STACK['name']}-driftgauge-{number}" for number in replicas} <= set(found["names"])
    assert job["relabel_configs"] == [{"source_labels": ["__meta_dns_name"], "target_label": "instance"}]
    ((alertmanager,),) = (each["static_configs"] for each in config["alerting"]["alertmanagers"])
    assert alertmanager["targets"] == ["alertmanager:9093"]
    (source,) = read("grafana/provisioning/datasources/prometheus.yml")["datasources"]
    assert source["url"] == "http://prometheus:9090"


@pytest.mark.parametrize(
    ("name", "port", "file", "data"),
    [
        ("prometheus", 9090, "--config.file=/etc/prometheus/prometheus.yml", "--storage.tsdb.path="),
        ("alertmanager", 9093, "--config.file=/etc/alertmanager/alertmanager.yml", "--storage.path="),
    ],
)
def test_server_reads_mounted_file_and_writes_to_volume(name, port, file, data):
    service = SERVICES[name]
    targets = {target: source for source, target, _ in mounts(name)}
    folder, _, config = file.removeprefix("--config.file=").rpartition("/")
    assert (DOCKER / targets[folder] / config).is_file()
    (volume,) = (target for _, target, mode in mounts(name) if mode == "rw")
    assert service["command"] == [file, f"{data}{volume}"]
    assert service["ports"] == [f"127.0.0.1:{port}:{port}"]
    assert service["healthcheck"]["test"][-1].endswith(f"url=http://localhost:{port}")


@pytest.mark.stack
def test_amtool_accepts_health_check_command():
    _, _, *arguments = SERVICES["alertmanager"]["healthcheck"]["test"]
    run_required("amtool", "prometheus-alertmanager", *arguments, "--help")


def test_grafana_reads_mounted_dashboards_and_is_read_only_for_everybody():
    (provider,) = read("grafana/provisioning/dashboards/driftgauge.yml")["providers"]
    assert provider["options"]["path"] in {target for _, target, _ in mounts("grafana")}
    assert (provider["allowUiUpdates"], provider["disableDeletion"]) == (False, True)
    environment = SERVICES["grafana"]["environment"]
    # An editor or admin could change the dashboards and run any query; the initial password would be `admin`.
    assert environment["GF_AUTH_ANONYMOUS_ORG_ROLE"] == "Viewer"
    assert environment["GF_SECURITY_DISABLE_INITIAL_ADMIN_CREATION"] == "true"
