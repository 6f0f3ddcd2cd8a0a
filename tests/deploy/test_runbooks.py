"""The runbooks: one page per alert, with valid commands, queries and quotations."""

import re
import shlex
import subprocess
from pathlib import Path

import pytest

from driftgauge.core.durations import parse_duration
from tests.deploy import promql
from tests.deploy.chain.servers import Alertmanager
from tests.deploy.test_alertmanager import post
from tests.deploy.test_rules import ALERTS, cases
from tests.needed import required
from tests.processes import run_command
from tests.waiting import wait_for

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "deploy/runbooks"
OVERVIEW = FOLDER / "README.md"
PAGES = sorted(set(FOLDER.glob("*.md")) - {OVERVIEW})
SECTIONS = ["Urgency", "What it means", "Confirm", "What to do", "Silence"]

EACH_PAGE = pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)


def blocks(page: Path, language: str) -> list[str]:
    """The fenced code blocks of a language, without the indent of list items."""
    found = re.findall(
        rf"^( *)```{language}\n(.*?)^ *```$", page.read_text("utf-8"), re.MULTILINE | re.DOTALL
    )
    return [
        "".join(line.removeprefix(indent) for line in block.splitlines(keepends=True))
        for indent, block in found
    ]


def silences(page: Path) -> list[str]:
    return [
        line
        for block in blocks(page, "sh")
        for line in block.replace("\\\n", " ").splitlines()
        if line.startswith("amtool silence add")
    ]


def test_alerts_and_pages_match():
    assert {page.stem for page in PAGES} == set(ALERTS)


def test_runbook_urls_lead_to_pages():
    for name, rules in ALERTS.items():
        for rule in rules:
            path = rule["annotations"]["runbook_url"].partition("/blob/main/")[2]
            assert (ROOT / path).samefile(FOLDER / f"{name}.md")


@EACH_PAGE
def test_page_has_five_nonempty_sections(page: Path):
    title, *rest = re.split(r"^## ", page.read_text("utf-8"), flags=re.MULTILINE)
    assert title.strip() == f"# {page.stem}"
    sections = {heading: text.strip() for heading, _, text in (part.partition("\n") for part in rest)}
    assert list(sections) == SECTIONS
    assert all(sections.values())
    assert "```promql\n" in sections["Confirm"]
    assert re.search(r"^(- |1\. |\| )", sections["What to do"], re.MULTILINE)
    assert "amtool silence add " in sections["Silence"]


def test_overview_lists_every_alert_with_severity():
    rows = re.findall(r"^\| \[(\w+)\]\((\w+)\.md\) \| ([^|]+) \|", OVERVIEW.read_text("utf-8"), re.MULTILINE)
    assert sorted(name for name, _, _ in rows) == sorted(ALERTS)
    for name, page, severity in rows:
        assert page == name
        assert severity.split(", then ") == [rule["labels"]["severity"] for rule in ALERTS[name]] or (
            (name, severity) == ("DriftgaugeDrift", "the stream's")
        )


@pytest.mark.parametrize("page", [OVERVIEW, *PAGES], ids=lambda page: page.stem)
def test_links_lead_to_existing_files(page: Path):
    for target in re.findall(r"\]\(([^)#]+)\)", page.read_text("utf-8")):
        assert (page.parent / target).exists(), target


@EACH_PAGE
def test_queries_use_exported_series(page: Path):
    queries = blocks(page, "promql")
    assert queries
    for query in queries:
        for selector, _ in promql.selectors(query):
            labels = promql.series()[selector.name]
            assert {matcher.name for matcher in selector.matchers.matchers} <= labels, query


@EACH_PAGE
def test_every_mentioned_metric_exists(page: Path):
    mentioned = set(re.findall(r"`(driftgauge_\w+)", page.read_text("utf-8")))
    histograms = {name.removesuffix("_bucket") for name in promql.series() if name.endswith("_bucket")}
    assert mentioned <= promql.series().keys() | histograms


@pytest.mark.parametrize("page", [OVERVIEW, *PAGES], ids=lambda page: page.stem)
def test_commands_are_valid_shell(page: Path):
    for block in blocks(page, "sh"):
        done = run_command("bash", "-n", input=block)
        assert done.returncode == 0, done.stderr


@EACH_PAGE
def test_searched_messages_are_logged(page: Path):
    source = "".join(path.read_text("utf-8") for path in (ROOT / "service/driftgauge").rglob("*.py"))
    for message in re.findall(r'^ *logged "([^"]+)"', page.read_text("utf-8"), re.MULTILINE):
        assert f'"{message}"' in source, message


@pytest.mark.stack
def test_silences_mute_only_their_alerts(tmp_path: Path):
    amtool = required("amtool", "prometheus-alertmanager")
    fired: dict[str, dict[str, str]] = {}
    for name, expected in cases():
        for alert in expected:
            fired[name] = fired.get(name, {}) | alert["exp_labels"]
    nobody = {"route": {"receiver": "nobody"}, "receivers": [{"name": "nobody"}]}
    with Alertmanager(tmp_path, nobody) as alertmanager:
        for page in PAGES:
            (command,) = silences(page)
            _, *arguments = shlex.split(command)
            labels = {"alertname": page.stem, **fired[page.stem]}
            matchers = [argument for argument in arguments[2:] if not argument.startswith("--")]
            chosen = dict(re.fullmatch(r"(\w+)=(.*)", matcher).groups() for matcher in matchers)
            assert {"alertname"} <= chosen.keys() <= labels.keys(), command
            # The labels of the example; patterns keep the label of the alert.
            labels |= {label: value for label, value in chosen.items() if not value.startswith("~")}
            # A label per page, because otherwise the widest silence would match all alerts.
            alone = {"page": page.stem}
            post(
                alertmanager,
                {"labels": labels | alone},
                {"labels": labels | alone | {"alertname": "Another"}},
            )
            where = f"--alertmanager.url=http://127.0.0.1:{alertmanager.port}"
            subprocess.run([amtool, *arguments, f"page={page.stem}", where], check=True, capture_output=True)

        def inhibited() -> list[str]:
            return sorted(
                alert["labels"]["alertname"]
                for alert in alertmanager.alerts()
                if alert["status"]["silencedBy"]
            )

        wait_for("silences to take effect", lambda: len(inhibited()) >= len(PAGES))
        assert inhibited() == sorted(ALERTS)


MINUTES = {"minute": 1, "hour": 60, "day": 24 * 60}
IN_FIGURES = {"a quarter of an hour": "15 minutes", "half an hour": "30 minutes", "the last ": "1 "}


def stated(text: str) -> set[float]:
    """The times in a text, minutes, without seconds and `(5 min)`, which are settings of the service."""
    text = " ".join(text.split())
    for words, figures in IN_FIGURES.items():
        text = text.replace(words, figures)
    return {float(number) * MINUTES[unit] for number, unit in re.findall(r"(\d+) (minute|hour|day)", text)}


@EACH_PAGE
def test_stated_times_match_rule(page: Path):
    rules = ALERTS[page.stem]
    text = page.read_text("utf-8").partition("## What it means\n")[2].partition("\n## ")[0]
    expr = rules[0]["expr"]
    looked_back = {parse_duration(each) / 60_000 for each in re.findall(r"\[(\w+)(?::\w+)?\]", expr)}
    waited = {
        parse_duration(rule[key]) / 60_000
        for rule in rules
        for key in ("for", "keep_firing_for")
        if key in rule
    }
    compared = {float(seconds) / 60 for seconds in re.findall(r"> (\d\d+)$", expr, re.MULTILINE)}
    assert looked_back <= stated(text) <= looked_back | waited | compared
