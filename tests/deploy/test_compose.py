"""The compose stack: what can be known of it without an engine."""

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator

import click
import pytest
import yaml
from confluent_kafka import KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient

from driftgauge.cli import cli
from driftgauge.config import load_settings
from driftgauge.demo.live import LIVE_STREAM
from driftgauge.kafka import client
from tests.deploy.dockerfile import DOCKER, PROJECT, ROOT, instructions
from tests.integration.service import wait_for
from tests.kafka.broker import LOG4J, BrokerUnavailable, fetch_jars, find_java, free_ports
from tests.kafka.fixtures import skip_or_fail

FILE = DOCKER / "compose.yaml"
STACK = yaml.safe_load(FILE.read_text())
SERVICES = STACK["services"]
OURS = {name: service for name, service in SERVICES.items() if "build" in service}
KAFKA_START_S = 60.0

# Its start script writes the configuration that it makes.
WRITING = {"kafka"}
# What else an image writes to, if only to a temporary file system.
SCRATCH = {"grafana": "/tmp", "topics": "/tmp"}  # noqa: S108 - the containers' own


def mounts(service):
    """Source, target and mode of each mount."""
    for entry in service.get("volumes", []):
        source, target, *mode = entry.split(":")
        yield source, target, (mode or ["rw"])[0]


def test_the_file_is_what_the_compose_specification_takes():
    command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.compose-spec", str(FILE)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("name", SERVICES)
def test_every_image_is_pinned_to_an_exact_tag(name):
    assert re.fullmatch(r"[a-z]+(?:/[a-z]+)?:v?\d+\.\d+\.\d+", SERVICES[name]["image"])


def test_the_images_are_of_the_project_and_of_the_kafka_that_the_tests_run_on():
    assert {service["image"] for service in OURS.values()} == {f"driftgauge:{PROJECT['version']}"}
    (version,) = set(re.findall(r"<version>(\d+\.\d+\.\d+)</version>", first_dependency()))
    assert {SERVICES[name]["image"] for name in ("kafka", "topics")} == {f"apache/kafka:{version}"}


def first_dependency():
    text = (ROOT / "tests/kafka/pom.xml").read_text()
    return text[text.index("<dependency>") : text.index("</dependency>")]


@pytest.mark.parametrize("name", OURS)
def test_the_image_is_built_as_the_dockerfile_says(name):
    build = OURS[name]["build"]
    assert (DOCKER / build["context"]).resolve() == ROOT
    assert ROOT / build["dockerfile"] == DOCKER / "Dockerfile"


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
    for source, _, mode in mounts(SERVICES[name]):
        if source.startswith("."):
            assert (DOCKER / source).exists(), source
            assert mode == "ro"
        else:
            assert source in STACK["volumes"]


def test_each_volume_has_one_writer():
    writers = [source for service in SERVICES.values() for source, _, mode in mounts(service) if mode == "rw"]
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


def test_the_producer_waits_in_the_end_for_everything():
    waited, waiting = set(), ["producer"]
    while waiting:
        name = waiting.pop()
        if name not in waited:
            waited.add(name)
            waiting += SERVICES[name].get("depends_on", {})
    assert waited == set(SERVICES)


def parse(arguments):
    """The context of a command line of ours, whose every option click has taken; nothing is run."""
    command, words = cli, list(arguments)
    while isinstance(command, click.Group) and words:
        command = command.commands[words.pop(0)]
    assert not isinstance(command, click.Group)
    return command.make_context("driftgauge", words)


def told(name):
    """What a service of ours is told: its own command, or the image's."""
    (default,) = (step.words for step in instructions()[-1] if step.name == "CMD")
    return OURS[name].get("command", default)


@pytest.mark.parametrize("name", OURS)
def test_every_command_of_ours_is_one_that_the_command_line_takes(name):
    parse(told(name))


def test_every_check_of_our_health_is_one_that_the_command_line_takes():
    (image,) = (step.words for step in instructions()[-1] if step.name == "HEALTHCHECK")
    for program, *arguments in (image, SERVICES["driftgauge"]["healthcheck"]["test"][1:]):
        assert program == "driftgauge"
        parse(arguments)
    for name in OURS.keys() - {"driftgauge"}:
        assert OURS[name]["healthcheck"] == {"disable": True}


def test_the_service_and_the_producer_read_what_prepare_writes():
    written = parse(told("prepare")).params["out"]
    (owned,) = (step.words for step in instructions()[-1] if step.words[:2] == ["install", "-d"])
    assert owned[2:] == ["-o", "65532", "-g", "65532", str(written)]
    settings = load_settings(DOCKER / "driftgauge.yaml", {})
    (stream,) = settings.streams
    assert (stream.name, stream.baseline) == (LIVE_STREAM, written / f"{LIVE_STREAM}.safetensors")
    assert parse(told("producer")).params["network"] == written / "network.safetensors"
    for name in ("driftgauge", "producer"):
        config = parse(told(name)).params["config_path"]
        assert list(mounts(OURS[name])) == [
            ("./driftgauge.yaml", str(config), "ro"),
            ("prepared", str(written), "ro"),
        ]
    assert list(mounts(OURS["prepare"])) == [("prepared", str(written), "rw")]


def test_the_topic_is_made_where_the_service_looks_for_it_with_a_partition_for_each_replica():
    settings = load_settings(DOCKER / "driftgauge.yaml", {})
    options = dict(word.removeprefix("--").partition("=")[::2] for word in SERVICES["topics"]["command"][1:])
    assert options["bootstrap-server"] == settings.kafka["bootstrap.servers"]
    assert (options["topic"],) == settings.topics.events
    assert int(options["partitions"]) >= OURS["driftgauge"]["deploy"]["replicas"] > 1


def read(path):
    return yaml.safe_load((ROOT / "deploy" / path).read_text())


def test_prometheus_finds_each_replica_and_alertmanager_and_grafana_finds_prometheus_by_their_names():
    config = read("prometheus/prometheus.yml")
    (exposed,) = (step.words for step in instructions()[-1] if step.name == "EXPOSE")
    (job,) = config["scrape_configs"]
    assert job["dns_sd_configs"] == [{"names": ["driftgauge"], "type": "A", "port": int(exposed[0])}]
    assert config["alerting"]["alertmanagers"] == [{"static_configs": [{"targets": ["alertmanager:9093"]}]}]
    (source,) = read("grafana/provisioning/datasources/prometheus.yml")["datasources"]
    assert source["url"] == "http://prometheus:9090"


@pytest.mark.parametrize(
    ("name", "inside", "needed"),
    [
        ("prometheus", "/etc/prometheus", ["prometheus.yml", "rules"]),
        ("alertmanager", "/etc/alertmanager", ["alertmanager.yml", "templates"]),
        ("grafana", "/etc/grafana/provisioning", ["alerting", "dashboards", "datasources"]),
        ("grafana", "/etc/grafana/dashboards", ["driftgauge-drift.json", "driftgauge-service.json"]),
    ],
)
def test_what_a_server_reads_is_mounted_where_it_looks(name, inside, needed):
    (source,) = (source for source, target, _ in mounts(SERVICES[name]) if target == inside)
    for file in needed:
        assert (DOCKER / source / file).exists()
    for option in SERVICES[name].get("command", []):
        if option.startswith("--config.file="):
            assert option.removeprefix("--config.file=") == f"{inside}/{needed[0]}"


def test_grafana_reads_dashboards_from_where_they_are_mounted():
    (provider,) = read("grafana/provisioning/dashboards/driftgauge.yml")["providers"]
    assert provider["options"]["path"] in {target for _, target, _ in mounts(SERVICES["grafana"])}


@pytest.fixture
def broker(tmp_path) -> Iterator[str]:
    """The address of a broker that runs by the stack's variables, which the image's own code has read."""
    try:
        java = [find_java(), "-Xmx256m", f"-Dlog4j2.configurationFile={LOG4J}", "-cp", f"{fetch_jars()}/*"]
    except BrokerUnavailable as error:
        skip_or_fail(str(error))
    port, controller = free_ports(2)
    place = {
        "://:9092": f"://127.0.0.1:{port}",
        "kafka:9092": f"127.0.0.1:{port}",
        "localhost:9093": f"127.0.0.1:{controller}",
        "/var/lib/kafka/data": str(tmp_path / "data"),
    }
    variables = {}
    for name, value in SERVICES["kafka"]["environment"].items():
        text = str(value)
        for there, here in place.items():
            text = text.replace(there, here)
        variables[name] = text
    for folder in ("default", "mounted", "final"):
        (tmp_path / folder).mkdir()
    # What the image has there is Kafka's own; of these only the server's properties matter here.
    for name in ("log4j2.yaml", "tools-log4j2.yaml"):
        (tmp_path / "default" / name).write_text(
            "Configuration: {Appenders: {}, Loggers: {Root: {level: INFO}, Logger: []}}"
        )
    (tmp_path / "default/server.properties").write_text("node.id=7\n")
    setup = "kafka.docker.KafkaDockerWrapper setup -D default -M mounted -F final"
    subprocess.run(
        [*java, *shlex.split(setup)],
        cwd=tmp_path,
        env={**os.environ, **variables},
        check=True,
        capture_output=True,
        timeout=KAFKA_START_S,
    )
    with (tmp_path / "kafka.log").open("wb") as log:
        process = subprocess.Popen(
            [*java, "kafka.Kafka", "final/server.properties"],
            cwd=tmp_path,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    try:
        yield f"127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait()


def succeeds(ask):
    """Whether Kafka does what it is asked, which while it starts it may not yet."""
    try:
        ask()
    except KafkaException:
        return False
    return True


@pytest.mark.integration
def test_kafka_starts_by_the_variables_and_holds_groups_and_transactions(broker, tmp_path):
    admin = AdminClient({"bootstrap.servers": broker, "log_level": 0})
    wait_for("the broker", lambda: succeeds(lambda: admin.list_topics(timeout=2)))
    assert admin.list_topics(timeout=2).cluster_id == SERVICES["kafka"]["environment"]["CLUSTER_ID"]
    assert (tmp_path / "data/meta.properties").is_file()
    # Each takes a topic of Kafka's own, which a single node can hold only as it is told to.
    properties = {"bootstrap.servers": broker, "group.id": "g"}
    producer, consumer = client.transactional_producer(properties, "t"), client.consumer(properties)
    wait_for("transactions", lambda: succeeds(lambda: producer.init_transactions(5)))
    asked = [TopicPartition("embeddings", 0)]
    wait_for("the group", lambda: succeeds(lambda: consumer.committed(asked, timeout=5)))
    consumer.close()
    assert {"__transaction_state", "__consumer_offsets"} <= admin.list_topics(timeout=10).topics.keys()
