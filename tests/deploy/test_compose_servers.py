"""The third-party servers of the compose stack: addresses, mounts, health checks, memory limits."""

import re

import pytest
import yaml

from tests.deploy.dockerfile import DOCKER, ROOT, stage
from tests.deploy.stack import SERVICES, STACK, memory_mib, mounts
from tests.processes import run_required


def read(path):
    return yaml.safe_load((ROOT / "deploy" / path).read_text())


def test_servers_find_each_other_by_compose_names():
    config = read("prometheus/prometheus.yml")
    (exposed,) = (step.words for step in stage("service") if step.name == "EXPOSE")
    (job,) = config["scrape_configs"]
    # Compose names a container after its project, service and number.
    replicas = SERVICES["driftgauge"]["deploy"]["replicas"]
    (found,) = job["dns_sd_configs"]
    assert (found["type"], found["port"]) == ("A", int(exposed[0]))
    names = [f"{STACK['name']}-driftgauge-{number}" for number in range(1, 1 + len(found["names"]))]
    assert found["names"] == names
    assert replicas <= len(names)
    assert job["relabel_configs"] == [{"source_labels": ["__meta_dns_name"], "target_label": "instance"}]
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
def test_files_are_mounted_where_server_reads_them(name, inside, needed):
    (source,) = (source for source, target, _ in mounts(name) if target == inside)
    for file in needed:
        assert (DOCKER / source / file).exists()
    for option in SERVICES[name].get("command", []):
        if option.startswith("--config.file="):
            assert option.removeprefix("--config.file=") == f"{inside}/{needed[0]}"


def test_grafana_provider_reads_mounted_dashboards():
    (provider,) = read("grafana/provisioning/dashboards/driftgauge.yml")["providers"]
    assert provider["options"]["path"] in {target for _, target, _ in mounts("grafana")}


# The setting of each data folder: an option, a variable, or (Grafana) the default of its image.
KEPT = {
    "prometheus": "--storage.tsdb.path=",
    "alertmanager": "--storage.path=",
    "kafka": "KAFKA_LOG_DIRS",
    "grafana": "/var/lib/grafana",
}


@pytest.mark.parametrize("name", KEPT)
def test_data_of_server_is_on_its_volume(name):
    (volume,) = (target for _, target, mode in mounts(name) if mode == "rw")
    where = KEPT[name]
    if where.startswith("--"):
        assert f"{where}{volume}" in SERVICES[name]["command"]
    else:
        assert volume == SERVICES[name]["environment"].get(where, where)


# The default ports.
PORTS = {"prometheus": 9090, "alertmanager": 9093, "grafana": 3000}
# `cluster show` fails until Alertmanager serves its status. Prometheus is ready when it has loaded its data;
# promtool has `check ready` since 2.45 (the tests have an older one).
HEALTH = {
    "prometheus": "promtool check ready --url=http://localhost:9090",
    "alertmanager": "amtool cluster show --alertmanager.url=http://localhost:9093",
    "grafana": "wget -q -O /dev/null http://localhost:3000/api/health",
}


@pytest.mark.parametrize("name", PORTS)
def test_health_check_asks_served_port(name):
    kind, *words = SERVICES[name]["healthcheck"]["test"]
    assert (kind, words) == ("CMD", HEALTH[name].split())
    assert re.findall(r"//localhost:(\d+)", words[-1]) == [str(PORTS[name])]
    assert SERVICES[name]["ports"] == [f"127.0.0.1:{PORTS[name]}:{PORTS[name]}"]
    assert not [word for word in SERVICES[name].get("command", []) if "listen-address" in word]


@pytest.mark.stack
def test_amtool_accepts_health_check_command():
    _, _, *arguments = SERVICES["alertmanager"]["healthcheck"]["test"]
    run_required("amtool", "prometheus-alertmanager", *arguments, "--help")


def test_kafka_scripts_use_advertised_address():
    environment = SERVICES["kafka"]["environment"]
    address = environment["KAFKA_ADVERTISED_LISTENERS"].removeprefix("PLAINTEXT://")
    assert address.startswith("kafka:")
    assert SERVICES["kafka"]["healthcheck"]["test"] == [
        "CMD",
        "/opt/kafka/bin/kafka-broker-api-versions.sh",
        "--bootstrap-server",
        address,
    ]
    script, *options = SERVICES["topics"]["command"]
    assert script == "/opt/kafka/bin/kafka-topics.sh"
    assert f"--bootstrap-server={address}" in options


# The names of Grafana's defaults.ini; Grafana silently ignores unknown names.
GRAFANA = {
    ("auth.anonymous", "enabled"): "true",
    # An editor or admin could change the dashboards and run any query.
    ("auth.anonymous", "org_role"): "Viewer",
    # The initial password would be `admin`.
    ("security", "disable_initial_admin_creation"): "true",
    # The stack sends nothing to the internet.
    ("analytics", "reporting_enabled"): "false",
    ("analytics", "check_for_updates"): "false",
    ("analytics", "check_for_plugin_updates"): "false",
    ("plugins", "preinstall_disabled"): "true",
}


def test_grafana_is_read_only_for_everybody_and_sends_nothing_out():
    names = {
        f"GF_{section.replace('.', '_')}_{key}".upper(): text for (section, key), text in GRAFANA.items()
    }
    assert SERVICES["grafana"]["environment"] == names


# In MiB. Measured with these files and without a target: 46 for Prometheus, 31 for Alertmanager. A Java
# program takes its heap (256 MiB for the topics' script, Kafka's default for tools) and at most as much
# again. The value of Grafana is its recommended minimum (https://grafana.com/docs/grafana/latest/setup-grafana/installation/).
HEAP_MIB = int(re.fullmatch(r"-Xmx(\d+)m", SERVICES["kafka"]["environment"]["KAFKA_HEAP_OPTS"])[1])
NEEDED_MIB = {
    "prometheus": 4 * 46,
    "alertmanager": 4 * 31,
    "kafka": 2 * HEAP_MIB,
    "topics": 2 * 256,
    "grafana": 512,
}


@pytest.mark.parametrize("name", NEEDED_MIB)
def test_memory_limit_covers_need_of_server(name):
    assert memory_mib(name) >= NEEDED_MIB[name]
