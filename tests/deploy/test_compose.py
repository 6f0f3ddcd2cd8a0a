"""The compose stack without an engine: its form, and the services of this project."""

import re
import sys

import click
import pytest
from deploy.demo.__main__ import demo
from deploy.demo.live import LIVE_STREAM

from driftgauge.cli import cli
from driftgauge.config import load_settings
from tests.deploy.dockerfile import DOCKER, PROJECT, ROOT, stage
from tests.deploy.stack import DEMO, FILE, OURS, SERVICES, STACK, memory_mib, mounts
from tests.harness.jars import kafka_version
from tests.processes import run_command

# The start script writes its configuration.
WRITING = {"kafka"}
# Temporary file systems that images write to.
SCRATCH = {"grafana": "/tmp", "topics": "/tmp"}  # noqa: S108 - the containers' own


def test_compose_file_matches_compose_specification():
    command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.compose-spec", FILE]
    done = run_command(*command)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("name", SERVICES)
def test_every_image_has_exact_tag(name):
    assert re.fullmatch(r"[a-z]+(?:[/-][a-z]+)?:v?\d+\.\d+\.\d+", SERVICES[name]["image"])


def test_images_match_project_version_and_tested_kafka():
    assert {SERVICES[name]["image"] for name in ("driftgauge", "page")} == {
        f"driftgauge:{PROJECT['version']}"
    }
    assert {service["image"] for service in DEMO.values()} == {f"driftgauge-demo:{PROJECT['version']}"}
    assert DEMO.keys() == {"prepare", "producer"}
    assert {SERVICES[name]["image"] for name in ("kafka", "topics")} == {f"apache/kafka:{kafka_version()}"}


def test_one_service_builds_each_image_and_no_other_service_pulls_it():
    # Builds of one tag run in parallel, and the second fails if the first has stored it.
    assert {name for name, service in SERVICES.items() if "build" in service} == {"driftgauge", "prepare"}
    for name, target in (("driftgauge", None), ("prepare", "demo")):
        build = SERVICES[name]["build"]
        assert (DOCKER / build["context"]).resolve() == ROOT
        assert ROOT / build["dockerfile"] == DOCKER / "Dockerfile"
        assert build.get("target") == target
    for name, builder in (("page", "driftgauge"), ("producer", "prepare")):
        # No registry has this image, or it has a different one.
        assert SERVICES[name]["pull_policy"] == "never"
        assert builder in awaited(name)


@pytest.mark.parametrize("name", SERVICES)
def test_every_service_is_confined(name):
    service = SERVICES[name]
    assert service["read_only"] is (name not in WRITING)
    assert service.get("tmpfs") == ([SCRATCH[name]] if name in SCRATCH else None)
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert not {"privileged", "cap_add", "user", "pid", "ipc"} & set(service)
    assert service["deploy"]["resources"]["limits"].keys() == {"cpus", "memory", "pids"}
    assert service["restart"] in {"unless-stopped", "on-failure:3"}


def test_every_port_is_published_only_on_loopback():
    published = {name: service["ports"] for name, service in SERVICES.items() if "ports" in service}
    assert published.keys() == {"page", "alertmanager", "prometheus", "grafana"}
    for ports in published.values():
        for port in ports:
            assert re.fullmatch(r"127\.0\.0\.1:(\d+):\1", port)


@pytest.mark.parametrize("name", SERVICES)
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


@pytest.mark.parametrize("name", SERVICES)
def test_every_dependency_condition_can_be_met(name):
    for other, condition in SERVICES[name].get("depends_on", {}).items():
        awaited = SERVICES[other]
        if condition["condition"] == "service_healthy":
            assert awaited["healthcheck"]["test"][0] == "CMD"
            assert awaited["restart"] == "unless-stopped"
        else:
            assert condition["condition"] == "service_completed_successfully"
            # A service that always restarts never completes.
            assert awaited["restart"] == "on-failure:3"


def awaited(name):
    """All services that a service waits for, directly or indirectly."""
    direct = set(SERVICES[name].get("depends_on", {}))
    return direct.union(*map(awaited, direct))


def test_producer_waits_for_all_other_services():
    assert awaited("producer") == SERVICES.keys() - {"producer"}


def parse(arguments, command=cli):
    """The click context of a command line of driftgauge or the demo, parsed and not run."""
    words = list(arguments)
    while isinstance(command, click.Group) and words:
        command = command.get_command(click.Context(command), words.pop(0))
    assert not isinstance(command, click.Group)
    return command.make_context("ours", words)


def params(name):
    """The parameters of one of our services: of its own command, or of the image's default."""
    (default,) = (step.words for step in stage("service") if step.name == "CMD")
    return parse(OURS[name].get("command", default), demo if name in DEMO else cli).params


@pytest.mark.parametrize("name", OURS)
def test_command_line_accepts_every_command_of_our_services(name):
    assert params(name)


def test_stack_waits_for_readiness_and_image_checks_liveness():
    (image,) = (step.words for step in stage("service") if step.name == "HEALTHCHECK")
    assert image == ["driftgauge", "health"]
    assert not parse(image[1:]).params["ready"]
    for name in ("driftgauge", "page"):
        kind, program, *arguments = SERVICES[name]["healthcheck"]["test"]
        assert (kind, program) == ("CMD", "driftgauge")
        assert arguments[0] == "health"
        assert parse(arguments).params["ready"]
    for name in DEMO:
        assert OURS[name]["healthcheck"] == {"disable": True}


# The measured maximum in MiB: the service while it read a backlog of vectors of 512 numbers, the page with
# 60,000 windows, the others with these commands.
HELD_MIB = {"driftgauge": 210, "page": 133, "prepare": 205, "producer": 163}


@pytest.mark.parametrize("name", OURS)
def test_memory_limit_of_our_service_is_twice_measured_memory(name):
    assert memory_mib(name) >= 2 * HELD_MIB[name]


def test_service_and_producer_read_files_of_prepare():
    written = params("prepare")["out"]
    (owned,) = (step.words for step in stage("service") if step.words[:2] == ["install", "-d"])
    assert owned[2:] == ["-o", "65532", "-g", "65532", str(written)]
    settings = load_settings(DOCKER / "driftgauge.yaml", {})
    (stream,) = settings.streams
    (baseline,) = stream.baselines
    assert (stream.name, baseline.file) == (LIVE_STREAM, written / f"{LIVE_STREAM}.safetensors")
    assert params("producer")["network"] == written / "network.safetensors"
    for name in ("driftgauge", "producer"):
        config = params(name)["config_path"]
        assert list(mounts(name)) == [
            ("./driftgauge.yaml", str(config), "ro"),
            ("prepared", str(written), "ro"),
        ]
    assert list(mounts("prepare")) == [("prepared", str(written), "rw")]


def test_events_topic_matches_configuration_and_has_partition_for_each_replica():
    settings = load_settings(DOCKER / "driftgauge.yaml", {})
    options = dict(word.removeprefix("--").partition("=")[::2] for word in SERVICES["topics"]["command"][1:])
    assert options["bootstrap-server"] == settings.kafka["bootstrap.servers"]
    assert (options["topic"],) == settings.topics.events
    assert int(options["partitions"]) >= OURS["driftgauge"]["deploy"]["replicas"] > 1
