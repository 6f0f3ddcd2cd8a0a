"""The documents: links resolve, what they name exists, and documents keep their size limits."""

import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from unittest.mock import Mock
from urllib.parse import unquote

import click
import pytest
from prometheus_client import CollectorRegistry
from starlette.routing import Route

from driftgauge.cli import cli
from driftgauge.events.rejection import Reason
from driftgauge.page.api import api_routes
from driftgauge.telemetry.metrics import METRICS
from driftgauge.web.endpoints import health_routes, metrics_route, version_route

ROOT = Path(__file__).parents[1]
MAX_COLUMNS = 120
# The folders with documents; other folders are installed or generated.
FOLDERS = (".github", "deploy", "schemas", "service", "tests")
DOCUMENTS = sorted(
    [
        *ROOT.glob("*.md"),
        *(
            path
            for folder in FOLDERS
            for path in (ROOT / folder).rglob("*.md")
            if not {"target", "node_modules"} & set(path.parts)
        ),
    ]
)
# The documents in deploy/ have somewhat longer lines.
SHORT = [document for document in DOCUMENTS if ROOT / "deploy" not in document.parents]

FENCED = re.compile(r"^( *)```.*?^\1```$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"!?\[(?:[^\[\]]|\[[^\]]*\])*\]\(([^)\s]+)\)|^\[[^\]]+\]: (\S+)$", re.MULTILINE)
EXTERNAL = re.compile(r"[a-z]+:")
# In inline or indented code, or a line with options in a fenced block.
COMMAND = re.compile(r"(?:^ {4}|`|&& |^(?=.* --))(driftgauge|make) ([a-z][^`#|\n]*)", re.MULTILINE)


def name_of(document: Path) -> str:
    return str(document.relative_to(ROOT))


def prose(document: Path) -> str:
    """The text without fenced and indented code; each removed line leaves an empty one."""
    text = FENCED.sub(lambda code: "\n" * code.group().count("\n"), document.read_text("utf-8"))
    lines: list[str] = []
    in_code = False
    for line in text.split("\n"):
        # An indented line after an empty line is code; after text it continues a list.
        in_code = line.startswith("    ") and (in_code or not lines or not lines[-1])
        lines.append("" if in_code else line)
    return "\n".join(lines)


@cache
def anchors(document: Path) -> frozenset[str]:
    """The anchors of a document's headings, as GitHub names them."""
    found: list[str] = []
    for heading in re.findall(r"^#{1,6} +(.+?) *#*$", prose(document), re.MULTILINE):
        text = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading).lower()
        name = re.sub(r"[^\w\- ]", "", text).replace(" ", "-")
        found.append(f"{name}-{times}" if (times := found.count(name)) else name)
    return frozenset(found)


def broken(document: Path) -> list[str]:
    """The relative links of a document that do not resolve."""
    text = re.sub(r"`[^`\n]*`", "", prose(document))
    targets = [first or second for first, second in LINK.findall(text)]
    wrong = []
    for target in targets:
        if EXTERNAL.match(target):
            continue
        name, _, anchor = unquote(target).partition("#")
        path = document.parent / name if name else document
        if not path.exists() or (anchor and (path.suffix != ".md" or anchor not in anchors(path))):
            wrong.append(target)
    return wrong


@pytest.mark.parametrize("document", DOCUMENTS, ids=name_of)
def test_relative_links_resolve(document: Path) -> None:
    assert broken(document) == []


@pytest.mark.parametrize("document", SHORT, ids=name_of)
def test_lines_of_prose_are_at_most_120_columns(document: Path) -> None:
    lines = enumerate(prose(document).split("\n"), 1)
    # Rows of tables and texts of images cannot be wrapped.
    assert [
        number for number, line in lines if len(line) > MAX_COLUMNS and not line.startswith(("|", "!["))
    ] == []


def find_unknown(command: click.Command, words: list[str]) -> Iterator[str]:
    """Yield the subcommand or the options that a command line names and the command does not have."""
    if isinstance(command, click.Group):
        name, *rest = words or [""]
        found = command.get_command(click.Context(command), name)
        if found is not None:
            yield from find_unknown(found, rest)
        elif re.fullmatch("[a-z]+", name):
            yield name
        return
    known = {option for parameter in command.params for option in parameter.opts} | {"--help"}
    yield from (word for word in words if re.fullmatch("--[a-z-]+", word) and word not in known)


# What people read: documents, the page's templates and words, messages and help, alerts and dashboards.
READ = sorted(
    {
        *DOCUMENTS,
        *(ROOT / "service/driftgauge").rglob("*.html"),
        *(ROOT / "service/driftgauge").rglob("*.py"),
        *(ROOT / "deploy/generate").rglob("*.py"),
        *(ROOT / "deploy/generate").glob("*.yml"),
        *(ROOT / "deploy/alertmanager").rglob("*.tmpl"),
        *(ROOT / "deploy/alertmanager").glob("*.yml"),
        *(ROOT / "deploy/prometheus").rglob("*.yml"),
        *(path for path in (ROOT / "deploy/kubernetes").rglob("*.*") if path.suffix != ".safetensors"),
    }
)
ALERTS = set(re.findall(r"alert: (\w+)", (ROOT / "deploy/generate/alerts.yml").read_text("utf-8")))
RUNBOOKS = {path.stem for path in (ROOT / "deploy/runbooks").glob("*.md")}
SERIES = {
    name + suffix
    for name, metric in METRICS.items()
    for suffix in ("", *(("_bucket", "_sum", "_count") if metric.type == "histogram" else ()))
}
# Names that only look like those of metrics or alerts.
ALIKE = {"driftgauge_wrapper", "DriftgaugeError"}
# In code and templates a command follows a colon, a quote or a tag.
SAID = re.compile(r"(?:: |[`>])driftgauge ([a-z][^`\"'<\n{]*)")


def unknown_names(text: str) -> set[str]:
    """Return the metrics, alerts and runbooks that a text names and that do not exist."""
    metrics = set(re.findall(r"\bdriftgauge_[a-z_0-9]*[a-z0-9]\b(?![*(])", text))
    alerts = set(re.findall(r"\bDriftgauge[A-Z]\w+\b(?!\()", text))
    runbooks = set(re.findall(r"runbooks/(\w+)\.md", text))
    return metrics - SERIES - ALIKE | alerts - ALERTS - ALIKE | runbooks - RUNBOOKS


def unknown_words(path: Path) -> list[str]:
    """Return the subcommands, options and targets that a file names and that do not exist."""
    text, is_document = path.read_text("utf-8"), path.suffix == ".md"
    found = COMMAND.findall(text) if is_document else [("driftgauge", line) for line in SAID.findall(text)]
    targets = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE)
    unknown = []
    for program, line in found:
        words = line.split() if is_document else line.replace(".", " ").split()
        if program == "driftgauge":
            unknown += find_unknown(cli, words)
        elif words[0] not in targets:
            unknown.append(words[0])
    return unknown


@pytest.mark.parametrize("path", READ, ids=name_of)
def test_named_metrics_alerts_runbooks_commands_and_options_exist(path: Path) -> None:
    assert unknown_names(path.read_text("utf-8")) == set()
    assert unknown_words(path) == []


def test_unknown_names_are_found() -> None:
    text = "driftgauge_window_gone 1, driftgauge_batch_duration_seconds_sum, DriftgaugeDrift, DriftgaugeGone"
    assert unknown_names(text) == {"driftgauge_window_gone", "DriftgaugeGone"}
    assert unknown_names("runbooks/DriftgaugeDrift.md and runbooks/Gone.md") == {"Gone"}
    assert list(find_unknown(cli, ["serve", "--rule", "all"])) == ["--rule"]
    assert list(find_unknown(cli, ["events", "poke"])) == ["poke"]


def test_tests_that_guard_exist() -> None:
    code = "".join(path.read_text("utf-8") for path in (ROOT / "tests").rglob("test_*.py"))
    named = set(re.findall(r"`(test_\w+)`", (ROOT / "tests/README.md").read_text("utf-8")))
    assert named
    assert named <= set(re.findall(r"^def (test_\w+)", code, re.MULTILINE))


def test_every_benchmark_is_described() -> None:
    folder = ROOT / "tests" / "bench"
    programs = [path.stem for path in folder.glob("*.py") if "\ndef main(" in path.read_text("utf-8")]
    # These are processes of `inputs`.
    programs = [name for name in programs if not name.startswith("input_")]
    text = (folder / "README.md").read_text("utf-8")
    assert programs
    assert [name for name in programs if not re.search(rf"`(make )?{name}\b", text)] == []


def count_words(*patterns: str) -> int:
    """The number of words, code included, of the documents that these patterns name."""
    texts = [path.read_text("utf-8") for pattern in patterns for path in ROOT.glob(pattern)]
    assert texts
    return sum(any(map(str.isalnum, word)) for text in texts for word in text.split())


CONTRIBUTORS = ("tests/**/*.md", ".github/CONTRIBUTING.md")
USERS = (
    "README.md",
    "deploy/README.md",
    "deploy/runbooks/*.md",
    ".github/SECURITY.md",
    "service/docs/README.md",
    "service/docs/tutorial.md",
    "service/docs/deciding.md",
    "service/docs/how-to/*.md",
    "service/docs/explanation/*.md",
    "service/docs/reference/glossary.md",
    "service/docs/reference/python.md",
)


@pytest.mark.parametrize(
    ("limit", "patterns"),
    [
        (900, ["README.md"]),
        (1_000, ["service/docs/tutorial.md"]),
        (1_650, ["service/docs/deciding.md"]),
        (5_400, ["service/docs/how-to/*.md"]),
        (3_750, ["service/docs/explanation/*.md"]),
        (640, ["service/docs/reference/glossary.md"]),
        (700, [".github/SECURITY.md"]),
        (4_690, ["deploy/runbooks/*.md"]),
        (6_170, ["schemas/*.md"]),
        (5_550, CONTRIBUTORS),
        # Written by hand; not the generated reference, schemas/ and the changelog.
        (24_430, [*USERS, *CONTRIBUTORS]),
    ],
)
def test_documents_keep_their_limits_of_words(limit: int, patterns: list[str]) -> None:
    assert count_words(*patterns) <= limit


def test_troubleshooting_names_every_reason_of_refusal_and_every_alert() -> None:
    text = (ROOT / "service/docs/how-to/troubleshooting.md").read_text("utf-8")
    rows = re.findall(r"^\| `(\w+)`", text, re.MULTILINE)
    assert len(rows) == len(set(rows))
    assert {*Reason, *ALERTS} <= set(rows)
    assert {row for row in rows if row.startswith("Driftgauge")} == ALERTS


def test_http_api_names_every_path() -> None:
    others = [version_route(), metrics_route(CollectorRegistry()), *health_routes(Mock())]
    paths = [
        f"{prefix}{route.path}"
        for prefix, routes in (("", others), ("/api/v1", api_routes(Mock(), Mock(), Mock(), Mock())))
        for route in routes
        if isinstance(route, Route)
    ]
    assert len(paths) >= 9
    text = (ROOT / "service/docs/reference/http-api.md").read_text("utf-8")
    assert [path for path in paths if f"`{path}`" not in text] == []


def test_broken_links_are_reported(tmp_path: Path) -> None:
    document = tmp_path / "page.md"
    document.write_text(
        "# A `title`, and more\n\n[a](page.md#a-title-and-more) [b](#none) [c](missing.md) [`d`](page.md)\n"
        "[e](https://example.com/#x)\n\n    [f](code.md)\n\n```sh\n[g](code.md)\n```\n\n[h]: absent.md\n",
        encoding="utf-8",
    )
    assert broken(document) == ["#none", "missing.md", "absent.md"]
