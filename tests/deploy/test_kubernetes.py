"""The manifests: valid, consistent, and suitable for the service, Prometheus's operator and Grafana."""

import json
import os
import re
import shutil
import urllib.error
import urllib.request

import kubernetes_validate
import pytest
from prometheus_client import CollectorRegistry

from driftgauge.app import check
from driftgauge.cli.config_check import memory_bytes
from driftgauge.clock import SYSTEM_CLOCK
from driftgauge.config import load_settings
from driftgauge.telemetry import health
from driftgauge.telemetry.metrics import METRICS
from driftgauge.web import server
from driftgauge.web.endpoints import health_routes, metrics_route
from tests.deploy.dockerfile import PROJECT, ROOT
from tests.deploy.manifests import (
    BASE,
    FOLDER,
    MONITORING,
    OPERATORS,
    PAGE,
    PARTITIONS,
    POD,
    PRODUCTION,
    RUNNING,
    SECRET,
    container,
    environment,
    every,
    mount,
    pod,
    render,
    the,
    volumes,
)
from tests.deploy.stack import HELD_MIB

pytestmark = pytest.mark.stack

EVERYWHERE = (BASE, MONITORING, PRODUCTION, PAGE)
# The first version with a stable unhealthyPodEvictionPolicy, and the newest with schemas here.
KUBERNETES = ("1.31", "1.37")
# `kubectl apply` stores the object in an annotation; the annotations of an object have 256 KiB together.
APPLIED_BYTES = 262_144


@pytest.mark.parametrize("version", KUBERNETES)
@pytest.mark.parametrize("where", EVERYWHERE)
def test_every_core_object_matches_kubernetes_schema(where, version):
    core = [entry for entry in render(where) if not entry["apiVersion"].startswith(OPERATORS)]
    assert core
    assert where != BASE or len(core) == len(render(BASE))
    for entry in core:
        assert kubernetes_validate.validate(entry, version, strict=True) == version


@pytest.mark.parametrize("where", EVERYWHERE)
def test_every_object_is_labelled_and_small_enough_to_apply(where):
    name = "driftgauge-page" if where == PAGE else "driftgauge"
    for entry in render(where):
        assert entry["kind"] == "Namespace" or entry["metadata"]["labels"]["app.kubernetes.io/name"] == name
        assert len(json.dumps(entry)) < APPLIED_BYTES


def test_overlay_uses_only_its_restricted_namespace():
    namespace = the(PRODUCTION, "Namespace")["metadata"]
    others = [entry["metadata"]["namespace"] for entry in render(PRODUCTION) if entry["kind"] != "Namespace"]
    assert set(others) == {namespace["name"]}
    assert namespace["labels"]["pod-security.kubernetes.io/enforce"] == "restricted"


@pytest.mark.parametrize("where", RUNNING)
def test_image_has_project_version(where):
    version = PROJECT["version"]
    assert re.fullmatch(rf"([a-z0-9.]+/)?driftgauge:{re.escape(version)}", container(where)["image"])
    assert pod(where)["metadata"]["labels"]["app.kubernetes.io/version"] == version


@pytest.mark.parametrize("where", RUNNING)
def test_every_selector_matches_pods(where):
    spec = pod(where)["spec"]
    stateful_set, service = the(where, "StatefulSet")["spec"], the(where, "Service")
    selectors = [
        stateful_set["selector"]["matchLabels"],
        service["spec"]["selector"],
        the(where, "PodDisruptionBudget")["spec"]["selector"]["matchLabels"],
        *(policy["spec"]["podSelector"]["matchLabels"] for policy in every(where, "NetworkPolicy")),
        *(spread["labelSelector"]["matchLabels"] for spread in spec["topologySpreadConstraints"]),
    ]
    for selector in selectors:
        assert selector
        assert selector.items() <= pod(where)["metadata"]["labels"].items()
    assert stateful_set["serviceName"] == service["metadata"]["name"]
    assert spec["serviceAccountName"] == the(where, "ServiceAccount")["metadata"]["name"]


@pytest.mark.parametrize("where", RUNNING)
def test_pod_has_minimal_rights(where):
    spec = pod(where)["spec"]
    assert spec["securityContext"] == {
        "runAsNonRoot": True,
        "runAsUser": 65532,
        "runAsGroup": 65532,
        "seccompProfile": {"type": "RuntimeDefault"},
    }
    assert container(where)["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert spec["automountServiceAccountToken"] is False
    # Otherwise Kubernetes sets variables named DRIFTGAUGE_…, as the settings are.
    assert spec["enableServiceLinks"] is False


@pytest.mark.parametrize("where", RUNNING)
def test_service_loads_configuration_and_baselines_of_pod(where, tmp_path):
    settings = load_settings(mount(where, tmp_path), environment(where, tmp_path))
    assert len(check(settings)[0]) == len(settings.streams) > 0
    assert settings.replica == POD
    ports = {port["name"]: port["containerPort"] for port in container(where)["ports"]}
    assert ports == {"metrics": settings.http.port, "health": settings.http.health}
    assert container(where)["terminationMessagePolicy"] == "FallbackToLogsOnError"
    # The hashes in the names restart the pods after a change.
    _, volume = volumes(where)["config"]
    names = [source["configMap"]["name"] for source in volume["projected"]["sources"]]
    assert all(re.fullmatch(r"driftgauge-(config|baselines)(-page)?-[a-z0-9]{10}", name) for name in names)


def test_production_credentials_come_only_from_secret(tmp_path):
    path = mount(PRODUCTION, tmp_path)
    kafka = load_settings(path, environment(PRODUCTION, tmp_path)).kafka
    secrets = {name: kafka[name] for name in ("sasl.username", "sasl.password", "ssl.ca.pem")}
    assert list(secrets.values()) == [text.strip() for text in SECRET.values()]
    assert not secrets.keys() & load_settings(path, {}).kafka.keys()


def test_page_in_pods_of_its_own_lets_others_in_than_metrics():
    # The pods' labels, other than those of the replicas, are seen above.
    assert container(PAGE)["args"] == ["page", *container(BASE)["args"][1:]]
    (page,), (metrics,) = (the(where, "NetworkPolicy")["spec"]["ingress"] for where in (PAGE, BASE))
    assert page["ports"] == metrics["ports"]
    assert page["from"] != metrics["from"]
    assert the(PAGE, "Service")["spec"].get("clusterIP") is None


def test_unready_replica_blocks_neither_start_of_others_nor_drain():
    # In sequence all pods would wait for the first, which is never ready while the brokers are down.
    assert the(BASE, "StatefulSet")["spec"]["podManagementPolicy"] == "Parallel"
    budget = the(BASE, "PodDisruptionBudget")["spec"]
    # 0 would forbid every drain, 2 would move most of the partitions at once.
    assert (budget["maxUnavailable"], budget["unhealthyPodEvictionPolicy"]) == (1, "AlwaysAllow")


@pytest.mark.parametrize("where", [BASE, PRODUCTION])
def test_replicas_are_at_least_two_and_at_most_partitions(where):
    assert 2 <= the(where, "StatefulSet")["spec"]["replicas"] <= PARTITIONS


def status(port, path):
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=300) as answer:
            return answer.status
    except urllib.error.HTTPError as error:
        error.close()
        return error.code


def test_probes_and_scrapes_ask_served_paths():
    kinds = ("startup", "liveness", "readiness")
    probes = {kind: container(BASE)[f"{kind}Probe"] for kind in kinds}
    (endpoint,) = the(MONITORING, "ServiceMonitor")["spec"]["endpoints"]
    paths = {kind: probe["httpGet"]["path"] for kind, probe in probes.items()} | {"scrape": endpoint["path"]}
    # Alive, and not ready.
    routes = [
        metrics_route(CollectorRegistry()),
        *health_routes(health.Health(health.Role, SYSTEM_CLOCK)),
    ]
    served = server.HttpServer("127.0.0.1", 0, routes)
    served.start()
    try:
        codes = {kind: status(served.port, path) for kind, path in paths.items()}
    finally:
        served.stop()
    assert codes == {"startup": 200, "liveness": 200, "readiness": 503, "scrape": 200}
    assert {probe["httpGet"]["port"] for probe in probes.values()} == {"health"}
    assert probes["startup"]["periodSeconds"] * probes["startup"]["failureThreshold"] >= 60


def test_grace_period_covers_hanging_call_and_hand_over():
    # A call may hang for 15 s; hand-over, its abort and the HTTP server take 10 s at most.
    assert pod(BASE)["spec"]["terminationGracePeriodSeconds"] > 15 + 10


@pytest.mark.parametrize("where", RUNNING)
def test_memory_has_limit_by_formula_of_service_and_processor_has_none(where, tmp_path):
    resources = container(where)["resources"]
    requested, limit = (int(resources[kind]["memory"].removesuffix("Mi")) for kind in ("requests", "limits"))
    assert HELD_MIB["driftgauge"] <= requested
    settings = load_settings(mount(where, tmp_path), environment(where, tmp_path))
    formula = memory_bytes(settings, [stream.spec for stream in check(settings)[0]])
    assert sum(formula.values()) / 1024**2 <= limit
    assert set(resources["limits"]) == {"memory"}


DOCUMENT = (ROOT / "service/docs/how-to/kubernetes.md").read_text("utf-8")
# The labels that the operator adds to every target, and usual external labels. External labels replace a
# metric's own label where one query covers several Prometheus servers, as with Thanos.
TARGET_LABELS = {"container", "endpoint", "instance", "job", "namespace", "pod", "service"}
EXTERNAL_LABELS = {"cluster", "env", "environment", "prometheus", "prometheus_replica", "region", "replica"}


@pytest.fixture(scope="module")
def models():
    """The operators' models by kind; loading them takes seconds, which other tests need not spend."""
    from cloudcoil.models.prometheus_operator.v1 import PrometheusRule, ServiceMonitor  # noqa: PLC0415
    from cloudcoil.models.prometheus_operator.v1alpha1 import AlertmanagerConfig  # noqa: PLC0415

    return {model.__name__: model for model in (AlertmanagerConfig, PrometheusRule, ServiceMonitor)}


@pytest.mark.parametrize("where", [MONITORING, PRODUCTION])
def test_every_custom_resource_matches_model_of_operator(where, models):
    custom = [entry for entry in render(where) if entry["apiVersion"].startswith(OPERATORS)]
    assert custom
    for entry in custom:
        model = models[entry["kind"]].model_validate(entry)
        # A model ignores unknown fields, so the comparison finds them.
        assert model.model_dump(mode="json", by_alias=True, exclude_unset=True) == entry


def test_service_monitor_scrapes_service_under_job_of_rules():
    monitor, service = the(PRODUCTION, "ServiceMonitor")["spec"], the(PRODUCTION, "Service")
    assert monitor["selector"]["matchLabels"].items() <= service["metadata"]["labels"].items()
    (endpoint,), (port,) = monitor["endpoints"], service["spec"]["ports"]
    assert endpoint["port"] == port["name"]
    assert port["targetPort"] in {exposed["name"] for exposed in container(PRODUCTION)["ports"]}
    # A scrape through one address would reach a random replica.
    assert service["spec"]["clusterIP"] == "None"
    jobs = set(re.findall(r'job=\\"(\w+)\\"', json.dumps(the(PRODUCTION, "PrometheusRule")["spec"])))
    assert jobs == {service["metadata"]["labels"][monitor["jobLabel"]]}
    # Prometheus keeps a value for five minutes, so with one minute some scrapes may fail.
    assert 0 < int(endpoint["interval"].removesuffix("s")) <= 60
    (relabeling,) = endpoint["relabelings"]
    assert relabeling == {"sourceLabels": ["__meta_kubernetes_pod_name"], "targetLabel": "instance"}


def test_metric_labels_do_not_collide_with_target_labels():
    given = TARGET_LABELS | EXTERNAL_LABELS
    assert given.isdisjoint(label for metric in METRICS.values() for label in metric.labels)


def test_config_maps_hold_dashboards_with_sidecar_label():
    shown = {}
    for entry in every(MONITORING, "ConfigMap"):
        assert entry["metadata"]["labels"]["grafana_dashboard"] == "1"
        shown.update(entry["data"])
    assert shown == {path.name: path.read_text() for path in ROOT.glob("deploy/grafana/dashboards/*.json")}


def test_network_policies_admit_only_prometheus_and_only_to_brokers(tmp_path):
    spec, out = (policy["spec"] for policy in every(PRODUCTION, "NetworkPolicy"))
    assert (spec["policyTypes"], out["policyTypes"]) == (["Ingress"], ["Egress"])
    assert the(BASE, "NetworkPolicy")["spec"] == spec
    names, brokers = out["egress"]
    assert {port["port"] for port in names["ports"]} == {53}
    servers = load_settings(mount(PRODUCTION, tmp_path), {}).kafka["bootstrap.servers"]
    assert [str(port["port"]) for port in brokers["ports"]] == [servers.partition(":")[2]]
    (namespace,) = re.findall(r"Prometheus in a namespace other than `(.+?)`", DOCUMENT)
    peer = {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": namespace}}}
    assert spec["ingress"] == [{"from": [peer], "ports": [{"port": "metrics", "protocol": "TCP"}]}]


def test_documented_patch_removes_only_rules_and_dashboards(tmp_path):
    (patches,) = re.findall(r"```yaml\n(patches:.+?)```", DOCUMENT, re.DOTALL)
    second = tmp_path / "second"
    shutil.copytree(FOLDER / PRODUCTION, second)
    file = second / "kustomization.yaml"
    text = file.read_text().replace("../../", f"{os.path.relpath(FOLDER, second)}/")
    file.write_text(f"{text}{patches}")
    shared = [*every(MONITORING, "ConfigMap"), *every(MONITORING, "PrometheusRule")]
    removed = {(entry["kind"], entry["metadata"]["name"]) for entry in shared}
    kept = [
        entry for entry in render(PRODUCTION) if (entry["kind"], entry["metadata"]["name"]) not in removed
    ]
    assert list(render(second)) == kept
