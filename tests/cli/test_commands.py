"""All commands: help, imports, completion, wrong use, --json, and what they print of errors."""

import json
import logging
import os
import pty
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from unittest.mock import Mock

import click
import numpy as np
import pytest
from click.testing import CliRunner
from deploy.demo.broker import EmbeddedBroker

from driftgauge.cli import cli
from driftgauge.cli.command_log import CommandLog
from tests.builders.baselines import save_baseline
from tests.builders.clocks import DAY_MS, HOUR_MS, MONDAY_MS
from tests.builders.configs import write_config
from tests.builders.events import build_event, write_events
from tests.builders.reports import write_results
from tests.cli.command import fail, run, run_json
from tests.cli.test_events import MAPPED
from tests.harness.topics import read
from tests.processes import run_command, run_python


def modules_loaded_by(statement):
    """Return the modules that a new interpreter has loaded after a statement, two levels deep."""
    program = f"{statement}; import sys; print(*sys.modules)"
    paths = [name.split(".") for name in run_python(program).stdout.split()]
    return {".".join(path[:depth]) for path in paths for depth in (1, 2)}


def find_commands(group, path=()):
    """Yield each command and group after the arguments that name it."""
    yield path, group
    if isinstance(group, click.Group):
        context = click.Context(group)
        for name in group.list_commands(context):
            yield from find_commands(group.get_command(context, name), (*path, name))


COMMANDS = dict(find_commands(cli))
# Two serve until they are stopped, and have no result; that of init is a configuration.
WITHOUT_RESULT = {("serve",), ("page",), ("init",), ("marks", "add"), ("accept-loss",)}


@pytest.mark.parametrize("path", COMMANDS, ids=" ".join)
def test_command_prints_help_and_its_result_as_json(path):
    result = CliRunner().invoke(cli, [*path, "--help"])
    assert result.exit_code == 0
    assert "Usage:" in result.output
    summary = result.output.split("\n\n")[1].strip()
    assert summary.split()[0][0].isupper()
    has_result = not isinstance(COMMANDS[path], click.Group) and path not in WITHOUT_RESULT
    assert ("  --json " in result.output) is has_result


def test_crash_in_native_code_says_where_it_was():
    program = (
        "from driftgauge import cli; import ctypes; cli.cli = lambda **_: ctypes.string_at(0); cli.main()"
    )
    done = run_command(sys.executable, "-c", program)
    assert done.returncode < 0
    assert "Segmentation fault" in done.stderr
    assert "driftgauge/cli/__init__.py" in done.stderr


@pytest.mark.parametrize("command", ["serve", "page"])
def test_serving_prints_without_rich(config, command):
    """The command runs up to the service itself, whose modules the test above looks at."""
    loaded = modules_loaded_by(
        "import sys; from driftgauge import app, cli; app.serve = app.serve_page = lambda *_: None; "
        f"sys.argv = ['driftgauge', {command!r}, '--config', {str(config)!r}]\n"
        "try: cli.main()\n"
        "except SystemExit as ended: assert ended.code == 0\n"
        "pass"
    )
    assert "driftgauge.cli" in loaded
    assert "rich" not in loaded


def test_command_line_has_exactly_documented_commands():
    assert {*map(" ".join, COMMANDS)} == {
        "", "serve", "page", "replay", "report", "publish", "plan", "backtest", "status", "health",
        "marks", "marks add", "accept-loss",
        "config", "config check", "events", "events peek", "init",
        "dead-letters", "dead-letters list", "dead-letters show", "dead-letters requeue",
        "baseline", "baseline fit", "baseline show",
    }  # fmt: skip
    done = run("--version")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("driftgauge, version ")


@pytest.mark.parametrize(
    ("statement", "needed", "heavy"),
    [
        (
            "from driftgauge.cli import cli; cli.get_command(None, 'health')",
            {"driftgauge.cli"},
            {"confluent_kafka", "numpy", "pydantic", "rich", "scipy"},
        ),
        (
            "from click import Context; from driftgauge.cli import cli; cli.shell_complete(Context(cli), '')",
            {"driftgauge.cli"},
            {"numpy", "pydantic"},
        ),
        *(
            (
                f"import {module}",
                {"confluent_kafka", "numpy"},
                {"sklearn", "joblib", "pandas", "rich"},
            )
            for module in ("driftgauge.app", "driftgauge.cli.service")
        ),
        (
            "import driftgauge.baseline.artifact, driftgauge.baseline.fit_report",
            {"safetensors"},
            {"sklearn", "scipy.stats"},
        ),
    ],
)
def test_heavy_libraries_are_not_loaded(statement, needed, heavy):
    loaded = modules_loaded_by(statement)
    assert needed <= loaded
    assert not heavy & loaded
    # The statistics need scipy.special; the rest of scipy takes longer to load than the whole service.
    public = {name for name in loaded if name.startswith("scipy.") and not name.startswith("scipy._")}
    assert public <= {"scipy.special", "scipy.version"}


def test_interrupt_is_130(monkeypatch):
    monkeypatch.setattr(cli, "invoke", Mock(side_effect=KeyboardInterrupt))
    done = run("plan", "--events-per-hour", "1")
    assert (done.returncode, done.stdout) == (130, "")
    assert done.stderr.strip() == "driftgauge: interrupted"


# The installed command stands next to the interpreter.
ENVIRON = {
    "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
    "_DRIFTGAUGE_COMPLETE": "bash_complete",
}


@pytest.mark.parametrize(
    ("words", "offered"),
    [
        ("p", ["plain,page", "plain,plan", "plain,publish"]),
        ("serve --role ", ["plain,count", "plain,windows", "plain,all"]),
        ("plan --base", ["plain,--baseline", "plain,--baseline-count"]),
        ("baseline show a.safetensors --against b", ["file,b"]),
    ],
)
def test_commands_options_choices_and_files_are_offered(words, offered):
    number = str(words.count(" ") + 1)
    done = run_command(
        "driftgauge", env={**ENVIRON, "COMP_WORDS": f"driftgauge {words}", "COMP_CWORD": number}
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines() == offered


def test_bash_completes_as_documented():
    script = """
        eval "$(_DRIFTGAUGE_COMPLETE=bash_source driftgauge)"
        complete -p driftgauge
        COMP_WORDS=(driftgauge baseline fit --metric e); COMP_CWORD=4
        _driftgauge_completion driftgauge
        echo "${COMPREPLY[@]}"
    """
    done = run_command("bash", "-c", script, env=ENVIRON)
    assert done.stderr == ""
    registered, offered = done.stdout.splitlines()
    assert registered.endswith("_driftgauge_completion driftgauge")
    assert offered == "euclidean"


HOSTILE = "\x1b]0;title\x07\x1b[31mred\u202e"


def test_full_disk_below_the_output_is_one_line():
    with open("/dev/full", "wb") as full:
        command = (sys.executable, "-m", "driftgauge", "plan", "--events-per-hour", "9", "--json")
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert line.startswith("driftgauge: reading or writing failed (No space left on device); check ")


def test_full_disk_below_a_report_is_told_with_remedy(config, tmp_path):
    results = write_results(tmp_path / "results.jsonl", "ok", stream="images")
    message = fail("report", results, "--config", config, "--out", "/dev/full")
    assert message.strip().endswith("No space left on device; check the folder, its rights and its space")


@pytest.mark.parametrize(
    ("arguments", "parts"),
    [
        (["serve", "--config", "driftgauge.yaml"], ["  - a\\x1b[31mb: ", "  - a\\u202eb: "]),
        (["plan", "--events-per-hour", "1", HOSTILE], ["red\\u202e)"]),
    ],
)
def test_names_in_an_error_send_nothing_to_the_terminal(tmp_path, arguments, parts):
    text = '{streams: [], "a\\e[31mb": 1, "a\\u202Eb": 1}'
    (tmp_path / "driftgauge.yaml").write_text(text, encoding="utf-8")
    ours, theirs = pty.openpty()
    command = [sys.executable, "-m", "driftgauge", *arguments]
    with subprocess.Popen(command, cwd=tmp_path, stderr=theirs) as process, open(ours, "rb", 0) as terminal:
        os.close(theirs)
        printed = b""
        # Linux reports the end of a terminal as an error.
        with suppress(OSError):
            while part := terminal.read(65_536):
                printed += part
    shown = printed.decode()
    assert process.returncode == 2
    assert [part for part in parts if part not in shown] == []
    assert not {"\x1b", "\x07", "\u202e"} & set(shown)


FAIL = (
    "FAIL [driftgauge#producer-7] [thrd:10.0.0.1:9092/bootstrap]: 10.0.0.1:9092/bootstrap: Connect to "
    "ipv4#10.0.0.1:9092 failed: Connection refused (after {}ms in state CONNECT)"
)
REFUSED = "10.0.0.1:9092/bootstrap: Connect to ipv4#10.0.0.1:9092 failed: Connection refused"
RECORD = {"topic": "orders", "remedy": "look at it"}


@pytest.mark.parametrize(
    ("name", "lines", "error", "printed"),
    [
        ("librdkafka", [FAIL.format(0), FAIL.format(7)], "no answer", [f"the client's log: {REFUSED}"]),
        ("librdkafka", [FAIL.format(0)], f"this client cannot connect ({REFUSED} (after 3ms)); check", []),
        ("librdkafka", [FAIL.format(0)], None, []),
        (
            "driftgauge.page.results",
            ["a record is odd"],
            None,
            ["warning: a record is odd (topic: orders; remedy: look at it)"],
        ),
    ],
)
def test_lines_of_clients_come_after_the_error_that_says_less(name, lines, error, printed):
    log = CommandLog()
    fields = {} if name == "librdkafka" else RECORD
    with CliRunner().isolation() as (_, stderr, _):
        for line in lines:
            log.handle(logging.makeLogRecord({"name": name, "levelno": logging.ERROR, "msg": line, **fields}))
        if error is not None:
            log.explain(error)
        found = stderr.getvalue().decode().splitlines()
    assert found == printed


def test_backtest_prints_timelines_and_refused_events(config, events):
    document = run_json("backtest", events, "--config", config, "--drift-from", "2025-11-03T01:00:00Z")
    assert document["refused"] == {"undecodable": 1, "unknown_stream": 1}
    assert document["drift_ms"] == MONDAY_MS + HOUR_MS
    assert [
        (each["size_ms"], each["windows"], each["outcome"]["clean"]) for each in document["timelines"]
    ] == [
        (HOUR_MS, 2, 1),
        (DAY_MS, 1, 0),
    ]


def test_published_events_keep_times_and_model_version(tmp_path):
    save_baseline(tmp_path)
    lines = [build_event(MONDAY_MS + n, n % 4, model_version="m1") for n in range(5)]
    events = write_events(tmp_path / "events.jsonl", [*lines, b"{"])
    with EmbeddedBroker(["embeddings"]) as broker:
        config = write_config(tmp_path, kafka={"bootstrap.servers": broker.bootstrap, "group.id": "g"})
        sent = run_json("publish", events, "--config", config, "--stream", "images")
        peeked = run_json("events", "peek", "--config", config, "--topic", "embeddings")
        found = [*read(broker.bootstrap, "embeddings")]
    rows = [json.loads(record.value()) for record in found]
    assert sorted(rows, key=lambda event: event["timestamp"]) == [*map(json.loads, lines)]
    assert min(record.timestamp()[1] for record in found) > MONDAY_MS + DAY_MS, "that of their publication"
    assert [record["outcome"] for record in peeked["records"]] == ["accepted"] * 5
    assert sent == {
        "topic": "embeddings",
        "stream": "images",
        "model_version": "m1",
        "published": 5,
        "first": "2025-11-03T00:00:00Z",
        "last": "2025-11-03T00:00:00.004Z",
        "refused": {"undecodable": 1},
    }


MONDAY = "2025-11-03T00:00:00Z"
CHECK = ["config", "check", "--config", "mapped/driftgauge.yaml"]
PLAN = ["plan", "--events-per-hour", "1"]
PUBLISH = ["publish", "a.npy", "--config", "c", "--stream", "s"]
FROM = ["--from", MONDAY]
REPORT = ["report", "--config", "driftgauge.yaml"]
MARK = ["marks", "add", "--config", "driftgauge.yaml", "--text", "v2 is live"]
REPLAY = ["replay", "events.jsonl.gz", "--config", "driftgauge.yaml"]
SEVERAL = "name INPUT, a file, or --topic with --config and --from"
UNREADABLE = "driftgauge: absent.yaml cannot be read"
UNSAVED = "driftgauge: absent.safetensors does not exist; fit it"


def publish(config, *arguments):
    return ["publish", "events.jsonl.gz", "--config", config, *arguments]


def fit(*arguments):
    return ["baseline", "fit", "--stream", "s", "--out", "b.safetensors", *arguments]


@pytest.fixture
def folder(tmp_path, monkeypatch, config, events):
    """A working folder with configurations, events, vectors and an empty file."""
    (tmp_path / "mapped").mkdir()
    write_config(tmp_path / "mapped", **MAPPED)
    np.save(tmp_path / "vectors.npy", np.random.default_rng(0).normal(size=(800, 4)).astype("f4"))
    (tmp_path / "empty.jsonl").touch()
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    ("arguments", "part"),
    [
        ([], "Usage: "),
        (["nonsense"], "No such command 'nonsense'"),
        (["serve"], "Missing option '--config'"),
        (["serve", "--config", "absent.yaml"], "absent.yaml cannot be read"),
        (["config", "check", "--config", "absent.yaml"], UNREADABLE),
        (["config", "check", "--config", "absent.yaml", "--sample", "a"], UNREADABLE),
        (
            [*CHECK, "--sample", "a.jsonl", "--topic", "orders"],
            "a.jsonl cannot be read (No such file or directory)",
        ),
        ([*CHECK, "--topic", "orders"], "--topic names the topic of a sample; add --sample, or leave it out"),
        (["health", "--config", "absent.yaml"], UNREADABLE),
        (["events", "peek", "--config", "absent.yaml"], "Missing option '--topic'"),
        (["events", "peek", "--config", "absent.yaml", "--topic", "t"], UNREADABLE),
        (["events", "peek", "--config", "c", "--topic", "t", "--last", "0"], "0 is not in the range"),
        (["baseline", "show", "absent.safetensors"], UNSAVED),
        (fit("absent.npy"), "driftgauge: absent.npy"),
        (fit("a.npy", "--clusters", "1"), "'--clusters'"),
        (fit("a.npy", "--window", "0s"), "is not a window length"),
        (fit("a.npy", "--segment", "de"), "does not choose"),
        (fit("a.npy", "--out", "no/b"), "no is not a folder; create it, or choose another path for --out"),
        (fit("vectors.npy", "--segment", "k=v"), "only events carry segments; fit on a .jsonl or .jsonl.gz"),
        (fit(), SEVERAL),
        (fit("a.npy", "--topic", "t"), "--topic needs --config"),
        (fit("a.npy", "--from", MONDAY), "--from and --until belong to --topic without INPUT"),
        (fit("--topic", "t", "--time-column", "at"), "--array and the options of columns are not for"),
        (fit("--topic", "t", "--id-column", "id"), "the options of columns are not for"),
        (fit("--topic", "t"), "--topic needs --config, the configuration file, and --from"),
        (
            fit("--topic", "t", "--config", "c", "--from", MONDAY, "--until", MONDAY),
            "--until must be later than --from",
        ),
        (fit("a.txt"), "name a .npy, .npz, .jsonl or .jsonl.gz file, or one of .parquet, .arrow"),
        (
            fit("a.npy", "--label", "l", "--text", "t"),
            "--label and --text both name clusters; give one of them",
        ),
        (
            fit("a.npy", "--label", "data[*].kind"),
            "names a field of each item of a list; read it as a segment",
        ),
        ([*MARK, "--stream", "image"], "--stream: image is not in the configuration; did you mean images?"),
        ([*MARK, "--link", "javascript:x"], "--link: "),
        ([*MARK, "--at", "2999-11-09T23:48:00Z"], "lies more than a day ahead; correct it"),
        ([*PUBLISH, "--span", "5"], "'5' is not a duration"),
        ([*PUBLISH, "--start", "5"], "not an RFC 3339 date-time"),
        (
            publish("driftgauge.yaml", "--stream", "nobody"),
            "has no stream nobody; the service would refuse all of its events; add the stream to streams",
        ),
        (publish("driftgauge.yaml", "--stream", "image"), "events; did you mean images?"),
        (
            publish("driftgauge.yaml", "--stream", "images", "--topic", "embedings"),
            "embedings is not read; did you mean embeddings?",
        ),
        (
            publish("mapped/driftgauge.yaml", "--stream", "images", "--topic", "orders"),
            "the service would refuse there; choose a topic without a mapping (--topic), or take inputs.",
        ),
        (["plan"], "Missing option '--events-per-hour'"),
        (["plan", "--events-per-hour", "0"], "0.0 is not in the range x>0"),
        (["plan", "--events-per-hour", "nan"], "nan is not a finite number"),
        (["plan", "--events-per-hour", "inf"], "inf is not a finite number"),
        ([*PLAN, "--overdispersion", "0.9"], "'--overdispersion'"),
        ([*PLAN, "--smallest-js-divergence", "2"], "'--smallest-js-divergence'"),
        ([*PLAN, "--baseline", "absent.safetensors", "--clusters", "9"], "leave out --clusters"),
        ([*PLAN, "--baseline", "absent.safetensors"], UNSAVED),
        (["replay", "--config", "x.yaml"], "name FILES of records, or --topic and --from"),
        ([*REPLAY, "a.jsonl", "b.jsonl"], "driftgauge: no such file: a.jsonl, b.jsonl"),
        ([*REPLAY, "vectors.npy"], "driftgauge: not a file of events: vectors.npy; name .jsonl"),
        ([*REPLAY, "--until", MONDAY], "and no range with FILES"),
        ([*REPLAY, "--openmetrics", "h", "--label", "job"], "--label job: write NAME=VALUE"),
        ([*REPLAY, "--openmetrics", "h", "--label", "1a=b"], "--label 1a=b: write"),
        ([*REPORT, "a.jsonl", *FROM, "--json"], "and no range with FILES"),
        ([*REPORT, "a.jsonl"], "nothing to write; name a file with --out, or print --json"),
        ([*REPORT, "a.jsonl", "--json", "--window", "0s"], "is not a window length"),
        ([*REPORT, "absent.jsonl", "--json"], "absent.jsonl cannot be read"),
        (
            [*REPORT, "empty.jsonl", "--json"],
            "driftgauge: there is no window in the replay of empty.jsonl; check what it holds",
        ),
    ],
)
def test_wrong_use_prints_one_message_and_exits_with_2(folder, arguments, part):
    done = run(*arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert part in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    "arguments",
    [
        ["serve"],
        ["page"],
        ["publish", "events.jsonl.gz", "--stream", "images"],
        ["events", "peek", "--topic", "embeddings"],
        ["report", "--json"],
        ["report", *FROM, "--json"],
    ],
)
def test_command_that_connects_needs_kafka(tmp_path, arguments):
    config = write_config(tmp_path, nope=1)
    config.write_text(config.read_text().replace("kafka:", "other:"))
    message = fail(*arguments, "--config", config)
    assert "  - kafka: Field required" in message
    assert "  - nope: no such key; remove it" in message


@pytest.mark.parametrize("arguments", [["events", "peek", "--topic", "embeddings"], ["report", "--json"]])
def test_command_without_brokers_exits_with_1(config, tmp_path, arguments):
    kafka = {"bootstrap.servers": "127.0.0.1:1", "group.id": "driftgauge"}
    (line,) = fail(*arguments, "--config", write_config(tmp_path, kafka=kafka), status=1).splitlines()
    assert line.startswith("driftgauge: this client cannot connect to the Kafka cluster (127.0.0.1:1")
    assert "Connection refused" in line
