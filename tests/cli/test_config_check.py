"""`driftgauge config check`: settings, baselines and their schedule, memory, and all problems at once."""

import gc
import json
import signal
import tracemalloc
from dataclasses import replace

import numpy as np
import pytest
import yaml

from driftgauge import api
from driftgauge.cli.config_check import describe_schedule, report_schedule, tally_bytes
from driftgauge.core.counting.partial import CommitId, StreamTime
from driftgauge.core.statistics.overdispersion import Overdispersion
from driftgauge.core.windows.shard import ShardState
from driftgauge.engine.windows.changelog_reader import key_of
from driftgauge.page.summary import SUMMARY
from driftgauge.records.changelog_records import encode_key
from driftgauge.records.partials import decode_part
from driftgauge.streams import load_streams
from tests.builders.baselines import save_baseline
from tests.builders.clocks import DAY_MS, HOUR_MS, MINUTE_MS, MONDAY_MS
from tests.builders.configs import SECRET, settings_in, write_config
from tests.builders.partial_records import build_pane, build_progress, encode_parts
from tests.builders.references import FIRST
from tests.builders.specs import build_spec
from tests.cli.command import run

TUESDAY_MS = MONDAY_MS + DAY_MS
MONDAY, TUESDAY, WEDNESDAY = (f"2025-11-0{day}T00:00:00Z" for day in (3, 4, 5))
SUNDAY = "2025-11-02T00:00:00Z"


@pytest.fixture
def describe(tmp_path):
    """Describe a schedule of (file, from, fields of the baseline) at a wall time, and other settings."""

    def _describe(*listed, now_ms, **changes):
        for file, _, fields in listed:
            save_baseline(tmp_path, file=file, **fields)
        baselines = [
            {"file": file} if start is None else {"file": file, "from": start} for file, start, _ in listed
        ]
        (stream,) = load_streams(settings_in(tmp_path, {"baselines": baselines, **changes}))
        _, _, *described = describe_schedule(report_schedule(stream, now_ms))
        if "warm_up" in changes:
            said, *described = described
            assert "whether it holds events is not checked here" in said
        # None of these baselines says how much clean windows vary.
        of_baselines = (line for line in described if "measured first, for two weeks" not in line)
        lines = [line.replace(f"{tmp_path}/", "").removeprefix("  ") for line in of_baselines]
        identities = [baseline.identity[:19] for baseline in stream.baselines]
        return identities, lines

    return _describe


LATER = {"created_ms": MONDAY_MS + 1}
TWO, THREE = {"clusters": 2}, {"clusters": 3}


def test_baseline_is_in_force_until_next(describe):
    (first, second, third), lines = describe(
        ("a", None, TWO), ("b", MONDAY, THREE), ("c", TUESDAY, {}), now_ms=MONDAY_MS - 1
    )
    assert lines == [
        f"baseline {first}… in a: 2 clusters of 4 dimensions, fitted {SUNDAY}, "
        f"in force from the beginning until {MONDAY} (now)",
        f"baseline {second}… in b: 3 clusters of 4 dimensions, fitted {SUNDAY}, "
        f"in force from {MONDAY} until {TUESDAY}",
        f"baseline {third}… in c: 4 clusters of 4 dimensions, fitted {SUNDAY}, in force from {TUESDAY} on",
    ]


@pytest.mark.parametrize(
    ("listed", "now_ms", "warnings"),
    [
        ([("a", None, {})], MONDAY_MS, []),
        (
            [("a", None, TWO), ("b", MONDAY, THREE), ("c", TUESDAY, {})],
            MONDAY_MS,
            [f"b is in force from {MONDAY}, in the past: if any replica did not list it by then"],
        ),
        (
            [("a", None, TWO), ("b", MONDAY, THREE), ("c", TUESDAY, {})],
            TUESDAY_MS,
            [f"c is in force from {TUESDAY}, in the past: if any replica did not list it by then"],
        ),
        (
            [("a", None, TWO), ("b", MONDAY, LATER), ("c", TUESDAY, THREE)],
            MONDAY_MS - 1,
            [f"b was fitted after its time in force began ({MONDAY}): "],
        ),
        (
            [("a", None, TWO | LATER), ("b", MONDAY, {})],
            MONDAY_MS - 1,
            [f"a was fitted after its time in force ended ({MONDAY}): "],
        ),
        (
            [("a", None, TWO | {"created_ms": MONDAY_MS}), ("b", MONDAY, {"created_ms": MONDAY_MS})],
            MONDAY_MS - 1,
            [],
        ),
        (
            [("a", None, {}), ("a", TUESDAY, {}), ("b", WEDNESDAY, TWO)],
            0,
            ["a and a contain the same baseline: if the first was overwritten, restore it"],
        ),
        ([("a", None, {}), ("b", TUESDAY, TWO), ("a", WEDNESDAY, {})], 0, []),
    ],
)
def test_mistakes_in_schedule_are_warned_of(describe, listed, now_ms, warnings):
    _, lines = describe(*listed, now_ms=now_ms)
    shown = lines[len(listed) :]
    assert len(shown) == len(warnings)
    for line, warning in zip(shown, warnings, strict=True):
        assert line.startswith(f"warning: {warning}")


MEASURED = {"overdispersion": Overdispersion(20, 1.5, 1.5 * np.eye(2))}
TEN, END = "2025-11-03T10:00:00Z", "2025-11-23T00:00:00Z"
LOWER = (
    "windows of 1d are judged by how windows of 1h vary, which is a lower bound (calibrated: false), if 20 of"
)


@pytest.mark.parametrize(
    ("listed", "windows", "days", "warnings"),
    [
        ([("a", None, {})], ["1h", "1d"], (MONDAY, END), []),
        (
            [("a", None, {})],
            ["1h", "1d"],
            (MONDAY, TUESDAY),
            [("has time for 1 whole window of 1d against a", LOWER, f"let it last until {END}")],
        ),
        (
            [("a", None, {})],
            ["1h", "1d"],
            (MONDAY, WEDNESDAY),
            [("has time for 2 whole windows of 1d against a", LOWER, f"let it last until {END}")],
        ),
        (
            [("a", None, {})],
            ["1h", "1d"],
            ("2025-11-03T00:00:01Z", END),
            [("19 whole windows of 1d", LOWER, "until 2025-11-24T00:00:00Z")],
        ),
        (
            [("a", None, MEASURED), ("b", TEN, TWO)],
            ["1h"],
            (MONDAY, TUESDAY),
            [
                (
                    "10 whole windows of 1h against a",
                    "how they varied when the baseline was fitted",
                    "begin earlier",
                ),
                (f"warm_up begins before b is in force ({TEN}), so windows against that baseline",),
            ],
        ),
        (
            [("a", None, {}), ("b", TUESDAY, TWO)],
            ["1h"],
            (MONDAY, TUESDAY),
            [(f"before b is in force ({TUESDAY})", f"let warm_up begin at {TUESDAY}")],
        ),
        ([("a", None, {}), ("b", TUESDAY, TWO)], ["1h"], (TUESDAY, WEDNESDAY), []),
    ],
)
def test_windows_outside_the_warm_up_are_warned_of(describe, listed, windows, days, warnings):
    warm_up = dict(zip(("from", "until"), days, strict=True))
    _, lines = describe(*listed, now_ms=MONDAY_MS - DAY_MS, windows=windows, warm_up=warm_up)
    shown = lines[len(listed) :]
    assert len(shown) == len(warnings)
    for line, parts in zip(shown, warnings, strict=True):
        assert [part for part in ("warning: ", *parts) if part not in line] == []


MAPPING = {"encoding": "avro", "stream": "stream", "timestamp": "at", "embedding": "vector"}
REGISTRY = {"url": "http://127.0.0.1:1", "basic.auth.user.info": f"user:{SECRET}"}


def check(config, *arguments, status=0, **environ):
    done = run("config", "check", "--config", config, *arguments, **environ)
    assert done.returncode == status, done.stderr
    assert SECRET not in done.stdout + done.stderr
    return done.stdout if status == 0 else done.stderr


def test_settings_and_baselines_are_printed(config):
    environ = {
        "DRIFTGAUGE_HTTP__PORT": "9999",
        "DRIFTGAUGE_KAFKA__SASL_PASSWORD": SECRET,
        "DRIFTGAUGE_REPLICA": "0",
    }
    settings = json.loads(check(config, "--json", **environ))["settings"]
    assert (settings["http"]["port"], settings["kafka"]["sasl.password"]) == (9999, "***")
    assert settings["streams"][0]["windows"] == ["1h", "1d"]
    assert (settings["replica"], settings["commit_interval"]) == ("0", "1s")
    lines = check(config, **environ).splitlines()
    topics, written, change, stream, pane, baseline, bursts, _, verdict = lines
    assert "may replace these one by one, if kafka.group.id, topics.internal and shards stay" in change
    assert pane.startswith("  a pane that waits takes ")
    assert (topics, written) == (
        "topics: reads embeddings (events in JSON), driftgauge.marks (marks, for the page)",
        "  writes driftgauge.windows (results), driftgauge.dead-letters (refused records)",
    )
    assert stream == "stream images: windows 1h, 1d, scored from 5 events"
    assert baseline.startswith("  baseline sha256:")
    assert baseline.endswith("in force from the beginning on (now)")
    assert "how much windows of 1h, 1d vary without drift" in bursts
    assert verdict.endswith("no problem found")


@pytest.mark.parametrize(
    ("measured", "warm_up", "sizes"),
    [
        (False, None, ["1h", "1d"]),
        (True, None, ["1d"]),
        (True, {"from": MONDAY, "until": "2025-11-17T00:00:00Z"}, []),
    ],
)
def test_window_sizes_without_a_calibration_are_named(tmp_path, measured, warm_up, sizes):
    overdispersion = api.Overdispersion(20, 1.5, 1.5 * np.eye(2)) if measured else None
    save_baseline(tmp_path, overdispersion=overdispersion)
    config = write_config(tmp_path, {"windows": ["1h", "1d"], **({"warm_up": warm_up} if warm_up else {})})
    said = f"measured first, for two weeks or 14 windows: how much windows of {', '.join(sizes)} vary"
    assert (said in check(config)) is bool(sizes)
    (stream,) = json.loads(check(config, "--json"))["streams"]
    assert stream["baselines"][0]["uncalibrated"] == sizes


def test_warnings_of_all_streams_are_counted(tmp_path):
    streams = []
    for name in ("images", "texts"):
        save_baseline(tmp_path, name)
        file = {"file": f"{name}.safetensors"}
        streams.append({"name": name, "baselines": [file, {**file, "from": MONDAY}]})
    config = write_config(tmp_path, *streams)
    *_, past, same, _, verdict = check(config).splitlines()
    assert past.startswith("  warning: ")
    assert "in the past" in past
    assert "contain the same baseline" in same
    assert verdict.endswith("driftgauge.yaml: 4 warnings")
    document = json.loads(check(config, "--json"))
    (first, second), _ = [stream["baselines"] for stream in document["streams"]]
    assert first["identity"] == second["identity"]
    assert (first["from_ms"], first["until_ms"], first["in_force"]) == (None, second["from_ms"], False)
    assert (second["until_ms"], second["in_force"]) == (None, True)
    assert len(document["warnings"]) == 4


@pytest.mark.parametrize(
    ("named", "mapped", "warning"),
    [
        (["score"], ["score"], None),
        (["score"], [], "inputs.embeddings.numbers: no place of score, so events have none"),
        ([], ["score"], "inputs.embeddings.numbers: no stream names score"),
    ],
)
def test_number_without_place_or_stream_is_warned_of(tmp_path, named, mapped, warning):
    save_baseline(tmp_path, "images")
    stream = {"name": "images", "baseline": "images.safetensors"}
    stream["numbers"] = {key: [0, 1] for key in named}
    inputs = {"embeddings": {**MAPPING, "numbers": dict.fromkeys(mapped, "out.score")}}
    warnings = json.loads(
        check(write_config(tmp_path, stream, inputs=inputs, schema_registry=REGISTRY), "--json")
    )["warnings"]
    found = [each for each in warnings if ".numbers" in each]
    assert len(found) == bool(warning)
    assert all(each.startswith(warning) for each in found)


def test_problems_of_registry_properties_are_reported(tmp_path):
    registry = {**REGISTRY, "no.such.property": 1}
    message = check(
        write_config(tmp_path, inputs={"embeddings": MAPPING}, schema_registry=registry), status=2
    )
    assert "schema_registry: Unrecognized properties: no.such.property" in message


def problems_of(message):
    return [line.strip().removeprefix("- ").partition(": ")[0] for line in message.splitlines()[1:]]


def test_problems_are_reported_together_first_those_of_keys(tmp_path):
    wrong = {
        "inputs": {"orders": MAPPING},
        "topics": {"windows": "driftgauge.g.partials.16"},
        "http": {"prot": 1},
    }
    unusable = {
        "bootstrap.servers": "localhost:9092",
        "group.id": "g",
        "no.such.property": 1,
        "sasl.password": SECRET,
        "fetch.min.bytes": "many",
    }
    config = write_config(tmp_path, {"window": ["1h"]}, {"name": "texts"}, kafka=unusable, **wrong)
    message = check(config, status=2, DRIFTGAUGE_ALLOWED_LEAD="5")
    assert problems_of(message) == ["topics", "inputs", "streams.0.window", "http.prot", "allowed_lead"]
    assert "streams.0.window: no such key; did you mean windows?" in message
    message = check(write_config(tmp_path, {"name": "texts"}, kafka=unusable), status=2)
    assert problems_of(message) == ["kafka.fetch.min.bytes", "kafka.no.such.property", "streams.texts"]
    assert "does not exist; fit it" in message
    assert "Traceback" not in message


def test_no_client_is_made_of_properties_that_run_code(tmp_path):
    kafka = {
        "bootstrap.servers": "b:1",
        "group.id": "g",
        "plugin.library.paths": "own",
        "no.such.property": 1,
    }
    message = check(write_config(tmp_path, kafka=kafka), status=2)
    assert "kafka.plugin.library.paths: would make librdkafka run code" in message
    assert "no.such.property" not in message, "a client would say it"


@pytest.fixture
def bounded():
    """Interrupts a command that serves where it should refuse to start."""

    def interrupt(*_):
        raise TimeoutError("the command did not end within a minute")

    before = signal.signal(signal.SIGALRM, interrupt)
    signal.alarm(60)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


@pytest.mark.usefixtures("bounded")
@pytest.mark.parametrize(
    ("users", "page", "status"),
    [
        ({"ada": "$2b$04$" + "a" * 53}, True, {"config": 0}),
        ({}, True, {"config": 2, "page": 2, "serve": 2}),
        ({}, False, {"config": 0, "page": 2}),
    ],
)
def test_texts_of_events_need_a_login_of_the_page(tmp_path, users, page, status):
    save_baseline(tmp_path)
    (tmp_path / "web.yaml").write_text(yaml.safe_dump({"basic_auth_users": users}))
    stream = {"name": "images", "baseline": "images.safetensors", "windows": ["1h"], "snippet_bytes": 80}
    http = {"web_config": "web.yaml"}
    config = write_config(tmp_path, stream, http=http, page={"enabled": page})
    for command, expected in status.items():
        arguments = ("config", "check") if command == "config" else (command,)
        done = run(*arguments, "--config", config)
        assert done.returncode == expected, done.stderr
        assert ("streams.images.snippet_bytes" in done.stderr) is (expected == 2)
        assert ("http.web_config" in done.stderr) is (expected == 2)


def test_registry_is_not_asked(tmp_path):
    save_baseline(tmp_path)
    check(write_config(tmp_path, inputs={"embeddings": MAPPING}, schema_registry=REGISTRY))


def test_memory_follows_from_client_properties_streams_and_page(tmp_path):
    save_baseline(tmp_path)
    kafka = {"bootstrap.servers": "a:1", "group.id": "g"}

    def memory(kafka=kafka, **sections):
        document = check(write_config(tmp_path, kafka=kafka, **sections), "--json")
        return json.loads(document)["memory_bytes"]

    default = memory()
    assert sum(default.values()) < 528 * 1024**2, "the memory limit of the manifests"
    larger = memory({**kafka, "queued.max.messages.kbytes": 64 * 1024, "message.max.bytes": 20_000_000})
    fetched = (64 + 8) * 1024**2
    assert (larger["fetch queues"], larger["polls"]) == (3 * fetched, fetched)
    assert larger["dead letters"] - default["dead letters"] == larger["polls"] - default["polls"]
    assert memory(page={"enabled": False})["page"] == 0
    assert default["page"] == 36 * 2**20 + SUMMARY.itemsize * 400_000
    text = check(write_config(tmp_path, kafka=kafka)).splitlines()[-2]
    assert text.startswith(f"memory: at most about {round(sum(default.values()) / 1024**2)} MiB a replica: ")


PANES = 1_500


def test_waiting_pane_takes_as_much_as_is_stated():
    """As traced; resident memory is a little more."""
    spec = build_spec("resnet18-fc1", sizes_ms=(MINUTE_MS,), incomplete_ms=10**15)
    scheme = spec.scheme(FIRST)
    state, keys = ShardState([spec], ("embeddings",), 16), set()
    gc.collect()
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        for number in range(PANES):
            start_ms = MONDAY_MS + number * MINUTE_MS
            times = {"resnet18-fc1": StreamTime(start_ms, start_ms, start_ms)}
            # A second partition is behind, so that no window is due.
            progress = build_progress(
                3, partitions=4, start=number, end=number + 1, begins=not number, lost=0, streams=times
            )
            pane = replace(build_pane(values=range(scheme.length), scheme=scheme), start_ms=start_ms)
            (record,) = encode_parts([pane], [progress])
            part = replace(decode_part(record), commit=CommitId("a", 1, number))
            state.apply(number, MONDAY_MS + HOUR_MS, part)
            if number % 500 == 499:
                state.close_windows()
                keys |= {key_of(encode_key(key)) for key, _ in state.drain_changes()}
        gc.collect()
        after, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert len(keys) > PANES
    stated = tally_bytes(scheme.length)
    assert 1 / 1.2 <= (after - before) / PANES / stated <= 1.2
