"""The manifests of the service: valid, consistent, and suitable for the service."""

import json
import re
import urllib.error
import urllib.request

import kubernetes_validate
import pytest
from prometheus_client import CollectorRegistry

from driftgauge.app import check
from driftgauge.clock import SYSTEM_CLOCK
from driftgauge.config import load_settings
from driftgauge.kafka import calls, client, session
from driftgauge.telemetry import health, server
from driftgauge.telemetry.endpoints import service_routes
from tests.deploy.dockerfile import PROJECT
from tests.deploy.manifests import (
    BASE,
    FOLDER,
    KEDA,
    MONITORING,
    OPERATORS,
    PARTITIONS,
    POD,
    PRODUCTION,
    RUNNING,
    SECRET,
    container,
    environment,
    every,
    image,
    mount,
    pod,
    render,
    the,
    variables,
)

pytestmark = pytest.mark.stack

EVERYWHERE = (BASE, MONITORING, PRODUCTION, KEDA)
# The first version with a stable unhealthyPodEvictionPolicy, and the newest with schemas here.
KUBERNETES = ("1.31", "1.37")
# `kubectl apply` stores the object in an annotation; the annotations of an object have 256 KiB together.
APPLIED_BYTES = 262_144


@pytest.mark.parametrize("version", KUBERNETES)
@pytest.mark.parametrize("where", EVERYWHERE)
def test_every_core_object_matches_kubernetes_schema(where, version):
    core = [entry for entry in render(where) if not entry["apiVersion"].startswith(OPERATORS)]
    assert core
    for entry in core:
        assert kubernetes_validate.validate(entry, version, strict=True) == version


def test_base_needs_no_operator():
    assert not [entry for entry in render(BASE) if entry["apiVersion"].startswith(OPERATORS)]


@pytest.mark.parametrize("where", EVERYWHERE)
def test_every_object_is_labelled_and_small_enough_to_apply(where):
    for entry in render(where):
        if entry["kind"] != "Namespace":
            assert entry["metadata"]["labels"]["app.kubernetes.io/name"] == "driftgauge"
        assert len(json.dumps(entry)) < APPLIED_BYTES


@pytest.mark.parametrize("where", [PRODUCTION, KEDA])
def test_overlay_uses_only_its_namespace(where):
    others = [entry for entry in render(where) if entry["kind"] != "Namespace"]
    namespaces = {entry["metadata"]["namespace"] for entry in others}
    assert namespaces == {the(where, "Namespace")["metadata"]["name"]}


def test_production_namespace_enforces_restricted_standard():
    labels = the(PRODUCTION, "Namespace")["metadata"]["labels"]
    assert labels["pod-security.kubernetes.io/enforce"] == "restricted"


@pytest.mark.parametrize("where", RUNNING)
def test_image_has_project_version(where):
    version = PROJECT["version"]
    assert re.fullmatch(rf"([a-z0-9.]+/)?driftgauge:{re.escape(version)}", container(where)["image"])
    assert pod(where)["metadata"]["labels"]["app.kubernetes.io/version"] == version


@pytest.mark.parametrize("where", RUNNING)
def test_every_selector_matches_pods(where):
    labels = pod(where)["metadata"]["labels"].items()
    stateful_set, service = the(where, "StatefulSet")["spec"], the(where, "Service")
    selectors = [
        stateful_set["selector"]["matchLabels"],
        service["spec"]["selector"],
        the(where, "PodDisruptionBudget")["spec"]["selector"]["matchLabels"],
        *(policy["spec"]["podSelector"]["matchLabels"] for policy in every(where, "NetworkPolicy")),
        *(
            spread["labelSelector"]["matchLabels"]
            for spread in pod(where)["spec"]["topologySpreadConstraints"]
        ),
    ]
    for selector in selectors:
        assert selector
        assert selector.items() <= labels
    assert stateful_set["serviceName"] == service["metadata"]["name"]
    assert pod(where)["spec"]["serviceAccountName"] == the(where, "ServiceAccount")["metadata"]["name"]


@pytest.mark.parametrize("where", RUNNING)
def test_pod_has_minimal_rights(where):
    spec = pod(where)["spec"]
    assert spec["securityContext"] == {
        "runAsNonRoot": True,
        "runAsUser": 65532,
        "runAsGroup": 65532,
        "seccompProfile": {"type": "RuntimeDefault"},
    }
    for one in [*spec["containers"], *spec.get("initContainers", [])]:
        assert one["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }
    assert spec["automountServiceAccountToken"] is False
    assert the(where, "ServiceAccount")["automountServiceAccountToken"] is False
    assert spec["enableServiceLinks"] is False


def test_pod_uses_user_and_entry_point_of_image():
    assert image("USER") == "65532:65532"
    assert image("ENTRYPOINT") == '["driftgauge"]'
    assert "command" not in container(BASE)


@pytest.mark.parametrize("where", RUNNING)
def test_service_loads_configuration_and_baselines_of_pod(where, tmp_path):
    settings = load_settings(mount(where, tmp_path), environment(where))
    assert len(check(settings)) == len(settings.streams) > 0
    assert settings.replica == POD
    assert settings.http.host == "0.0.0.0"  # noqa: S104 - the pod's own
    (port,) = container(where)["ports"]
    assert (port["name"], port["containerPort"]) == ("metrics", settings.http.port)


@pytest.mark.parametrize("where", RUNNING)
def test_every_variable_changes_a_setting(where, tmp_path):
    path, given = mount(where, tmp_path), variables(where)
    for name in given:
        without = {other: value for other, value in given.items() if other != name}
        assert dict(load_settings(path, given)) != dict(load_settings(path, without)), name


def test_production_credentials_come_only_from_secret(tmp_path):
    path = mount(PRODUCTION, tmp_path)
    kafka = load_settings(path, environment(PRODUCTION)).kafka
    assert [kafka[name] for name in ("sasl.username", "sasl.password", "ssl.ca.pem")] == list(SECRET.values())
    in_the_open = {"bootstrap.servers", "group.id", "security.protocol", "sasl.mechanism"}
    assert set(load_settings(path, {}).kafka) == in_the_open


@pytest.mark.parametrize("where", RUNNING)
def test_changed_configuration_or_baseline_restarts_pods(where):
    (volume,) = pod(where)["spec"]["volumes"]
    names = [source["configMap"]["name"] for source in volume["projected"]["sources"]]
    hashed = [re.fullmatch(r"(.+)-[a-z0-9]{10}", name) for name in names]
    assert [name and name[1] for name in hashed] == ["driftgauge-config", "driftgauge-baselines"]


def test_unready_replica_blocks_neither_start_of_others_nor_drain():
    # In sequence all pods would wait for the first, which is never ready while the brokers are down.
    assert the(BASE, "StatefulSet")["spec"]["podManagementPolicy"] == "Parallel"
    budget = the(BASE, "PodDisruptionBudget")["spec"]
    # 0 would forbid every drain, 2 would move most of the partitions at once.
    assert budget["maxUnavailable"] == 1
    assert "minAvailable" not in budget
    # Otherwise no node can drain while no replica is ready.
    assert budget["unhealthyPodEvictionPolicy"] == "AlwaysAllow"


def test_service_is_headless():
    # A headless Service names the pods; a scrape through one address would reach a random replica.
    assert the(BASE, "Service")["spec"]["clusterIP"] == "None"


@pytest.mark.parametrize("where", [BASE, PRODUCTION])
def test_replicas_are_at_least_two_and_at_most_partitions(where):
    assert 2 <= the(where, "StatefulSet")["spec"]["replicas"] <= PARTITIONS


def answers(paths):
    """The status codes of a server that is alive and not ready."""
    routes = service_routes(CollectorRegistry(), health.Health(health.Role, SYSTEM_CLOCK))
    metrics = server.HttpServer("127.0.0.1", 0, routes)
    metrics.start()
    codes = {}
    try:
        for path in paths:
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{metrics.port}{path}", timeout=300) as answer:
                    codes[path] = answer.status
            except urllib.error.HTTPError as error:
                codes[path] = error.code
                error.close()
    finally:
        metrics.stop()
    return codes


def test_probes_distinguish_alive_from_ready():
    probes = [container(BASE)[f"{kind}Probe"]["httpGet"] for kind in ("startup", "liveness", "readiness")]
    assert {probe["port"] for probe in probes} == {"metrics"}
    codes = answers({probe["path"] for probe in probes})
    assert [codes[probe["path"]] for probe in probes] == [200, 200, 503]


def test_startup_probe_allows_one_minute():
    probe = container(BASE)["startupProbe"]
    assert probe["periodSeconds"] * probe["failureThreshold"] >= 60


def test_stuck_replica_restarts_after_rebalance_within_three_minutes():
    probe = container(BASE)["livenessProbe"]
    asked_s = probe["failureThreshold"] * (probe["periodSeconds"] + probe["timeoutSeconds"])
    poll_interval_ms = client._CONSUMER_DEFAULTS["max.poll.interval.ms"]
    assert poll_interval_ms < health._POLL_BOUND_MS < health._POLL_BOUND_MS + asked_s * 1000 <= 180_000


def test_grace_period_covers_commit_and_leave():
    stopping_s = calls.HANGING_S + session._HAND_OVER_S + session._ABORT_S + server._STOP_TIMEOUT_S
    assert pod(BASE)["spec"]["terminationGracePeriodSeconds"] > stopping_s


def mebibytes(quantity):
    return int(quantity.removesuffix("Mi"))


@pytest.mark.parametrize("where", RUNNING)
def test_memory_has_limit_and_processor_has_none(where):
    resources = container(where)["resources"]
    assert set(resources["requests"]) == {"cpu", "memory"}
    assert set(resources["limits"]) == {"memory"}
    # The measured maximum, from the manifest's comment.
    measured = re.findall(r"(\d+) MiB", (FOLDER / "base/stateful-set.yaml").read_text())
    requested, limit = (mebibytes(resources[kind]["memory"]) for kind in ("requests", "limits"))
    assert max(map(int, measured)) <= requested
    assert 2 * max(map(int, measured)) <= limit


def test_service_answers_at_scraped_path():
    (endpoint,) = the(MONITORING, "ServiceMonitor")["spec"]["endpoints"]
    assert answers([endpoint["path"]]) == {endpoint["path"]: 200}
