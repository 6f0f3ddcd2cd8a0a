"""The manifests: valid, consistent, and suitable for the service, Prometheus's operator and Grafana."""

import json
import re
from collections import ChainMap
from difflib import unified_diff
from types import SimpleNamespace

import kubernetes_validate
import pytest
import yaml
from deploy.generate.alertmanager import spec
from prometheus_client import CollectorRegistry
from starlette.routing import Route

from driftgauge.app import check
from driftgauge.cli.config_check import memory_bytes
from driftgauge.clock import SYSTEM_CLOCK
from driftgauge.config import load_settings
from driftgauge.telemetry import health
from driftgauge.telemetry.metrics import METRICS
from driftgauge.web.endpoints import health_routes, metrics_route
from tests.deploy import promql
from tests.deploy.dockerfile import PROJECT, ROOT
from tests.deploy.helm import run_helm
from tests.deploy.manifests import (
    BASE,
    CHART,
    EXAMPLES,
    MONITORING,
    OPERATORS,
    PAGE,
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
    render,
    the,
)
from tests.deploy.servers import RULES, load
from tests.deploy.stack import HELD_MIB
from tests.harness.secured import USER, documented_rights

pytestmark = pytest.mark.stack

# The first version with a stable unhealthyPodEvictionPolicy, and the newest with schemas here.
KUBERNETES = ("1.31", "1.37")
# `kubectl apply` stores the object in an annotation; the annotations of an object have 256 KiB together.
APPLIED_BYTES = 262_144


@pytest.mark.parametrize("version", KUBERNETES)
@pytest.mark.parametrize("where", VALUES)
def test_every_core_object_matches_kubernetes_schema(where, version):
    core = [entry for entry in render(where) if not entry["apiVersion"].startswith(OPERATORS)]
    assert core
    for entry in core:
        assert kubernetes_validate.validate(entry, version, strict=True) == version


@pytest.mark.parametrize("where", VALUES)
def test_every_object_is_labelled_and_small_enough_to_apply(where):
    for entry in render(where):
        name = "driftgauge-page" if entry["metadata"]["name"] == f"{RELEASE}-page" else "driftgauge"
        labels = entry["metadata"]["labels"]
        assert labels["app.kubernetes.io/name"] == name
        assert labels["app.kubernetes.io/version"] == PROJECT["version"]
        assert len(json.dumps(entry)) < APPLIED_BYTES
        # The release's namespace has them all.
        assert "namespace" not in entry["metadata"]


@pytest.mark.parametrize("where", VALUES)
def test_chart_passes_lint(where):
    run_helm("lint", "--strict", CHART, *VALUES[where])


def test_manifests_without_helm_are_output_of_chart():
    assert RENDERED.read_text() == document(), "run `python -m tests.deploy.manifests`"


@pytest.mark.parametrize("where", [PRODUCTION, PAGE])
def test_other_values_change_manifests_without_helm_as_accepted(where, snapshot):
    # Other tests compare these with the generated files.
    generated = ("--set=monitoring.prometheusRule=false", "--set=monitoring.dashboards=false")
    base, other = (output(*VALUES[each], *generated).splitlines() for each in (BASE, where))
    assert "\n".join(unified_diff(base, other, BASE, where, n=1, lineterm="")) == snapshot


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


def test_changed_configuration_has_another_name():
    names = set()
    for found in (rendered(), rendered("--set=config=a: 2")):
        name = found["ConfigMap"]["metadata"]["name"]
        volume, *_ = found["StatefulSet"]["spec"]["template"]["spec"]["volumes"]
        assert volume["configMap"]["name"] == name
        names.add(name)
    assert len(names) == 2


@pytest.mark.parametrize(
    "baselines",
    [
        {},  # in the image
        {"persistentVolumeClaim": {"claimName": "shared"}},
        {"image": {"reference": "registry.example.com/baselines:1"}},
        {"emptyDir": {}},
    ],
)
def test_baselines_come_from_any_volume(baselines):
    filler = {"name": "fetch", "image": "fetch", "volumeMounts": [{"name": "baselines", "mountPath": "/out"}]}
    values = {"baselines": baselines, "initContainers": [filler]}
    options = (f"--set-json={key}={json.dumps(value)}" for key, value in values.items())
    stateful_set = rendered(*options)["StatefulSet"]
    for version in KUBERNETES:
        kubernetes_validate.validate(stateful_set, version, strict=True)
    spec = stateful_set["spec"]["template"]["spec"]
    assert spec["initContainers"] == [filler]
    volumes = [each for each in spec["volumes"] if each["name"] == "baselines"]
    assert volumes == ([{"name": "baselines", **baselines}] if baselines else [])
    mounted = [each for each in spec["containers"][0]["volumeMounts"] if each["name"] == "baselines"]
    assert len(mounted) == len(volumes)


def test_autoscaler_keeps_number_of_replicas():
    assert "replicas" not in rendered("--set=replicas=null")["StatefulSet"]["spec"]
    scaled = yaml.safe_load((EXAMPLES / "keda.yaml").read_text())["spec"]
    name = the(BASE, "StatefulSet")["metadata"]["name"]
    assert scaled["scaleTargetRef"] == {"kind": "StatefulSet", "name": name}
    promql.assert_exported(scaled["triggers"][0]["metadata"]["query"])


def test_kafka_user_has_documented_rights_alone():
    _, user = yaml.safe_load_all((EXAMPLES / "strimzi.yaml").read_text())
    granted = {
        (
            acl["resource"]["type"].upper(),
            acl["resource"]["patternType"].upper(),
            acl["resource"]["name"],
            right.upper(),
        )
        for acl in user["spec"]["authorization"]["acls"]
        for right in acl["operations"]
    }
    documented = documented_rights(SimpleNamespace(name="driftgauge", events_topic="embeddings"))
    # The same words, written otherwise.
    assert granted == {
        (
            acl.restype.name.replace("_", ""),
            acl.resource_pattern_type.name.removesuffix("ED"),
            acl.name,
            acl.operation.name.replace("_", ""),
        )
        for acl in documented
    }
    assert user["metadata"]["name"] == USER


def test_roles_run_apart():
    (replica,) = rendered("--set=role=count")["StatefulSet"]["spec"]["template"]["spec"]["containers"]
    assert replica["args"][:3] == ["serve", "--role", "count"]


def test_every_workload_selects_its_pods_alone():
    workloads = {}
    for release in ("count", "windows"):
        done = run_helm("template", release, CHART, *VALUES[PAGE])
        for entry in yaml.safe_load_all(done.stdout):
            if entry["kind"] in {"StatefulSet", "Deployment"}:
                workloads[entry["metadata"]["name"]] = entry["spec"]
    assert len(workloads) == 4
    for name, workload in workloads.items():
        selector = workload["selector"]["matchLabels"].items()
        selected = [
            other
            for other, each in workloads.items()
            if selector <= each["template"]["metadata"]["labels"].items()
        ]
        assert selected == [name]


@pytest.mark.parametrize("where", RUNNING)
def test_service_loads_configuration_of_pod_and_fits_its_memory(where, tmp_path):
    settings = load_settings(mount(where, tmp_path), environment(where, tmp_path))
    streams, _ = check(settings)
    assert len(streams) == len(settings.streams) > 0
    assert settings.replica == POD
    ports = {port["name"]: port["containerPort"] for port in container(where)["ports"]}
    assert ports == {"metrics": settings.http.port, "health": settings.http.health}
    resources = container(where)["resources"]
    requested, limit = (int(resources[kind]["memory"].removesuffix("Mi")) for kind in ("requests", "limits"))
    assert HELD_MIB["driftgauge"] <= requested
    formula = memory_bytes(settings, [stream.spec for stream in streams])
    assert sum(formula.values()) / 1024**2 <= limit


@pytest.mark.parametrize(("where", "username"), [(PRODUCTION, SECRET["username"]), (STRIMZI, USER)])
def test_credentials_come_from_secrets(where, username, tmp_path):
    path = mount(where, tmp_path)
    kafka = load_settings(path, environment(where, tmp_path)).kafka
    found = [kafka[name] for name in ("sasl.username", "sasl.password", "ssl.ca.pem")]
    assert found == [username, SECRET["password"], SECRET["ca.crt"].strip()]
    assert not {"sasl.password", "ssl.ca.pem"} & load_settings(path, {}).kafka.keys()


def test_probes_and_scrapes_ask_served_paths():
    kinds = ("startup", "liveness", "readiness")
    asked = [container(BASE)[f"{kind}Probe"]["httpGet"]["path"] for kind in kinds]
    (endpoint,) = the(MONITORING, "ServiceMonitor")["spec"]["endpoints"]
    routes = [
        metrics_route(CollectorRegistry()),
        *health_routes(health.Health(health.Role, SYSTEM_CLOCK)),
    ]
    served = {route.path for route in routes if isinstance(route, Route)}
    assert {*asked, endpoint["path"]} == served


DOCUMENT = (ROOT / "service/docs/how-to/kubernetes.md").read_text("utf-8")
# The labels that the operator adds to every target, and usual external labels. External labels replace a
# metric's own label where one query covers several Prometheus servers, as with Thanos.
TARGET_LABELS = {"container", "endpoint", "instance", "job", "namespace", "pod", "service"}
EXTERNAL_LABELS = {"cluster", "env", "environment", "prometheus", "prometheus_replica", "region", "replica"}


@pytest.mark.parametrize("where", [MONITORING, PRODUCTION])
def test_every_custom_resource_matches_model_of_operator(where):
    # Loading them takes seconds, which other tests need not spend.
    from cloudcoil.models.prometheus_operator.v1 import PrometheusRule, ServiceMonitor  # noqa: PLC0415
    from cloudcoil.models.prometheus_operator.v1alpha1 import AlertmanagerConfig  # noqa: PLC0415

    models = {model.__name__: model for model in (AlertmanagerConfig, PrometheusRule, ServiceMonitor)}
    custom = [entry for entry in render(where) if entry["apiVersion"].startswith(OPERATORS)]
    assert custom
    for entry in custom:
        model = models[entry["kind"]].model_validate(entry)
        # A model ignores unknown fields, so the comparison finds them.
        assert model.model_dump(mode="json", by_alias=True, exclude_unset=True) == entry


def test_service_is_scraped_under_job_of_rules():
    monitor, service = the(PRODUCTION, "ServiceMonitor")["spec"], the(PRODUCTION, "Service")
    assert monitor["selector"]["matchLabels"].items() <= service["metadata"]["labels"].items()
    jobs = set(re.findall(r'job=\\"(\w+)\\"', json.dumps(the(PRODUCTION, "PrometheusRule")["spec"])))
    assert jobs == {service["metadata"]["labels"][monitor["jobLabel"]]}


def test_metric_labels_do_not_collide_with_target_labels():
    given = TARGET_LABELS | EXTERNAL_LABELS
    assert given.isdisjoint(label for metric in METRICS.values() for label in metric.labels)


def test_config_maps_hold_dashboards_with_sidecar_label():
    shown = [
        entry["data"]
        for entry in every(MONITORING, "ConfigMap")
        if entry["metadata"]["labels"].get("grafana_dashboard") == "1"
    ]
    files = (CHART / "files/dashboards").glob("*.json")
    assert ChainMap(*shown) == {path.name: path.read_text() for path in files}


def test_rules_and_notices_are_generated_files():
    assert the(MONITORING, "PrometheusRule")["spec"] == load(RULES[0])
    assert the(MONITORING, "AlertmanagerConfig")["spec"] == spec()


def test_network_policy_admits_documented_namespace():
    (namespace,) = re.findall(r"Prometheus in a namespace other than `(.+?)`", DOCUMENT)
    peer = {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": namespace}}}
    (ingress,) = the(PRODUCTION, "NetworkPolicy")["spec"]["ingress"]
    assert ingress["from"] == [peer]
