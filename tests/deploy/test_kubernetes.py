"""The manifests: valid, consistent, and suitable for the service, Prometheus's operator and Grafana."""

import json
import re
import urllib.error
import urllib.request
from types import SimpleNamespace

import kubernetes_validate
import pytest
import yaml
from deploy.generate.alertmanager import spec
from prometheus_client import CollectorRegistry

from driftgauge.app import check
from driftgauge.cli.config_check import memory_bytes
from driftgauge.clock import SYSTEM_CLOCK
from driftgauge.config import load_settings
from driftgauge.telemetry import health
from driftgauge.telemetry.metrics import METRICS
from driftgauge.web import server
from driftgauge.web.endpoints import health_routes, metrics_route
from tests.deploy import promql
from tests.deploy.dashboards import DASHBOARDS
from tests.deploy.dockerfile import PROJECT, ROOT
from tests.deploy.helm import run_helm
from tests.deploy.manifests import (
    BASE,
    CHART,
    EXAMPLES,
    MONITORING,
    OPERATORS,
    PAGE,
    PARTITIONS,
    POD,
    PRODUCTION,
    RELEASE,
    RENDERED,
    RUNNING,
    SECRET,
    STRIMZI,
    VALUES,
    container,
    document,
    environment,
    every,
    mount,
    output,
    pod,
    render,
    the,
)
from tests.deploy.servers import RULES, load
from tests.deploy.stack import HELD_MIB
from tests.harness.secured import USER, documented_rights

pytestmark = pytest.mark.stack

EVERYWHERE = tuple(VALUES)
# The first version with a stable unhealthyPodEvictionPolicy, and the newest with schemas here.
KUBERNETES = ("1.31", "1.37")
# `kubectl apply` stores the object in an annotation; the annotations of an object have 256 KiB together.
APPLIED_BYTES = 262_144


@pytest.mark.parametrize("version", KUBERNETES)
@pytest.mark.parametrize("where", EVERYWHERE)
def test_every_core_object_matches_kubernetes_schema(where, version):
    core = [entry for entry in render(where) if not entry["apiVersion"].startswith(OPERATORS)]
    assert core
    assert where in {MONITORING, PRODUCTION} or len(core) == len(render(where))
    for entry in core:
        assert kubernetes_validate.validate(entry, version, strict=True) == version


@pytest.mark.parametrize("where", EVERYWHERE)
def test_every_object_is_labelled_and_small_enough_to_apply(where):
    for entry in render(where):
        name = "driftgauge-page" if entry["metadata"]["name"] == f"{RELEASE}-page" else "driftgauge"
        assert entry["metadata"]["labels"]["app.kubernetes.io/name"] == name
        assert len(json.dumps(entry)) < APPLIED_BYTES
        # The release's namespace has them all.
        assert "namespace" not in entry["metadata"]


@pytest.mark.parametrize("where", EVERYWHERE)
def test_chart_passes_lint(where):
    run_helm("lint", "--strict", CHART, *VALUES[where])


def test_packaged_chart_gives_the_same_manifests(tmp_path):
    run_helm("package", CHART, "--destination", tmp_path)
    package = tmp_path / f"driftgauge-{PROJECT['version']}.tgz"
    assert run_helm("template", RELEASE, package, *VALUES[MONITORING]).stdout == output(*VALUES[MONITORING])


def test_manifests_without_helm_are_output_of_chart():
    assert RENDERED.read_text() == document(), "run `python -m tests.deploy.manifests`"


@pytest.mark.parametrize(
    "options",
    [
        (),
        (*VALUES[BASE], "--set=replica=3"),
        (*VALUES[BASE], "--set=replicas=two"),
        (*VALUES[BASE], "--set=role=counts"),
        (*VALUES[BASE], "--set=page.enable=true"),
        # Helm merges values, so that a second source does not replace the first.
        (*VALUES[BASE], "--set=baselines.emptyDir.medium=Memory"),
        # No peers let everybody in.
        (*VALUES[BASE], "--set-json=networkPolicy.from=[]"),
    ],
)
def test_values_that_cannot_be_meant_are_refused(options):
    done = run_helm("template", RELEASE, CHART, *options, check=False)
    assert done.returncode == 1
    assert "values don't meet the specifications of the schema" in done.stderr


def rendered(*options):
    """The objects with the chart's own values and these, by kind."""
    return {entry["kind"]: entry for entry in yaml.safe_load_all(output("--set=config=a: 1", *options))}


def test_changed_configuration_has_another_name_and_former_one_stays():
    names = set()
    for text in ("a: 1", "a: 2"):
        found = rendered(f"--set=config={text}")
        config = found["ConfigMap"]
        assert config["data"]["driftgauge.yaml"].strip() == text
        assert config["immutable"]
        # A pod that is not replaced yet may start again elsewhere, and needs the former one.
        assert config["metadata"]["annotations"] == {"helm.sh/resource-policy": "keep"}
        volume = found["StatefulSet"]["spec"]["template"]["spec"]["volumes"][0]
        assert volume["configMap"]["name"] == config["metadata"]["name"]
        names.add(config["metadata"]["name"])
    assert len(names) == 2


@pytest.mark.parametrize(
    "baselines",
    [
        {"persistentVolumeClaim": {"claimName": "shared"}},
        {"image": {"reference": "registry.example.com/baselines:1"}},
        {"emptyDir": {}},
    ],
)
def test_baselines_come_from_any_volume(baselines):
    filler = {"name": "fetch", "image": "fetch", "volumeMounts": [{"name": "baselines", "mountPath": "/out"}]}
    values = {"baselines": baselines, "initContainers": [filler]}
    stateful_set = rendered(*(f"--set-json={key}={json.dumps(value)}" for key, value in values.items()))[
        "StatefulSet"
    ]
    for version in KUBERNETES:
        kubernetes_validate.validate(stateful_set, version, strict=True)
    spec = stateful_set["spec"]["template"]["spec"]
    assert [each for each in spec["volumes"] if each["name"] == "baselines"] == [
        {"name": "baselines", **baselines}
    ]
    assert [each for each in spec["containers"][0]["volumeMounts"] if each["name"] == "baselines"] == [
        {"name": "baselines", "mountPath": "/etc/driftgauge/baselines", "readOnly": True}
    ]
    assert spec["initContainers"] == [filler]


def test_baselines_in_image_take_no_volume():
    spec = rendered()["StatefulSet"]["spec"]["template"]["spec"]
    assert "baselines" not in {each["name"] for each in spec["volumes"]}
    assert "baselines" not in {each["name"] for each in spec["containers"][0]["volumeMounts"]}


def test_autoscaler_keeps_number_of_replicas():
    assert "replicas" not in rendered("--set=replicas=null")["StatefulSet"]["spec"]
    (scaled,) = yaml.safe_load_all((EXAMPLES / "keda.yaml").read_text())
    target = scaled["spec"]["scaleTargetRef"]
    assert target == {"kind": "StatefulSet", "name": the(BASE, "StatefulSet")["metadata"]["name"]}
    assert 1 <= scaled["spec"]["minReplicaCount"] < scaled["spec"]["maxReplicaCount"] <= PARTITIONS
    (trigger,) = scaled["spec"]["triggers"]
    assert trigger["type"] == "prometheus"
    promql.assert_exported(trigger["metadata"]["query"])


def test_kafka_user_has_documented_rights_alone(tmp_path):
    _, user = yaml.safe_load_all((EXAMPLES / "strimzi.yaml").read_text())
    granted = {
        (acl["resource"]["type"], acl["resource"]["name"], acl["resource"]["patternType"], operation)
        for acl in user["spec"]["authorization"]["acls"]
        for operation in acl["operations"]
    }
    kinds = {"topic": "topic", "group": "group", "transactional_id": "transactionalId"}
    patterns = {"literal": "literal", "prefixed": "prefix"}
    documented = documented_rights(SimpleNamespace(name="driftgauge", events_topic="embeddings"))
    assert granted == {
        (
            kinds[acl.restype.name.lower()],
            acl.name,
            patterns[acl.resource_pattern_type.name.lower()],
            acl.operation.name.title().replace("_", ""),
        )
        for acl in documented
    }
    assert user["metadata"]["name"] == USER


def test_page_is_served_by_pods_of_its_own_alone():
    (replica,) = the(PAGE, "StatefulSet")["spec"]["template"]["spec"]["containers"]
    assert {"name": "DRIFTGAUGE_PAGE__ENABLED", "value": "false"} in replica["env"]


def test_roles_run_apart():
    (replica,) = rendered("--set=role=count")["StatefulSet"]["spec"]["template"]["spec"]["containers"]
    assert replica["args"][:3] == ["serve", "--role", "count"]


@pytest.mark.parametrize("where", RUNNING)
def test_image_has_project_version(where):
    version = PROJECT["version"]
    assert re.fullmatch(rf"([a-z0-9.]+/)*driftgauge:{re.escape(version)}", container(where)["image"])
    assert pod(where)["metadata"]["labels"]["app.kubernetes.io/version"] == version


def test_every_selector_matches_its_pods_alone():
    objects = {(entry["kind"], entry["metadata"]["name"]): entry for entry in render(PAGE)}
    workloads = {"driftgauge": "StatefulSet", "driftgauge-page": "Deployment"}
    for name, kind in workloads.items():
        workload = objects[kind, name]["spec"]
        labels = workload["template"]["metadata"]["labels"]
        (other,) = (objects[workloads[each], each] for each in workloads.keys() - {name})
        selectors = [
            workload["selector"]["matchLabels"],
            objects["Service", name]["spec"]["selector"],
            objects["NetworkPolicy", name]["spec"]["podSelector"]["matchLabels"],
            *(
                spread["labelSelector"]["matchLabels"]
                for spread in workload["template"]["spec"]["topologySpreadConstraints"]
            ),
            *(
                budget["spec"]["selector"]["matchLabels"]
                for budget in every(PAGE, "PodDisruptionBudget")
                if budget["metadata"]["name"] == name
            ),
        ]
        for selector in selectors:
            assert selector.items() <= labels.items()
            assert not selector.items() <= other["spec"]["template"]["metadata"]["labels"].items()
        account = objects["ServiceAccount", "driftgauge"]["metadata"]["name"]
        assert workload["template"]["spec"]["serviceAccountName"] == account
    assert objects["StatefulSet", "driftgauge"]["spec"]["serviceName"] == "driftgauge"
    assert len(every(PAGE, "PodDisruptionBudget")) == 1


def test_two_releases_select_their_own_pods():
    specs = {}
    for release in ("count", "windows"):
        done = run_helm("template", release, CHART, *VALUES[BASE])
        (found,) = (each for each in yaml.safe_load_all(done.stdout) if each["kind"] == "StatefulSet")
        specs[release] = found["spec"]
    selector = specs["count"]["selector"]["matchLabels"]
    assert not selector.items() <= specs["windows"]["template"]["metadata"]["labels"].items()


@pytest.mark.parametrize("where", RUNNING)
def test_pod_has_minimal_rights(where):
    spec = pod(where)["spec"]
    assert spec["securityContext"] == {
        "runAsNonRoot": True,
        "runAsUser": 65532,
        "runAsGroup": 65532,
        "fsGroup": 65532,
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


def test_production_credentials_come_only_from_secret(tmp_path):
    path = mount(PRODUCTION, tmp_path)
    kafka = load_settings(path, environment(PRODUCTION, tmp_path)).kafka
    secrets = {name: kafka[name] for name in ("sasl.username", "sasl.password", "ssl.ca.pem")}
    assert list(secrets.values()) == [text.strip() for text in SECRET.values()]
    assert not secrets.keys() & load_settings(path, {}).kafka.keys()


def test_credentials_of_strimzi_are_read_from_its_secrets(tmp_path):
    kafka = load_settings(mount(STRIMZI, tmp_path), environment(STRIMZI, tmp_path)).kafka
    assert [kafka[name] for name in ("sasl.username", "sasl.password")] == [USER, SECRET["password"]]
    assert kafka["ssl.ca.pem"] == SECRET["ca.crt"].strip()


def test_page_in_pods_of_its_own_lets_others_in_than_metrics():
    # The pods' labels, other than those of the replicas, are seen above.
    assert container(PAGE)["args"] == ["page", *container(BASE)["args"][-2:]]
    names = ("driftgauge-page", "driftgauge")
    (page,), (metrics,) = (the(PAGE, "NetworkPolicy", name)["spec"]["ingress"] for name in names)
    assert page["ports"] == metrics["ports"]
    assert page["from"] != metrics["from"]
    assert the(PAGE, "Service", "driftgauge-page")["spec"].get("clusterIP") is None


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
        if entry["metadata"]["labels"].get("grafana_dashboard") == "1":
            shown.update(entry["data"])
    assert shown == {path.name: path.read_text() for path in DASHBOARDS.glob("*.json")}


def test_rules_and_notices_are_generated_files():
    rules = load(RULES[0])
    assert the(MONITORING, "PrometheusRule")["spec"] == rules
    assert the(MONITORING, "AlertmanagerConfig")["spec"] == spec()


def test_network_policy_admits_only_prometheus_and_only_to_brokers(tmp_path):
    policy = the(PRODUCTION, "NetworkPolicy")["spec"]
    assert policy["policyTypes"] == ["Ingress", "Egress"]
    names, brokers = policy["egress"]
    assert {port["port"] for port in names["ports"]} == {53}
    servers = load_settings(mount(PRODUCTION, tmp_path), {}).kafka["bootstrap.servers"]
    assert [str(port["port"]) for port in brokers["ports"]] == [servers.partition(":")[2]]
    (namespace,) = re.findall(r"Prometheus in a namespace other than `(.+?)`", DOCUMENT)
    peer = {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": namespace}}}
    assert policy["ingress"] == [{"from": [peer], "ports": [{"port": "metrics", "protocol": "TCP"}]}]
    unlimited = the(BASE, "NetworkPolicy")["spec"]
    assert unlimited == {key: policy[key] for key in unlimited} | {"policyTypes": ["Ingress"]}
