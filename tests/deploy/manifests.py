"""The chart's manifests, rendered with the values of examples, and the environment of their containers.

`python -m tests.deploy.manifests` writes driftgauge.yaml, the chart's output for those without Helm.
"""

import re
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from driftgauge.config import ENV_PREFIX
from tests.deploy.dockerfile import ROOT, only
from tests.deploy.helm import run_helm

FOLDER = ROOT / "deploy/kubernetes"
CHART = FOLDER / "chart"
EXAMPLES = FOLDER / "examples"
RENDERED = FOLDER / "driftgauge.yaml"

RELEASE = "driftgauge"
BASE, MONITORING, PRODUCTION, PAGE, STRIMZI = "base", "monitoring", "production", "page", "strimzi"
_DIGITS = ("--values", EXAMPLES / "digits.yaml")
_PARTS = ("serviceMonitor", "prometheusRule", "alertmanagerConfig", "dashboards")
VALUES: dict[str, tuple[str | Path, ...]] = {
    BASE: _DIGITS,
    MONITORING: (*_DIGITS, *(f"--set=monitoring.{part}=true" for part in _PARTS)),
    PRODUCTION: ("--values", EXAMPLES / "production.yaml"),
    PAGE: (*_DIGITS, "--set=page.enabled=true"),
    STRIMZI: ("--values", EXAMPLES / "strimzi-values.yaml"),
}
"""Helm's options for each rendering."""

OPERATORS = "monitoring.coreos.com/"
"""Prefix of the API versions of custom resources."""

RUNNING = (BASE, PRODUCTION, PAGE)
"""The renderings whose pods are tested."""

POD = "driftgauge-1"
SECRET = {
    "username": "watcher",
    "password": "1234",  # a number if parsed as YAML
    "ca.crt": """\
-----BEGIN CERTIFICATE-----
MIIBdzCCAR2gAwIBAgIUTAegFF6mQzqa/22bQvk4FQH+BXMwCgYIKoZIzj0EAwIw
EDEOMAwGA1UEAwwFdGVzdHMwIBcNMjYxMTI1MTI0MDI0WhgPMjEyNjExMDExMjQw
MjRaMBAxDjAMBgNVBAMMBXRlc3RzMFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAE
rZ4k9lH+5IvrdN1NL6ifA7nXzvVBbiTGxKy3O7hyHLLuotpYW5xaq+YJBPNCHGQG
vAudSW3OfzUGW9nhIpo2w6NTMFEwHQYDVR0OBBYEFEA9qJ36r7Gp7ZVehIDVDPf7
tcKjMB8GA1UdIwQYMBaAFEA9qJ36r7Gp7ZVehIDVDPf7tcKjMA8GA1UdEwEB/wQF
MAMBAf8wCgYIKoZIzj0EAwIDSAAwRQIhALZBUm7cRXAkBoM89ETpcRB/v7wibj6x
+xExEEdQobQlAiBPMXK5kmKH+uNJBjAF56L3hTmOpqFWhsf1oCIPThoeGw==
-----END CERTIFICATE-----
""",
}


@cache
def output(*options: str | Path) -> str:
    """What Helm makes of the chart with these options; a warning fails an assertion."""
    done = run_helm("template", RELEASE, CHART, *options)
    assert done.stderr == ""
    return done.stdout


def render(where: str) -> tuple[dict[str, Any], ...]:
    """The objects of a rendering."""
    return tuple(yaml.safe_load_all(output(*VALUES[where])))


def document() -> str:
    """The text of driftgauge.yaml."""
    return (
        "# The chart's output with examples/digits.yaml, for those without Helm. After a change of the\n"
        "# configuration give its ConfigMap a new name, here and in the StatefulSet; that replaces pods.\n"
        f"{output(*VALUES[BASE])}"
    )


def every(where: str, kind: str) -> list[dict[str, Any]]:
    return [entry for entry in render(where) if entry["kind"] == kind]


def the(where: str, kind: str, name: str = RELEASE) -> dict[str, Any]:
    (found,) = (entry for entry in every(where, kind) if entry["metadata"]["name"] == name)
    return found


def pod(where: str) -> dict[str, Any]:
    """The pods' template: of the page in PAGE, of the replicas elsewhere."""
    kind, name = ("Deployment", f"{RELEASE}-page") if where == PAGE else ("StatefulSet", RELEASE)
    return the(where, kind, name)["spec"]["template"]


def container(where: str) -> dict[str, Any]:
    (found,) = pod(where)["spec"]["containers"]
    return found


def volumes(where: str) -> dict[str, tuple[str, dict[str, Any]]]:
    """The mounted folder or file and the source of each volume, by name."""
    folders = {each["name"]: each["mountPath"] for each in container(where)["volumeMounts"]}
    return {each["name"]: (folders[each["name"]], each) for each in pod(where)["spec"]["volumes"]}


def environment(where: str, folder: Path) -> dict[str, str]:
    """The environment of the container: the image's variables, overridden by the manifests'.

    The folder of the secrets is the one that `mount` writes.
    """
    values = dict(re.findall(rf"\b({ENV_PREFIX}\w+)=(\S+)", only("ENV").text))
    for variable in container(where)["env"]:
        # Only the replica's name comes from elsewhere.
        values[variable["name"]] = variable.get("value", POD)
    return values | {f"{ENV_PREFIX}SECRETS_DIR": str(folder / "secrets")}


def mount(where: str, folder: Path) -> Path:
    """Write the volumes as the kubelet does; return the path of the configuration file.

    The base stands for a cluster without the Secret. The baselines' volume holds the example's.
    """
    file, volume = volumes(where)["config"]
    config = folder / Path(file).name
    config.write_text(the(where, "ConfigMap", volume["configMap"]["name"])["data"][config.name])
    baselines, _ = volumes(where)["baselines"]
    (folder / Path(baselines).name).symlink_to(EXAMPLES)
    secrets = folder / "secrets"
    secrets.mkdir()
    _, volume = volumes(where)["secrets"]
    for source in volume["projected"]["sources"]:
        for item in source["secret"]["items"] if where != BASE else ():
            (secrets / item["path"]).write_text(SECRET[item["key"]])
    return config


if __name__ == "__main__":
    RENDERED.write_text(document(), encoding="utf-8")
