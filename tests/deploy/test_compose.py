"""The compose stack: what can be known of it without an engine, but for the servers of others."""

import re
import subprocess
import sys

import click
import pytest
from deploy.demo.__main__ import demo
from deploy.demo.live import LIVE_STREAM

from driftgauge.cli import cli
from driftgauge.config import load_settings
from tests.deploy.dockerfile import DOCKER, PROJECT, ROOT, stage
from tests.deploy.stack import DEMO, FILE, OURS, SERVICES, STACK, memory_mib, mounts
from tests.kafka.jars import kafka_version

# Its start script writes the configuration that it makes.
WRITING = {"kafka"}
# What else an image writes to, if only to a temporary file system.
SCRATCH = {"grafana": "/tmp", "topics": "/tmp"}  # noqa: S108 - the containers' own


def test_the_file_is_what_the_compose_specification_takes():
    command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.compose-spec", str(FILE)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("name", SERVICES)
def test_every_image_is_pinned_to_an_exact_tag(name):
    assert re.fullmatch(r"[a-z]+(?:[/-][a-z]+)?:v?\d+\.\d+\.\d+", SERVICES[name]["image"])


def test_the_images_are_of_the_project_and_of_the_kafka_that_the_tests_run_on():
    assert SERVICES["driftgauge"]["image"] == f"driftgauge:{PROJECT['version']}"
    assert {service["image"] for service in DEMO.values()} == {f"driftgauge-demo:{PROJECT['version']}"}
    assert DEMO.keys() == {"prepare", "producer"}
    assert {SERVICES[name]["image"] for name in ("kafka", "topics")} == {f"apache/kafka:{kafka_version()}"}


def test_one_service_builds_each_image_and_any_other_that_runs_it_never_pulls_it():
    # Builds of one tag run side by side, and where it is stored already the second fails.
    assert {name for name, service in SERVICES.items() if "build" in service} == {"driftgauge", "prepare"}
    for name, target in (("driftgauge", None), ("prepare", "demo")):
        build = SERVICES[name]["build"]
        assert (DOCKER / build["context"]).resolve() == ROOT
        assert ROOT / build["dockerfile"] == DOCKER / "Dockerfile"
        assert build.get("target") == target
    # No registry has it, or somebody else's.
    assert SERVICES["producer"]["pull_policy"] == "never"
    assert "prepare" in awaited("producer")


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


def test_every_port_is_published_on_loopback_only():
    published = {name: service["ports"] for name, service in SERVICES.items() if "ports" in service}
    assert published.keys() == {"alertmanager", "prometheus", "grafana"}
    for ports in published.values():
        for port in ports:
            assert re.fullmatch(r"127\.0\.0\.1:(\d+):\1", port)


@pytest.mark.parametrize("name", SERVICES)
def test_what_is_mounted_is_there_or_a_volume_and_files_are_mounted_read_only(name):
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
def test_what_a_service_waits_for_can_come_true(name):
    for other, condition in SERVICES[name].get("depends_on", {}).items():
        awaited = SERVICES[other]
        if condition["condition"] == "service_healthy":
            assert awaited["healthcheck"]["test"][0] == "CMD"
            assert awaited["restart"] == "unless-stopped"
        else:
            assert condition["condition"] == "service_completed_successfully"
            # One that was started again whenever it ends would never be done.
            assert awaited["restart"] == "on-failure:3"


def awaited(name):
    """All that a service waits for, directly or because what it waits for does."""
    direct = set(SERVICES[name].get("depends_on", {}))
    return direct.union(*map(awaited, direct))


def test_the_producer_waits_in_the_end_for_everything():
    assert awaited("producer") == SERVICES.keys() - {"producer"}


def parse(arguments, command=cli):
    """The context of a command line of ours, whose every option click has taken; nothing is run."""
    words = list(arguments)
    while isinstance(command, click.Group) and words:
        command = command.commands[words.pop(0)]
    assert not isinstance(command, click.Group)
    return command.make_context("ours", words)


def params(name):
    """The parameters of a service of ours: by its own command, or the image's."""
    (default,) = (step.words for step in stage("service") if step.name == "CMD")
    return parse(OURS[name].get("command", default), demo if name in DEMO else cli).params


@pytest.mark.parametrize("name", OURS)
def test_every_command_of_ours_is_one_that_the_command_line_takes(name):
    assert params(name)


def test_the_stack_waits_until_the_service_is_ready_and_the_image_asks_whether_it_lives():
    (image,) = (step.words for step in stage("service") if step.name == "HEALTHCHECK")
    assert image == ["driftgauge", "health"]
    assert not parse(image[1:]).params["ready"]
    kind, program, *arguments = SERVICES["driftgauge"]["healthcheck"]["test"]
    assert (kind, program) == ("CMD", "driftgauge")
    assert arguments[0] == "health"
    assert parse(arguments).params["ready"]
    for name in OURS.keys() - {"driftgauge"}:
        assert OURS[name]["healthcheck"] == {"disable": True}


# The most that each was seen to hold in MiB: the service reading a backlog of vectors of 512 numbers, the
# others by these commands.
HELD_MIB = {"driftgauge": 210, "prepare": 205, "producer": 163}


@pytest.mark.parametrize("name", OURS)
def test_each_of_ours_may_hold_twice_the_memory_that_it_was_seen_to(name):
    assert memory_mib(name) >= 2 * HELD_MIB[name]


def test_the_service_and_the_producer_read_what_prepare_writes():
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


def test_the_topic_is_made_where_the_service_looks_for_it_with_a_partition_for_each_replica():
    settings = load_settings(DOCKER / "driftgauge.yaml", {})
    options = dict(word.removeprefix("--").partition("=")[::2] for word in SERVICES["topics"]["command"][1:])
    assert options["bootstrap-server"] == settings.kafka["bootstrap.servers"]
    assert (options["topic"],) == settings.topics.events
    assert int(options["partitions"]) >= OURS["driftgauge"]["deploy"]["replicas"] > 1
