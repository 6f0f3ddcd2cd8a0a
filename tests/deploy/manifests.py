"""The rendered manifests of deploy/kubernetes, and the environment of their containers."""

import base64
import re
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from driftgauge.config import ENV_PREFIX
from tests.deploy.dockerfile import ROOT, only
from tests.processes import run_required

FOLDER = ROOT / "deploy/kubernetes"
BASE, MONITORING = "base", "monitoring"
PRODUCTION, PAGE = "overlays/production", "overlays/page"
RUNNING = (BASE, PRODUCTION, PAGE)
"""The folders with a StatefulSet."""

OPERATORS = "monitoring.coreos.com/"
"""Prefix of the API versions of custom resources."""

# The partitions of the events topic in the example.
PARTITIONS = 12

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
def render(where: str | Path) -> tuple[dict[str, Any], ...]:
    """The objects of a kustomization; a warning of kustomize fails an assertion."""
    done = run_required("kubectl", "kubernetes-client", "kustomize", FOLDER / where)
    assert done.stderr == ""
    return tuple(yaml.safe_load_all(done.stdout))


def every(where: str, kind: str) -> list[dict[str, Any]]:
    return [entry for entry in render(where) if entry["kind"] == kind]


def the(where: str, kind: str) -> dict[str, Any]:
    (only,) = every(where, kind)
    return only


def pod(where: str) -> dict[str, Any]:
    template: dict[str, Any] = the(where, "StatefulSet")["spec"]["template"]
    return template


def container(where: str) -> dict[str, Any]:
    (only,) = pod(where)["spec"]["containers"]
    return only


def volumes(where: str) -> dict[str, tuple[str, dict[str, Any]]]:
    """The mounted folder and the source of each volume, by name."""
    folders = {each["name"]: each["mountPath"] for each in container(where)["volumeMounts"]}
    return {each["name"]: (folders[each["name"]], each) for each in pod(where)["spec"]["volumes"]}


def environment(where: str, folder: Path) -> dict[str, str]:
    """The environment of the container: the image's variables, overridden by the manifests'.

    The folder of the secrets is the one that `mount` writes.
    """
    values = dict(re.findall(rf"\b({ENV_PREFIX}\w+)=(\S+)", only("ENV").text))
    secrets, _ = volumes(where)["secrets"]
    for variable in container(where)["env"]:
        match variable:
            case {"name": name, "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}}:
                values[name] = POD
            case {"name": name, "value": value} if value == secrets:
                values[name] = str(folder / "secrets")
            case _:
                raise AssertionError(variable)
    return values


def mount(where: str, folder: Path) -> Path:
    """Write the volumes as the kubelet does; return the path of the configuration file.

    The base stands for a cluster without the Secret.
    """
    mounted, volume = volumes(where)["config"]
    maps = {entry["metadata"]["name"]: entry for entry in every(where, "ConfigMap")}
    for source in volume["projected"]["sources"]:
        content = maps[source["configMap"]["name"]]
        for name, text in content.get("data", {}).items():
            (folder / name).write_text(text)
        for name, encoded in content.get("binaryData", {}).items():
            (folder / name).write_bytes(base64.b64decode(encoded))
    secrets = folder / "secrets"
    secrets.mkdir()
    _, volume = volumes(where)["secrets"]
    assert volume["secret"]["optional"]
    for item in volume["secret"]["items"] if where != BASE else ():
        (secrets / item["path"]).write_text(SECRET[item["key"]])
    *_, config_path = container(where)["args"]
    return folder / Path(config_path).relative_to(mounted)
