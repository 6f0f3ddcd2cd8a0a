"""The image without an engine: the rules of its Dockerfile, and a run of its layers."""

import os
import re
import shutil
import signal
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from packaging.requirements import Requirement

from tests.deploy.dockerfile import (
    DOCKER,
    PROJECT,
    ROOT,
    build_wheel,
    context,
    copy_context,
    instructions,
    lay_out,
    stage,
)
from tests.harness.node import free_ports
from tests.needed import skip_or_fail
from tests.processes import run_command
from tests.waiting import wait_for

BASE = r"python:(\d+\.\d+)\.\d+-slim-[a-z]+"
UID = 65_532

# Like the image: only the extracted site-packages, without the tests of dependencies. Those are folders, and
# Jinja2 has a module of that name.
PROGRAM = """
import runpy
import sys
from importlib.machinery import PathFinder
class NoTests:
    def find_spec(self, name, path=None, target=None):
        found = name.endswith(".tests") and PathFinder.find_spec(name, path)
        if found and found.submodule_search_locations:
            raise ImportError(f"{name} is not in the image")
sys.meta_path.insert(0, NoTests())
program, *places = sys.argv.pop(1).split(":")
sys.path[:0] = places
runpy.run_module(program, run_name="__main__", alter_sys=True)
"""

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


def steps(name, of="service"):
    return [step for step in stage(of) if step.name == name]


def only(name, of="service"):
    (step,) = steps(name, of)
    return step


def test_base_image_is_exact_tag_of_supported_python():
    (base,) = (step.text.removeprefix("BASE=") for step in instructions()[0])
    found = re.fullmatch(BASE, base)
    assert found, base
    assert Requirement(f"python{PROJECT['requires-python']}").specifier.contains(found[1])
    assert f"/lib/python{found[1]}" in (DOCKER / "Dockerfile").read_text()
    assert [steps[0].text for steps in instructions()[1:]] == [
        "${BASE} AS build",
        "${BASE} AS service",
        "service AS demo",
        "service",
    ]


def test_image_runs_as_numeric_user_without_root():
    assert only("USER").text == f"{UID}:{UID}"
    names = [step.name for step in stage("service")]
    assert not {"RUN", "COPY", "ADD"} & set(names[names.index("USER") :])
    assert not {"RUN", "USER", "ADD"} & {step.name for step in stage("demo")}


def test_the_image_that_is_built_by_default_is_the_services_and_nothing_else():
    (last,) = instructions()[-1]
    assert (last.name, last.text) == ("FROM", "service")


def test_the_demo_adds_its_package_and_its_command_to_the_services_image_and_nothing_else():
    assert [step.name for step in stage("demo")] == ["FROM", "WORKDIR", "COPY", "ENTRYPOINT"]
    copy = only("COPY", "demo")
    assert copy.options == {}
    assert copy.words == ["deploy/demo", "deploy/demo"]
    assert only("ENTRYPOINT", "demo").words == ["python", "-m", "deploy.demo"]
    assert only("ENTRYPOINT").words == ["driftgauge"]


def test_no_instruction_needs_shell():
    for all_steps in instructions()[1:]:
        for step in all_steps:
            if step.name in {"RUN", "CMD", "ENTRYPOINT", "HEALTHCHECK"}:
                assert step.is_exec_form, step
                assert step.words[0] not in {"sh", "bash", "curl", "wget"}


def test_every_install_is_locked_by_hashes_or_offline():
    installs = [step.words for step in steps("RUN", "build") if {"pip"} & set(step.words)]
    assert len(installs) == 4
    for words in installs:
        assert "--no-deps" in words
        assert ("--require-hashes" in words) != ("--no-index" in words)
    assert [words[-1] for words in installs if "--require-hashes" in words] == [
        "requirements.lock",
        "build.lock",
    ]


def test_copied_files_exist_and_build_context_is_copied():
    sources = [word for of in ("build", "demo") for step in steps("COPY", of) for word in step.words[:-1]]
    for source in sources:
        assert (ROOT / source).exists()
    sent = context()
    assert {Path("service/driftgauge/app.py"), Path("deploy/demo/__main__.py")} <= set(sent)
    for file in sent:
        assert any(file == Path(source) or Path(source) in file.parents for source in sources), file
        assert file.suffix in {
            ".py",
            ".typed",
            ".html",
            ".css",
            ".js",
            ".svg",
            ".toml",
            ".md",
            ".lock",
            "",
        }, file


def test_final_stage_copies_only_build_result():
    copy = only("COPY")
    assert copy.options == {"from": "build"}
    assert copy.words == ["/opt/driftgauge", "/opt/driftgauge"]


def test_installed_environment_is_first_on_path():
    made, *rest = [
        step.words for step in steps("RUN", "build") if "venv" in step.words or "--python" in step.words
    ]
    place = only("COPY").words[1]
    assert made == ["python", "-m", "venv", "--without-pip", place]
    assert [words[words.index("--python") + 1] for words in rest] == [f"{place}/bin/python"] * 2
    (found,) = (step.words for step in steps("RUN", "build") if step.words[0] == "find")
    assert found[:6] == ["find", place, "-type", "d", "-name", "tests"]
    assert re.findall(r"\bPATH=(\S+)", only("ENV").text) == [f"{place}/bin:${{PATH}}"]


def test_image_labels_match_project():
    labels = dict(re.findall(r'org\.opencontainers\.image\.(\w+)="([^"]*)"', only("LABEL").text))
    assert labels == {
        "title": PROJECT["name"],
        "description": PROJECT["description"],
        "version": PROJECT["version"],
        "licenses": PROJECT["license"],
        "revision": "${REVISION}",
    }


@dataclass(frozen=True)
class Image:
    """Packages of the image and the demo, a volume owned by the user, and the stack's configuration."""

    packages: Path
    demo: Path
    volume: Path
    config: Path

    def command(self, *arguments, module="driftgauge", places=()):
        """The command line of the image's entry point, with the confinement of the container."""
        python = [os.path.realpath(sys.executable), "-I", "-S"]
        program = ":".join(map(str, (module, *places, self.packages)))
        words = [*python, "-c", PROGRAM, program, *map(str, arguments)]
        return ["sh", "-c", ENTER, "sh", str(self.volume), *BECOME, *words]

    def environment(self, **variables):
        declared = dict(re.findall(r"(\w+)=(\S+)", only("ENV").text))
        # The default PATH, because the image's folder does not exist on this machine.
        return {**declared, "PATH": os.defpath, **variables}

    def run(self, *arguments, **variables):
        return self._finish(self.command(*arguments), **variables)

    def run_demo(self, *arguments):
        return self._finish(self.command(*arguments, module="deploy.demo", places=[self.demo]))

    def _finish(self, command, **variables):
        return run_command("unshare", "--mount", *command, env=self.environment(**variables))


@pytest.fixture(scope="module")
def image() -> Iterator[Image]:
    missing = [name for name in ("unshare", "setpriv", "mount") if shutil.which(name) is None]
    if os.geteuid() != 0 or missing:
        reason = "the image's confinement takes root, and util-linux: run the tests as root on Linux"
        skip_or_fail(reason)
    # Not pytest's folder, which only one user may read.
    with TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o755)
        for part in ("build", "packages", "demo", "volume"):
            (folder / part).mkdir()
        lay_out(build_wheel(folder / "build"), folder / "packages")
        copy_context("demo", folder / "demo")
        config = (DOCKER / "driftgauge.yaml").read_text(encoding="utf-8")
        inside = config.replace("/var/lib/driftgauge", str(folder / "volume"))
        (folder / "driftgauge.yaml").write_text(inside, encoding="utf-8")
        os.chown(folder / "volume", UID, UID)
        yield Image(folder / "packages", folder / "demo", folder / "volume", folder / "driftgauge.yaml")


def test_wheel_holds_package_and_licence_without_tests(tmp_path):
    with zipfile.ZipFile(build_wheel(tmp_path)) as wheel:
        held = set(wheel.namelist())
    page = ROOT / "service/driftgauge/page"
    sources = [*(ROOT / "service").rglob("*.py"), *page.glob("templates/*"), *page.glob("static/*")]
    modules = {str(path.relative_to(ROOT / "service")) for path in sources}
    info = f"driftgauge-{PROJECT['version']}.dist-info"
    files = ("METADATA", "RECORD", "WHEEL", "entry_points.txt", "licenses/LICENSE")
    assert held == modules | {"driftgauge/py.typed"} | {f"{info}/{file}" for file in files}


@pytest.mark.stack
def test_image_prints_help_with_locked_packages_and_read_only_root(image):
    done = image.run("serve", "--help")
    assert (done.returncode, done.stderr) == (0, "")
    assert "Usage: driftgauge serve" in done.stdout


def test_the_services_image_holds_no_demo(image):
    missing = image._finish(image.command("--help", module="deploy.demo"))
    assert missing.returncode == 1
    assert "No module named 'deploy'" in missing.stderr


@pytest.fixture(scope="module")
def prepared(image) -> Image:
    """The image, with a volume that holds a baseline written by the image."""
    done = image.run_demo("prepare", "--out", image.volume)
    assert (done.returncode, done.stderr) == (0, "")
    return image


@pytest.mark.stack
def test_image_writes_only_to_volume(prepared):
    outside = prepared.run_demo("prepare", "--out", prepared.packages)
    assert outside.returncode == 2
    assert "cannot write the network: Read-only file system" in outside.stderr
    checked = prepared.run("config", "check", "--config", prepared.config)
    assert (checked.returncode, checked.stderr) == (0, "")
    assert '"host": "0.0.0.0"' in checked.stdout


@pytest.mark.stack
def test_process_1_is_alive_without_broker_and_ends_on_sigterm(prepared):
    (port,) = free_ports(1)
    variables = {
        "DRIFTGAUGE_KAFKA__BOOTSTRAP_SERVERS": "127.0.0.1:1",
        "DRIFTGAUGE_HTTP__PORT": str(port),
        "DRIFTGAUGE_HTTP__HOST": "127.0.0.1",
    }
    inside = prepared.command("serve", "--config", prepared.config)
    with subprocess.Popen(
        ["unshare", "--mount", "--pid", "--fork", "--kill-child", *inside],
        env=prepared.environment(**variables),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as process:
        try:
            health = only("HEALTHCHECK").words[1:]
            asked = (*health, "--url", f"http://127.0.0.1:{port}")

            def successful_answer():
                answer = prepared.run(*asked)
                return None if answer.returncode else answer

            answer = wait_for("the health check to succeed", successful_answer, within_s=120)
            unready = prepared.run(*asked, "--ready")
            (first,) = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
            os.kill(int(first), signal.SIGTERM)
            said, _ = process.communicate(timeout=120)
        finally:
            process.kill()
    assert '"alive":true' in answer.stdout
    assert unready.returncode == 1
    assert process.returncode == 0
    assert '"event": "stopped"' in said.splitlines()[-1]
