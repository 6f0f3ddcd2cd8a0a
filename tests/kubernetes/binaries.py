"""What the cluster is made of: Kubernetes, built from its Go modules once a version, and custom resources."""

import json
import re
import shutil
import tempfile
from pathlib import Path
from typing import Any, Final

from tests.deploy.helm import cached
from tests.processes import run_required

VERSION: Final = "v1.35.4"
COMPONENTS: Final = ("kube-apiserver", "kube-controller-manager", "kube-scheduler", "kubelet")

_CUSTOM_RESOURCES: Final = {
    "github.com/prometheus-operator/prometheus-operator@v0.85.0": (
        "example/prometheus-operator-crd",
        ("alertmanagerconfigs", "prometheusrules", "servicemonitors"),
    ),
    "github.com/kedacore/keda/v2@v2.21.0": ("config/crd/bases", ("scaledobjects",)),
}
# A build on two cores takes ten minutes.
_BUILD_S: Final = 3_600.0


def kubernetes() -> Path:
    """Return the folder of Kubernetes' programs and of `pause`; build them if this version is missing."""
    return cached(f"kubernetes-{VERSION}", _build)


def _build(module: Path) -> Path:
    _write_module(module)
    _go(module, "mod", "tidy", "-e")
    for component in COMPONENTS:
        target = f"k8s.io/kubernetes/cmd/{component}"
        _go(module, "build", "-ldflags", _linked(), "-o", f"out/{component}", target)
    pause = Path(__file__).with_name("pause.go")
    _go(module, "build", "-ldflags", "-s -w", "-o", "out/pause", str(pause))
    return module / "out"


def custom_resources() -> list[Path]:
    """Return the files of the definitions of custom resources."""
    return [
        file
        for module, (folder, kinds) in _CUSTOM_RESOURCES.items()
        for file in (Path(_download(module)["Dir"]) / folder).glob("*.yaml")
        if file.stem.rpartition("_")[2] in kinds
    ]


def _write_module(folder: Path) -> None:
    """Write a module that requires Kubernetes.

    Kubernetes' own go.mod replaces its libraries by folders that its module lacks; here the published
    modules of the same version replace them.
    """
    source = Path(_download(f"k8s.io/kubernetes@{VERSION}")["GoMod"]).read_text()
    published = f"v0.{VERSION.removeprefix('v1.')}"
    libraries = re.findall(r"^\s*(k8s\.io/[a-z-]+) => \./staging", source, re.MULTILINE)
    settings = re.findall(r"^(?:go .+|godebug \([^)]*\))$", source, re.MULTILINE)
    replaced = [f"\t{library} => {library} {published}" for library in libraries]
    lines = ["module cluster", *settings, f"require k8s.io/kubernetes {VERSION}", "replace (", *replaced, ")"]
    (folder / "go.mod").write_text("\n".join([*lines, ""]))
    imports = [f'import _ "k8s.io/kubernetes/cmd/{component}"' for component in COMPONENTS]
    (folder / "tools.go").write_text("\n".join(["//go:build tools", "package cluster", *imports, ""]))


def _linked() -> str:
    """Return the linker's options, which set the version that the programs state."""
    _, minor, _ = VERSION.split(".")
    package = "k8s.io/component-base/version"
    values = {
        f"{package}.gitVersion": VERSION,
        f"{package}.gitMajor": "1",
        f"{package}.gitMinor": minor,
    }
    return " ".join(["-s -w", *(f"-X {name}={value}" for name, value in values.items())])


def _download(module: str) -> dict[str, Any]:
    return json.loads(_go(Path(tempfile.gettempdir()), "mod", "download", "-json", module))


def _go(folder: Path, *words: str) -> str:
    """Run Go at low priority, one package at a time; return what it printed."""
    nice = ("nice", "-n", "10", "env", "CGO_ENABLED=0", "GOFLAGS=-p=1 -buildvcs=false -modcacherw")
    program = shutil.which("go") or "go"
    done = run_required("nice", "coreutils", *nice[1:], program, *words, cwd=folder, timeout=_BUILD_S)
    return done.stdout
