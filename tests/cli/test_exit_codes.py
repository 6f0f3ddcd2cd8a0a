"""The exit status of commands, as the help and the documentation list them."""

import re
from pathlib import Path

from driftgauge import cli
from tests.cli.command import run

README = Path(__file__).parents[2] / "service" / "README.md"
DOCUMENTED = {0, 1, 2, 130}


def test_help_and_documentation_list_the_same():
    listed = re.findall(r"^ {4}(\d+) +\S", run("--help").stdout, re.MULTILINE)
    assert {int(code) for code in listed} == DOCUMENTED
    section = README.read_text("utf-8").partition("## Exit status")[2].partition("\n## ")[0]
    assert {int(code) for code in re.findall(r"^\| `(\d+)` \|", section, re.MULTILINE)} == DOCUMENTED


def test_done_is_0():
    assert run("plan", "--events-per-hour", "1000").returncode == 0
    assert run("plan", "--help").returncode == 0


def test_failing_environment_and_negative_answer_are_1(config, tmp_path):
    kafka = {"DRIFTGAUGE_KAFKA__BOOTSTRAP_SERVERS": "127.0.0.1:1"}
    assert run("events", "peek", "--config", config, "--topic", "embeddings", **kafka).returncode == 1
    assert run("health", "--url", "http://127.0.0.1:1").returncode == 1
    sample = tmp_path / "sample.jsonl"
    sample.write_text("{}\n")
    assert run("config", "check", "--config", config, "--sample", sample).returncode == 1


def test_unusable_input_is_2(config, tmp_path):
    assert run("plan").returncode == 2
    assert run().returncode == 2
    assert run("nonsense").returncode == 2
    assert run("replay", tmp_path / "absent.jsonl", "--config", config).returncode == 2
    assert run("config", "check", "--config", tmp_path / "absent.yaml").returncode == 2


def test_interrupt_is_130(monkeypatch):
    def interrupt(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(cli.cli, "invoke", interrupt)
    done = run("plan", "--events-per-hour", "1")
    assert (done.returncode, done.stdout) == (130, "")
    assert done.stderr.strip() == "driftgauge: interrupted"
