"""The image as Buildah builds it and Podman runs it.

The base is the Dockerfile's, which takes Docker's hub, or the image that `TEST_IMAGE_BASE` names.
`python -m tests.deploy.engine` makes one of Debian's packages, and builds on it. Status 3: this machine can
neither make it nor run it.
"""

import os
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final
from uuid import uuid4

import pytest

from tests.deploy.dockerfile import DOCKER, PROJECT, ROOT
from tests.mutants.planted import changed_sources
from tests.needed import required, skip_or_fail
from tests.processes import run_command, run_required

# Not named like a setting: the service refuses a variable DRIFTGAUGE_… that it does not know.
BASE_VARIABLE: Final = "TEST_IMAGE_BASE"
_DEBIAN_BASE: Final = "localhost/driftgauge-base"
_BUILD_S: Final = 1_200
# Limits that a container within a container may set too.
_ULIMITS: Final = ("--ulimit", "nofile=1024:1024", "--ulimit", "nproc=4096:4096")


def _pinned() -> str:
    (base,) = re.findall(r"^ARG BASE=(.*)", (DOCKER / "Dockerfile").read_text(), re.MULTILINE)
    return os.environ.get(BASE_VARIABLE, base)


@cache
def build() -> str:
    """Build the image and return its name; skip, or fail in CI, without an engine or a base.

    CI itself names the base `none` if it could not build the image, which it reports.
    """
    if _pinned() == "none":
        pytest.skip("this machine cannot build the image: see CI's report")
    for program in ("buildah", "podman"):
        required(program, program)
    name = f"localhost/driftgauge-test:{PROJECT['version']}"
    certificates = "/etc/ssl/certs:/etc/ssl/certs:ro"
    options = ("--layers", "--format", "docker", "--isolation", "chroot", "--network", "host")
    files = ("--file", DOCKER / "Dockerfile", "--ignorefile", DOCKER / "Dockerfile.dockerignore")
    given = ("--build-arg", f"BASE={_pinned()}", "--build-arg", "REVISION=5f3c", "--tag", name)
    # The stage of dependencies is kept by --layers, so only the first build takes minutes.
    done = run_command(
        *("buildah", "build", *options, "--volume", certificates, *files, *given, ROOT), timeout=_BUILD_S
    )
    if done.returncode:
        reason = (
            f"the image cannot be built on {_pinned()}: {done.stderr[-2_000:]}\nWithout Docker's hub, make a "
            f"base by `python -m tests.deploy.engine`, and name it: {BASE_VARIABLE}={_DEBIAN_BASE}"
        )
        skip_or_fail(reason)
    return name


@cache
def build_later(name: str) -> str:
    """Build the image with the changed modules of a later version; return its name."""
    later = f"localhost/driftgauge-test:{name}"
    with TemporaryDirectory() as folder:
        for file, source in changed_sources(name).items():
            path = Path(folder) / "driftgauge" / file
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(source, encoding="utf-8")
        recipe = f"FROM {build()}\nCOPY driftgauge /opt/driftgauge/lib/python3.11/site-packages/driftgauge\n"
        (Path(folder) / "Dockerfile").write_text(recipe)
        run_required("buildah", "buildah", "build", "--tag", later, folder)
    return later


def size_bytes(image: str) -> int:
    """Return the size of an image, of its base if none is named."""
    shown = run_command("podman", "image", "inspect", "--format", "{{.Size}}", image or _pinned(), check=True)
    return int(shown.stdout)


def run_words(image: str, *options: str) -> list[str]:
    """Return the command line that runs an image on this machine's loopback, and removes it afterwards."""
    own = ("--network", "host", "--env", "DRIFTGAUGE_HTTP__HOST=127.0.0.1", "--no-healthcheck", *_ULIMITS)
    return ["podman", "run", "--rm", *own, *options, image]


@contextmanager
def container(image: str, *options: str) -> Iterator[tuple[str, tuple[str, str]]]:
    """Yield a container's name, and the arguments by which Python becomes `podman run`; remove it after."""
    name = f"driftgauge-test-{uuid4().hex[:8]}"
    words = run_words(image, "--name", name, "--replace", *options)
    try:
        yield name, ("-c", f"import os, sys; os.execvp('podman', {words!r} + sys.argv[1:])")
    finally:
        run_command("podman", "rm", "--force", "--ignore", name)


def resident_peak_mib(name: str) -> float:
    """Return the most memory that the first process of a running container was resident with."""
    shown = run_command("podman", "inspect", "--format", "{{.State.Pid}}", name, check=True)
    status = Path(f"/proc/{int(shown.stdout)}/status").read_text()
    return int(re.search(r"VmHWM:\s+(\d+) kB", status)[1]) / 1_024


def _make_base() -> None:
    """Make the base of Debian's packages, where Docker's hub cannot be reached."""
    if run_command("podman", "image", "exists", _DEBIAN_BASE).returncode == 0:
        return
    with TemporaryDirectory() as folder:
        root = Path(folder) / "base.tar"
        packages = "--include=python3,python3-venv,python3-pip,ca-certificates"
        debian = ("--variant=minbase", packages, "bookworm", root)
        run_required("mmdebstrap", "mmdebstrap", *debian, timeout=_BUILD_S)
        (Path(folder) / "Dockerfile").write_text(
            "FROM scratch\nADD base.tar /\n"
            # What the official image has.
            "RUN ln -s python3 /usr/bin/python && rm /usr/lib/python3*/EXTERNALLY-MANAGED"
            " && mkdir -p /usr/local/lib/python3.11\n"
        )
        own = ("build", "--isolation", "chroot", "--squash", "--tag", _DEBIAN_BASE, folder)
        run_required("buildah", "buildah", *own, timeout=_BUILD_S)


if __name__ == "__main__":
    try:
        # Each build of changed code leaves layers of 0.6 GB.
        run_required("podman", "podman", "image", "prune", "--force", "--filter", "until=24h")
        _make_base()
        engine, *words = run_words(_DEBIAN_BASE)
        run_required(engine, "podman", *words, "true")
    except (AssertionError, pytest.fail.Exception, pytest.skip.Exception) as error:
        sys.stderr.write(f"this machine runs no containers: {error}\n")
        sys.exit(3)
    os.environ[BASE_VARIABLE] = _DEBIAN_BASE
    engine, *words = run_words(build())
    version = run_required(engine, "podman", *words, "--version").stdout
    sys.stdout.write(f"built on {_DEBIAN_BASE}, and ran: {version}")
