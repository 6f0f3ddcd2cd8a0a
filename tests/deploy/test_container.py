"""The image without an engine: what its Dockerfile must keep, and its packages run as its user.

The locked packages and the wheel are run on a read-only root, without capabilities, as process 1.
"""

import os
import re
import shutil
import signal
import subprocess
import sys
import zipfile
from fnmatch import fnmatch
from importlib.metadata import distribution
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from deploy.generate.licences import locked
from packaging.requirements import Requirement

from tests.deploy.dockerfile import DOCKER, PROJECT, ROOT, only, stages
from tests.harness.node import free_ports
from tests.needed import skip_or_fail
from tests.processes import run_command
from tests.waiting import wait_for

UID = 65_532

# Mounts of this process only; the volume is a separate mount, which stays writable.
ENTER = """
mount --bind "$1" "$1" && mount -o remount,bind,ro / || exit 99
shift
exec "$@"
"""
# The capability to read every file finds the interpreter anywhere, and allows no writes.
BECOME = (
    *("setpriv", f"--reuid={UID}", f"--regid={UID}", "--clear-groups", "--no-new-privs"),
    *(f"--{kind}=-all,+dac_read_search" for kind in ("inh-caps", "ambient-caps", "bounding-set")),
)


def copied(stage):
    """The files and folders of the repository that a stage copies."""
    copies = (step.words for step in stages()[stage] if step.name == "COPY")
    return [word for words in copies if not words[0].startswith("--from") for word in words[:-1]]


def test_default_image_is_service_by_unprivileged_user():
    assert only("FROM", "default").words == ["service"]
    assert only("USER").text == f"{UID}:{UID}"
    assert only("ENTRYPOINT").words == ["driftgauge"]
    assert not [step for step in stages()["demo"] if step.name in {"RUN", "USER"}]
    assert only("COPY").words == ["--from=build", "/opt/driftgauge", "/opt/driftgauge"]


def test_base_is_exact_tag_of_supported_python():
    text = (DOCKER / "Dockerfile").read_text()
    (version,) = re.findall(r"^ARG BASE=python:(\d+\.\d+)\.\d+-slim-[a-z]+$", text, re.MULTILINE)
    assert Requirement(f"python{PROJECT['requires-python']}").specifier.contains(version)
    assert f"/lib/python{version}" in text


def test_every_install_is_locked_by_hashes_or_offline():
    installs = [step.words for step in stages()["build"] if step.name == "RUN" and "pip" in step.words]
    assert installs
    for words in installs:
        assert "--no-deps" in words
        assert ("--require-hashes" in words) != ("--no-index" in words), words


def test_image_labels_match_project():
    labels = dict(re.findall(r'org\.opencontainers\.image\.(\w+)="([^"]*)"', only("LABEL").text))
    assert (labels["version"], labels["licenses"]) == (PROJECT["version"], PROJECT["license"])


def test_build_context_lets_in_what_is_copied():
    lines = (DOCKER / "Dockerfile.dockerignore").read_text().splitlines()
    let_in = [line[1:] for line in lines if line.startswith("!")]
    sources = copied("build") + copied("demo")
    assert "*" in lines
    assert [source for source in sources if not any(fnmatch(source, each) for each in let_in)] == []


def build_wheel(folder):
    """Copy into a folder what the build stage copies, and build the wheel there by the stage's command."""
    for source in copied("build"):
        copy = shutil.copytree if (ROOT / source).is_dir() else shutil.copyfile
        copy(ROOT / source, folder / Path(source).name)
    runs = [step.words for step in stages()["build"] if step.name == "RUN"]
    (name_commit,) = (words for words in runs if words[0] == "sh")
    run_command(*name_commit, cwd=folder, env={"REVISION": "5f3c", "PATH": os.environ["PATH"]}, check=True)
    (build,) = (words for words in runs if "wheel" in words)
    run_command(sys.executable, *build[1:], cwd=folder, check=True)
    (wheel,) = (folder / "dist").iterdir()
    return wheel


def test_wheel_holds_package_and_licence_without_tests(tmp_path):
    with zipfile.ZipFile(build_wheel(tmp_path)) as wheel:
        held = set(wheel.namelist())
        assert wheel.read("driftgauge/commit.txt") == b"5f3c\n"
    service = ROOT / "service"
    page = service / "driftgauge/page"
    sources = [*service.rglob("*.py"), *page.glob("templates/*"), *page.glob("static/*")]
    package = {name for name in held if ".dist-info/" not in name}
    others = {"driftgauge/py.typed", "driftgauge/commit.txt"}
    assert package == {str(path.relative_to(service)) for path in sources} | others
    assert f"driftgauge-{PROJECT['version']}.dist-info/licenses/LICENSE" in held


@pytest.fixture
def image():
    """A folder with the image's packages, the demo, a volume of its user, and the stack's configuration."""
    if os.geteuid() != 0 or not all(map(shutil.which, ("unshare", "setpriv", "mount"))):
        skip_or_fail("the image's confinement takes root, and util-linux: run the tests as root on Linux")
    # Not pytest's folder, which only one user may read.
    with TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o755)
        for part in ("build", "volume"):
            (folder / part).mkdir()
        os.chown(folder / "volume", UID, UID)
        with zipfile.ZipFile(build_wheel(folder / "build")) as archive:
            archive.extractall(folder / "packages")
        for each in locked():
            lay_out(each, folder / "packages")
        shutil.copytree(ROOT / "deploy/demo", folder / "packages/deploy/demo")
        config = (DOCKER / "driftgauge.yaml").read_text(encoding="utf-8")
        inside = config.replace("/var/lib/driftgauge", str(folder / "volume"))
        (folder / "driftgauge.yaml").write_text(inside, encoding="utf-8")
        yield folder


def lay_out(name, packages):
    """Link a distribution into a folder; like the image, without the distribution's own tests."""
    found = distribution(name)
    for top in {file.parts[0] for file in found.files or () if file.parts[0] not in {"..", "__pycache__"}}:
        source = Path(str(found.locate_file(top))).resolve()
        if source.is_dir():
            options = {"copy_function": os.symlink, "ignore": shutil.ignore_patterns("tests")}
            shutil.copytree(source, packages / top, dirs_exist_ok=True, **options)
        else:
            (packages / top).symlink_to(source)


def confined(folder, *words, module="driftgauge"):
    """The command line of a module in the image's confinement, and the environment."""
    python = [os.path.realpath(sys.executable), "-S", "-P", "-m", module]
    # The default PATH, because the image's folder does not exist on this machine.
    declared = dict(re.findall(r"(\w+)=(\S+)", only("ENV").text)) | {"PATH": os.defpath}
    return {
        "args": ["sh", "-c", ENTER, "sh", folder / "volume", *BECOME, *python, *words],
        "env": declared | {"PYTHONPATH": str(folder / "packages")},
    }


def run_confined(folder, *words, module="driftgauge"):
    inside = confined(folder, *words, module=module)
    return run_command("unshare", "--mount", *inside["args"], env=inside["env"])


@pytest.mark.stack
def test_image_runs_as_process_1_and_writes_only_to_volume(image):
    outside = run_confined(image, "prepare", "--out", image / "packages", module="deploy.demo")
    assert outside.returncode == 2
    assert "Read-only file system" in outside.stderr
    written = run_confined(image, "prepare", "--out", image / "volume", module="deploy.demo")
    assert (written.returncode, written.stderr) == (0, "")
    config = image / "driftgauge.yaml"
    checked = run_confined(image, "config", "check", "--config", config, "--json")
    assert (checked.returncode, checked.stderr) == (0, "")
    assert '"host": "0.0.0.0"' in checked.stdout

    (port,) = free_ports(1)
    health = (*only("HEALTHCHECK").words[1:], "--url", f"http://127.0.0.1:{port}")
    inside = confined(image, "serve", "--config", config)
    variables = {
        "DRIFTGAUGE_KAFKA__BOOTSTRAP_SERVERS": "127.0.0.1:1",
        "DRIFTGAUGE_HTTP__PORT": "0",
        "DRIFTGAUGE_HTTP__HEALTH_PORT": str(port),
        "DRIFTGAUGE_HTTP__HOST": "127.0.0.1",
    }
    with subprocess.Popen(
        ["unshare", "--mount", "--pid", "--fork", "--kill-child", *inside["args"]],
        env=inside["env"] | variables,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as process:
        try:
            wait_for("the health check to succeed", lambda: run_confined(image, *health).returncode == 0)
            # Alive without a broker, and not ready.
            unready = run_confined(image, *health, "--ready")
            (first,) = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
            os.kill(int(first), signal.SIGTERM)
            said, _ = process.communicate(timeout=120)
        finally:
            process.kill()
    assert unready.returncode == 1
    assert process.returncode == 0
    # A reader of the page may still say that it found no broker.
    assert '"event": "stopped"' in said
