"""The manifests for the Prometheus operator and Grafana's sidecar."""

import json
import os
import re
import shutil

import pytest

from driftgauge.config import load_settings
from driftgauge.telemetry.metrics import METRICS
from tests.deploy.dockerfile import ROOT
from tests.deploy.manifests import (
    BASE,
    FOLDER,
    MONITORING,
    OPERATORS,
    PRODUCTION,
    container,
    every,
    mount,
    render,
    the,
)

pytestmark = pytest.mark.stack

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
