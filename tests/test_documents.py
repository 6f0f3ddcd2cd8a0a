"""The documents: links resolve, commands exist, lists are complete, and documents keep their size limits."""

import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from urllib.parse import unquote

import click
import pytest

from driftgauge.cli import cli
from driftgauge.events.rejection import Reason

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


@pytest.mark.parametrize("document", DOCUMENTS, ids=name_of)
def test_commands_exist(document: Path) -> None:
    targets = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE)
    unknown = []
    for program, line in COMMAND.findall(document.read_text("utf-8")):
        words = line.split()
        if program == "driftgauge":
            unknown += list(find_unknown(cli, words))
        elif words[0] not in targets:
            unknown.append(words[0])
    assert unknown == []


def test_unknown_commands_are_found() -> None:
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
    assert [
        name for name in programs if f"tests.bench.{name}" not in text and f"`make {name}" not in text
    ] == []


def count_words(*patterns: str) -> int:
    """The number of words, code included, of the documents that these patterns name."""
    texts = [path.read_text("utf-8") for pattern in patterns for path in ROOT.glob(pattern)]
    assert texts
    return sum(any(map(str.isalnum, word)) for text in texts for word in text.split())


# Strict, so that a limit that holds at last is turned on.
LATER = pytest.mark.xfail(reason="these documents are being shortened", strict=True)
CONTRIBUTORS = ("tests/**/*.md", ".github/CONTRIBUTING.md")
USERS = (
    "README.md",
    "deploy/README.md",
    "deploy/runbooks/*.md",
    ".github/SECURITY.md",
    "service/docs/README.md",
    "service/docs/tutorial.md",
    "service/docs/how-to/*.md",
    "service/docs/explanation/*.md",
    "service/docs/reference/python.md",
)


@pytest.mark.parametrize(
    ("limit", "patterns"),
    [
        (900, ["README.md"]),
        (1_000, ["service/docs/tutorial.md"]),
        (4_500, ["service/docs/how-to/*.md"]),
        (3_000, ["service/docs/explanation/*.md"]),
        (700, [".github/SECURITY.md"]),
        pytest.param(4_000, ["deploy/runbooks/*.md"], marks=LATER),
        (5_000, ["schemas/*.md"]),
        (4_400, CONTRIBUTORS),
        # Written by hand; not the generated reference, schemas/ and the changelog.
        pytest.param(22_000, [*USERS, *CONTRIBUTORS], marks=LATER),
    ],
)
def test_documents_keep_their_limits_of_words(limit: int, patterns: list[str]) -> None:
    assert count_words(*patterns) <= limit


@pytest.mark.xfail(reason="the alerts are being merged", strict=True)
def test_troubleshooting_names_every_reason_of_refusal_and_every_alert() -> None:
    rules = (ROOT / "deploy/prometheus/rules/driftgauge-alerts.yml").read_text("utf-8")
    alerts = set(re.findall(r"^ +- alert: (\w+)$", rules, re.MULTILINE))
    text = (ROOT / "service/docs/how-to/troubleshooting.md").read_text("utf-8")
    rows = re.findall(r"^\| `(\w+)`", text, re.MULTILINE)
    assert len(rows) == len(set(rows))
    assert {*Reason, *alerts} <= set(rows)
    assert {row for row in rows if row.startswith("Driftgauge")} == alerts


def test_broken_links_are_reported(tmp_path: Path) -> None:
    document = tmp_path / "page.md"
    document.write_text(
        "# A `title`, and more\n\n[a](page.md#a-title-and-more) [b](#none) [c](missing.md) [`d`](page.md)\n"
        "[e](https://example.com/#x)\n\n    [f](code.md)\n\n```sh\n[g](code.md)\n```\n\n[h]: absent.md\n",
        encoding="utf-8",
    )
    assert broken(document) == ["#none", "missing.md", "absent.md"]
