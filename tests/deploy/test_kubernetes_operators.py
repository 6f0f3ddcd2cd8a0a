"""The manifests for the Prometheus operator, KEDA and Grafana's sidecar."""

import json
import os
import re
import shutil

import pytest
import yaml

from driftgauge.config import load_settings
from driftgauge.telemetry.catalogue import METRICS
from tests.deploy.dockerfile import ROOT
from tests.deploy.manifests import (
    FOLDER,
    KEDA,
    MONITORING,
    OPERATORS,
    PARTITIONS,
    PRODUCTION,
    container,
    environment,
    every,
    mount,
    render,
    the,
)
from tests.processes import run_required

pytestmark = pytest.mark.stack

README = (FOLDER / "README.md").read_text()
# The labels that the operator adds to every target, and usual external labels. External labels replace a
# metric's own label where one query covers several Prometheus servers, as with Thanos.
TARGET_LABELS = {"container", "endpoint", "instance", "job", "namespace", "pod", "service"}
EXTERNAL_LABELS = {"cluster", "env", "environment", "prometheus", "prometheus_replica", "region", "replica"}
# The maximum of the API server (https://github.com/kedacore/keda/issues/4976).
MAX_STABILIZATION_S = 3600


def lost(written, kept, path=""):
    """The paths of values that a model does not keep unchanged."""
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


@pytest.fixture(scope="module")
def models():
    """The operators' models by kind; loading them takes seconds, which other tests need not spend."""
    from cloudcoil.models.keda.v1alpha1 import ScaledObject, TriggerAuthentication  # noqa: PLC0415
    from cloudcoil.models.prometheus_operator.v1 import PrometheusRule, ServiceMonitor  # noqa: PLC0415

    return {
        model.__name__: model
        for model in (PrometheusRule, ScaledObject, ServiceMonitor, TriggerAuthentication)
    }


@pytest.mark.parametrize("where", [MONITORING, PRODUCTION, KEDA])
def test_every_custom_resource_matches_model_of_operator(where, models):
    custom = [entry for entry in render(where) if entry["apiVersion"].startswith(OPERATORS)]
    assert custom
    for entry in custom:
        model = models[entry["kind"]].model_validate(entry)
        assert lost(entry, model.model_dump(mode="json", by_alias=True, exclude_unset=True)) == []


def test_service_monitor_selects_service_and_sets_job_of_rules():
    monitor, service = the(PRODUCTION, "ServiceMonitor")["spec"], the(PRODUCTION, "Service")
    assert monitor["selector"]["matchLabels"].items() <= service["metadata"]["labels"].items()
    (endpoint,), (port,) = monitor["endpoints"], service["spec"]["ports"]
    assert endpoint["port"] == port["name"]
    assert port["targetPort"] in {exposed["name"] for exposed in container(PRODUCTION)["ports"]}
    rules = json.dumps(the(PRODUCTION, "PrometheusRule")["spec"])
    jobs = set(re.findall(r'job=\\"(\w+)\\"', rules))
    assert jobs == {service["metadata"]["labels"][monitor["jobLabel"]]}


def test_scrape_interval_is_at_most_one_minute():
    (endpoint,) = the(MONITORING, "ServiceMonitor")["spec"]["endpoints"]
    interval = re.fullmatch(r"(\d+)s", endpoint["interval"])
    assert interval
    # Prometheus keeps a value for five minutes, so with one minute some scrapes may fail.
    assert 0 < int(interval[1]) <= 60


def test_instance_label_is_pod_name():
    (endpoint,) = the(MONITORING, "ServiceMonitor")["spec"]["endpoints"]
    assert endpoint["relabelings"] == [
        {"sourceLabels": ["__meta_kubernetes_pod_name"], "targetLabel": "instance"}
    ]


def test_metric_labels_do_not_collide_with_target_labels():
    given = TARGET_LABELS | EXTERNAL_LABELS
    assert given.isdisjoint(label for metric in METRICS.values() for label in metric.labels)


def test_prometheus_rule_equals_rule_file_and_promtool_accepts_it(tmp_path):
    spec = the(MONITORING, "PrometheusRule")["spec"]
    folder = ROOT / "deploy/prometheus/rules"
    (alerts,) = (yaml.safe_load(path.read_text()) for path in folder.iterdir())
    assert spec == alerts
    rules = tmp_path / "rules.yml"
    rules.write_text(yaml.safe_dump(spec))
    run_required("promtool", "prometheus", "check", "rules", "--lint=all", "--lint-fatal", rules)


def test_config_maps_hold_dashboards_with_sidecar_label():
    shown = {}
    for entry in every(MONITORING, "ConfigMap"):
        assert entry["metadata"]["labels"]["grafana_dashboard"] == "1"
        shown.update(entry["data"])
    assert shown == {path.name: path.read_text() for path in ROOT.glob("deploy/grafana/dashboards/*.json")}


def test_network_policy_admits_only_prometheus_to_metrics():
    spec = the(PRODUCTION, "NetworkPolicy")["spec"]
    assert spec["policyTypes"] == ["Ingress"]
    (rule,) = spec["ingress"]
    assert rule["ports"] == [{"port": "metrics", "protocol": "TCP"}]
    (peer,) = rule["from"]
    assert set(peer) == {"namespaceSelector"}
    (namespace,) = re.findall(r"Prometheus in a namespace other than `(.+?)`", README)
    assert peer["namespaceSelector"] == {"matchLabels": {"kubernetes.io/metadata.name": namespace}}


def test_readme_patch_removes_only_rules_and_dashboards(
    tmp_path,
):
    (patches,) = re.findall(r"```yaml\n(patches:.+?)```", README, re.DOTALL)
    second = tmp_path / "second"
    shutil.copytree(FOLDER / PRODUCTION, second)
    file = second / "kustomization.yaml"
    text = file.read_text().replace("../../", f"{os.path.relpath(FOLDER, second)}/")
    file.write_text(f"{text[: text.index('patches:')]}{patches}")
    everything = render(PRODUCTION)
    left_out = [entry for entry in everything if entry not in render(second)]
    assert {entry["kind"] for entry in left_out} == {"ConfigMap", "PrometheusRule"}
    assert len(left_out) == len([*every(MONITORING, "ConfigMap"), *every(MONITORING, "PrometheusRule")])
    assert len(left_out) + len(render(second)) == len(everything)


def test_autoscaler_follows_both_consumer_groups(tmp_path):
    settings = load_settings(mount(KEDA, tmp_path), environment(KEDA))
    scaled, target = the(KEDA, "ScaledObject")["spec"], the(KEDA, "StatefulSet")
    assert scaled["scaleTargetRef"] == {
        "apiVersion": target["apiVersion"],
        "kind": target["kind"],
        "name": target["metadata"]["name"],
    }
    asked = [trigger["metadata"] for trigger in scaled["triggers"]]
    followed = {(each["consumerGroup"], each["topic"]) for each in asked}
    counted = {(settings.group, topic) for topic in settings.topics.events}
    assert followed == counted | {(settings.windows_group, settings.partials_topic)}
    assert len(asked) == len(followed)
    for each in asked:
        # Kafka 4 refuses protocol versions before 2.1; KEDA's default is older.
        assert tuple(map(int, each["version"].split("."))) >= (2, 1, 0)
        # The service starts a partition without a committed offset at the earliest record.
        assert each["offsetResetPolicy"] == "earliest"
        assert all(isinstance(value, str) for value in each.values())
        assert each["bootstrapServers"] == settings.kafka["bootstrap.servers"]
        assert (settings.kafka["sasl.mechanism"], each["sasl"]) == ("SCRAM-SHA-512", "scram_sha512")
        assert (settings.kafka["security.protocol"], each["tls"]) == ("SASL_SSL", "enable")


def test_autoscaler_keeps_two_replicas_and_owns_their_number():
    scaled = the(KEDA, "ScaledObject")["spec"]
    assert 2 <= scaled["minReplicaCount"] < scaled["maxReplicaCount"] == PARTITIONS
    assert "idleReplicaCount" not in scaled
    assert "replicas" not in the(KEDA, "StatefulSet")["spec"]
    behavior = scaled["advanced"]["horizontalPodAutoscalerConfig"]["behavior"]
    up_s, down_s = (behavior[way]["stabilizationWindowSeconds"] for way in ("scaleUp", "scaleDown"))
    assert 0 < up_s < down_s <= MAX_STABILIZATION_S


def test_autoscaler_uses_credentials_of_service():
    authentication = the(KEDA, "TriggerAuthentication")
    names = {
        trigger["authenticationRef"]["name"] for trigger in the(KEDA, "ScaledObject")["spec"]["triggers"]
    }
    assert names == {authentication["metadata"]["name"]}
    given = {(ref["name"], ref["key"]) for ref in authentication["spec"]["secretTargetRef"]}
    sources = [variable["valueFrom"] for variable in container(KEDA)["env"]]
    references = [source["secretKeyRef"] for source in sources if "secretKeyRef" in source]
    assert given == {(reference["name"], reference["key"]) for reference in references}
