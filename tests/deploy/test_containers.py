"""The image, the compose stack and the workflows: what they are made of, and Kafka's own start."""

import json
import os
import re
import shlex
import sys
import zipfile
from collections.abc import Iterator
from fnmatch import fnmatch
from pathlib import Path

import click
import pytest
from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient
from deploy.demo.__main__ import demo
from deploy.demo.traffic import LIVE_STREAM
from packaging.requirements import Requirement

from driftgauge.cli import cli
from driftgauge.config import load_settings
from tests.deploy.dockerfile import DOCKER, PROJECT, ROOT, only, stages
from tests.deploy.servers import load
from tests.deploy.stack import DEMO, FILE, HELD_MIB, OURS, SERVICES, STACK, mounts
from tests.harness.jars import BrokerUnavailable, fetch_jars, find_java, kafka_version
from tests.harness.node import LOG4J, Node, free_ports
from tests.harness.topics import TIMEOUT_S, committed
from tests.needed import skip_or_fail
from tests.processes import run_command
from tests.wheel import build

DEPLOY = ROOT / "deploy"
UID = 65_532


def copied(stage):
    """The files and folders of the repository that a stage copies."""
    copies = (step.words for step in stages()[stage] if step.name == "COPY")
    return [word for words in copies if not words[0].startswith("--from") for word in words[:-1]]


def test_image_is_pinned_labelled_and_unprivileged():
    text = (DOCKER / "Dockerfile").read_text()
    (version,) = re.findall(r"^ARG BASE=python:(\d+\.\d+)\.\d+-slim-[a-z]+$", text, re.MULTILINE)
    assert Requirement(f"python{PROJECT['requires-python']}").specifier.contains(version)
    installs = [step.words for step in stages()["build"] if step.name == "RUN" and "pip" in step.words]
    assert all("--no-deps" in words for words in installs)
    assert [("--require-hashes" in words) != ("--no-index" in words) for words in installs] == [True] * 4
    labels = dict(re.findall(r'org\.opencontainers\.image\.(\w+)="([^"]*)"', only("LABEL").text))
    assert (labels["version"], labels["licenses"]) == (PROJECT["version"], PROJECT["license"])
    assert (only("USER").text, only("FROM", "default").words) == (f"{UID}:{UID}", ["service"])
    let_in = (DOCKER / "Dockerfile.dockerignore").read_text().splitlines()
    sources = copied("build") + copied("demo")
    assert [
        each for each in sources if not any(fnmatch(each, line[1:]) for line in let_in if line[0] == "!")
    ] == []


def test_wheel_holds_package_and_licence_without_tests(tmp_path):
    _, wheel = build(tmp_path)
    with zipfile.ZipFile(wheel) as archive:
        held = archive.namelist()
    info = f"driftgauge-{PROJECT['version']}.dist-info"
    assert {name.partition("/")[0] for name in held} == {"driftgauge", info}
    assert {"driftgauge/py.typed", f"{info}/licenses/LICENSE"} <= set(held)


WORKFLOWS = sorted((ROOT / ".github/workflows").glob("*.yml"))


@pytest.mark.parametrize(("schema", "files"), [("compose-spec", [FILE]), ("github-workflows", WORKFLOWS)])
def test_files_match_schema(schema, files):
    command = (sys.executable, "-m", "check_jsonschema", "--builtin-schema", f"vendor.{schema}", *files)
    done = run_command(*command)
    assert (done.returncode, done.stderr) == (0, "")


def test_workflows_pin_every_action():
    used = [name for path in WORKFLOWS for name in re.findall(r"uses: (?!\./)(.*)", path.read_text())]
    # A tag can move, and the workflow of a release may publish.
    assert [name for name in used if not re.fullmatch(r"[\w/-]+@[0-9a-f]{40} # v[\d.]+", name)] == []


EACH = pytest.mark.parametrize("name", SERVICES)


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
    # So many threads may a replica have with 30 brokers; `test_image` runs within those of one broker.
    assert name not in {"driftgauge", "page"} or limits["pids"] >= 30 * (30 + 4)
    # Twice the need, and four times where it was measured without load.
    margin = 4 if name in {"prometheus", "alertmanager"} else 2
    assert int(limits["memory"].removesuffix("m")) >= margin * HELD_MIB[name]
    assert all(re.fullmatch(r"127\.0\.0\.1:(\d+):\1", port) for port in service.get("ports", []))


@EACH
def test_every_mount_is_volume_or_existing_read_only_file(name):
    for source, _, mode in mounts(name):
        assert source in STACK["volumes"] or mode == "ro", source
        assert source in STACK["volumes"] or (DOCKER / source).exists(), source


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


def test_servers_find_each_other_by_compose_names():
    config = load(DEPLOY / "prometheus/prometheus.yml")
    (job,) = config["scrape_configs"]
    (found,) = job["dns_sd_configs"]
    assert str(found["port"]) == only("EXPOSE").text.split()[0]
    # Compose names a container after its project, service and number.
    replicas = range(1, 1 + SERVICES["driftgauge"]["deploy"]["replicas"])
    assert {f"{STACK['name']}-driftgauge-{number}" for number in replicas} <= set(found["names"])
    assert job["relabel_configs"] == [{"source_labels": ["__meta_dns_name"], "target_label": "instance"}]
    (glob,) = config["rule_files"]
    folders = {target: source for source, target, _ in mounts("prometheus")}
    rules = Path(os.path.normpath(f"/etc/prometheus/{glob}"))
    (file,) = (DOCKER / folders[str(rules.parent)]).glob(rules.name)
    assert set(re.findall(r'job="([^"]+)"', file.read_text())) == {job["job_name"]}
    ((alertmanager,),) = (each["static_configs"] for each in config["alerting"]["alertmanagers"])
    assert alertmanager["targets"] == ["alertmanager:9093"]
    (source,) = load(DEPLOY / "grafana/provisioning/datasources/prometheus.yml")["datasources"]
    assert source["url"] == "http://prometheus:9090"


def test_grafana_reads_mounted_dashboards_and_is_read_only_for_everybody():
    (provider,) = load(DEPLOY / "grafana/provisioning/dashboards/driftgauge.yml")["providers"]
    assert provider["options"]["path"] in {target for _, target, _ in mounts("grafana")}
    assert (provider["allowUiUpdates"], provider["disableDeletion"]) == (False, True)
    environment = SERVICES["grafana"]["environment"]
    # An editor or admin could change the dashboards and run any query; the initial password would be `admin`.
    assert environment["GF_AUTH_ANONYMOUS_ORG_ROLE"] == "Viewer"
    assert environment["GF_SECURITY_DISABLE_INITIAL_ADMIN_CREATION"] == "true"


@pytest.fixture
def broker(tmp_path) -> Iterator[Node]:
    """A broker configured from the stack's variables by the image's own code."""
    try:
        java = [find_java(), "-Xmx256m", f"-Dlog4j2.configurationFile={LOG4J}", "-cp", f"{fetch_jars()}/*"]
    except BrokerUnavailable as error:
        skip_or_fail(str(error))
    environment = SERVICES["kafka"]["environment"]
    port, controller = free_ports(2)
    address = f"127.0.0.1:{port}"
    node = Node(environment["KAFKA_NODE_ID"], tmp_path / "final", java, environment["CLUSTER_ID"], address)
    place = {
        "://:9092": f"://{address}",
        "kafka:9092": address,
        "localhost:9093": f"127.0.0.1:{controller}",
        "/var/lib/kafka/data": str(node.data),
    }
    text = json.dumps({name: str(value) for name, value in environment.items()})
    for there, here in place.items():
        text = text.replace(there, here)
    for folder in ("default", "mounted", "final"):
        (tmp_path / folder).mkdir()
    # The image has Kafka's own files there; only the server's properties matter here.
    for name in ("log4j2.yaml", "tools-log4j2.yaml"):
        (tmp_path / "default" / name).write_text(
            "Configuration: {Appenders: {}, Loggers: {Root: {level: INFO}, Logger: []}}"
        )
    (tmp_path / "default/server.properties").write_text("node.id=7\n")
    setup = shlex.split("kafka.docker.KafkaDockerWrapper setup -D default -M mounted -F final")
    run_command(*java, *setup, cwd=tmp_path, env=os.environ | json.loads(text), check=True)
    node.start()
    yield node
    node.stop()


@pytest.mark.broker
def test_kafka_starts_from_compose_variables_with_groups_and_transactions(broker):
    assert (broker.data / "meta.properties").is_file()
    # Both need internal topics, which one node can hold only with replication factor 1.
    properties = {"bootstrap.servers": broker.bootstrap}
    Producer({**properties, "transactional.id": "t"}).init_transactions(TIMEOUT_S)
    assert committed(broker.bootstrap, "g", "embeddings", [0]) == {}
    topics = AdminClient(properties).list_topics(timeout=TIMEOUT_S).topics
    assert {"__transaction_state", "__consumer_offsets"} <= topics.keys()
