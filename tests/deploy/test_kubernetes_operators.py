"""What the operators of Prometheus and KEDA, and Grafana's sidecar, are asked to do for the service."""

import json
import re
import subprocess

import pytest
import yaml
from cloudcoil.models.keda.v1alpha1 import ScaledObject, TriggerAuthentication
from cloudcoil.models.prometheus_operator.v1 import PrometheusRule, ServiceMonitor

from driftgauge.config import load_settings
from driftgauge.telemetry.catalogue import METRICS
from tests.deploy.dockerfile import ROOT
from tests.deploy.manifests import (
    KEDA,
    MONITORING,
    OPERATORS,
    PRODUCTION,
    container,
    environment,
    every,
    mount,
    render,
    the,
    tool,
)

MODELS = {
    model.__name__: model for model in (PrometheusRule, ScaledObject, ServiceMonitor, TriggerAuthentication)
}
# What the operator puts on every target of a ServiceMonitor.
TARGET_LABELS = {"container", "endpoint", "instance", "job", "namespace", "pod", "service"}
# The API server refuses more (https://github.com/kedacore/keda/issues/4976).
MAX_STABILIZATION_S = 3600


def lost(written, kept, path=""):
    """The places of what was written that a model did not keep as it was."""
    match written, kept:
        case dict(), dict():
            return [
                place
                for key, value in written.items()
                for place in lost(value, kept.get(key), f"{path}.{key}")
            ]
        case list(), list() if len(written) == len(kept):
            return [
                place
                for index, pair in enumerate(zip(written, kept, strict=True))
                for place in lost(*pair, f"{path}[{index}]")
            ]
    return [] if written == kept else [path]


@pytest.mark.parametrize("where", [MONITORING, PRODUCTION, KEDA])
def test_every_custom_resource_has_only_fields_that_its_operator_knows(where):
    custom = [entry for entry in render(where) if entry["apiVersion"].startswith(OPERATORS)]
    assert custom
    for entry in custom:
        model = MODELS[entry["kind"]].model_validate(entry)
        assert lost(entry, model.model_dump(mode="json", by_alias=True, exclude_unset=True)) == []


def test_the_service_monitor_finds_the_service_and_names_the_job_of_the_rules():
    monitor, service = the(PRODUCTION, "ServiceMonitor")["spec"], the(PRODUCTION, "Service")
    assert monitor["selector"]["matchLabels"].items() <= service["metadata"]["labels"].items()
    (endpoint,), (port,) = monitor["endpoints"], service["spec"]["ports"]
    assert endpoint["port"] == port["name"]
    assert port["targetPort"] in {exposed["name"] for exposed in container(PRODUCTION)["ports"]}
    rules = json.dumps(the(PRODUCTION, "PrometheusRule")["spec"])
    jobs = set(re.findall(r'job=\\"(\w+)\\"', rules))
    assert jobs == {service["metadata"]["labels"][monitor["jobLabel"]]}


def test_honouring_the_metrics_own_labels_hides_none_of_the_operators():
    assert TARGET_LABELS.isdisjoint(label for metric in METRICS.values() for label in metric.labels)


def test_the_rules_are_those_of_the_rule_files_and_prometheus_takes_them(tmp_path):
    spec = the(MONITORING, "PrometheusRule")["spec"]
    folder = ROOT / "deploy/prometheus/rules"
    files = {path.name: yaml.safe_load(path.read_text()) for path in folder.iterdir()}
    assert len(files) == 2
    recording, alerts = files["driftgauge-recording.yml"], files["driftgauge-alerts.yml"]
    assert spec == {"groups": recording["groups"] + alerts["groups"]}
    rules = tmp_path / "rules.yml"
    rules.write_text(yaml.safe_dump(spec))
    promtool = tool("promtool", "install it with `apt-get install -y prometheus`")
    done = subprocess.run(
        [promtool, "check", "rules", "--lint=all", "--lint-fatal", rules],
        check=False,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_dashboards_are_those_of_grafana_and_bear_the_label_that_its_sidecar_looks_for():
    shown = {}
    for entry in every(MONITORING, "ConfigMap"):
        assert entry["metadata"]["labels"]["grafana_dashboard"] == "1"
        shown.update(entry["data"])
    assert shown == {path.name: path.read_text() for path in ROOT.glob("deploy/grafana/dashboards/*.json")}


def test_only_prometheus_reaches_the_pods_and_only_their_metrics():
    spec = the(PRODUCTION, "NetworkPolicy")["spec"]
    assert spec["policyTypes"] == ["Ingress"]
    (rule,) = spec["ingress"]
    assert rule["ports"] == [{"port": "metrics", "protocol": "TCP"}]
    (peer,) = rule["from"]
    assert set(peer) == {"namespaceSelector"}
    assert set(peer["namespaceSelector"]["matchLabels"]) == {"kubernetes.io/metadata.name"}


def test_the_autoscaler_follows_the_group_that_the_service_joins(tmp_path):
    settings = load_settings(mount(KEDA, tmp_path), environment(KEDA))
    scaled, target = the(KEDA, "ScaledObject")["spec"], the(KEDA, "StatefulSet")
    assert scaled["scaleTargetRef"] == {
        "apiVersion": target["apiVersion"],
        "kind": target["kind"],
        "name": target["metadata"]["name"],
    }
    asked = [trigger["metadata"] for trigger in scaled["triggers"]]
    assert [each["topic"] for each in asked] == list(settings.topics.events)
    for each in asked:
        assert all(isinstance(value, str) for value in each.values())
        assert each["bootstrapServers"] == settings.kafka["bootstrap.servers"]
        assert each["consumerGroup"] == settings.group
        assert (settings.kafka["sasl.mechanism"], each["sasl"]) == ("SCRAM-SHA-512", "scram_sha512")
        assert (settings.kafka["security.protocol"], each["tls"]) == ("SASL_SSL", "enable")


def test_the_autoscaler_never_goes_to_zero_and_alone_sets_the_number():
    scaled = the(KEDA, "ScaledObject")["spec"]
    assert 1 <= scaled["minReplicaCount"] < scaled["maxReplicaCount"]
    assert "idleReplicaCount" not in scaled
    assert "replicas" not in the(KEDA, "StatefulSet")["spec"]
    behavior = scaled["advanced"]["horizontalPodAutoscalerConfig"]["behavior"]
    up_s, down_s = (behavior[way]["stabilizationWindowSeconds"] for way in ("scaleUp", "scaleDown"))
    assert 0 < up_s < down_s <= MAX_STABILIZATION_S


def test_the_autoscaler_has_the_same_credentials_as_the_service():
    authentication = the(KEDA, "TriggerAuthentication")
    names = {
        trigger["authenticationRef"]["name"] for trigger in the(KEDA, "ScaledObject")["spec"]["triggers"]
    }
    assert names == {authentication["metadata"]["name"]}
    given = {(ref["name"], ref["key"]) for ref in authentication["spec"]["secretTargetRef"]}
    sources = [variable["valueFrom"] for variable in container(KEDA)["env"]]
    references = [source["secretKeyRef"] for source in sources if "secretKeyRef" in source]
    assert given == {(reference["name"], reference["key"]) for reference in references}
