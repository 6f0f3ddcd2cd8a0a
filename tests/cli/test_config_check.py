"""`driftgauge config check`: settings, baselines and their schedule, memory, and all problems at once."""

import gc
import json
import re
import sys
import tracemalloc
from dataclasses import replace

import numpy as np
import pytest
import yaml

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
from tests.processes import run_command

TUESDAY_MS = MONDAY_MS + DAY_MS
SUNDAY_MS = MONDAY_MS - DAY_MS
MONDAY, TUESDAY, WEDNESDAY = (f"2025-11-0{day}T00:00:00Z" for day in (3, 4, 5))


def shown(text, folder):
    """Return what is printed, without the folder's name, and with the same identity for all baselines."""
    return re.sub(r"sha256:\w+", "sha256:0", text.replace(f"{folder}/", ""))


LATER = {"created_ms": MONDAY_MS + 1}
TWO, THREE = {"clusters": 2}, {"clusters": 3}
THREE_FILES = [("a", None, TWO), ("b", MONDAY, THREE), ("c", TUESDAY, {})]
MEASURED = {"overdispersion": Overdispersion(20, 1.5, 1.5 * np.eye(2))}
TEN, END = "2025-11-03T10:00:00Z", "2025-11-23T00:00:00Z"
BEFORE_MS = MONDAY_MS - 1


def warmed_up(windows, start, end):
    return {"windows": windows, "warm_up": {"from": start, "until": end}}


@pytest.mark.parametrize(
    ("listed", "now_ms", "stream"),
    [
        pytest.param([("a", None, {})], MONDAY_MS, {}, id="one"),
        pytest.param([("a", None, MEASURED)], MONDAY_MS, {}, id="one, measured by the hour"),
        pytest.param(THREE_FILES, BEFORE_MS, {}, id="each until the next"),
        pytest.param(THREE_FILES, MONDAY_MS, {}, id="second in the past"),
        pytest.param(THREE_FILES, TUESDAY_MS, {}, id="third in the past"),
        pytest.param(
            [("a", None, TWO), ("b", MONDAY, LATER), ("c", TUESDAY, THREE)],
            BEFORE_MS,
            {},
            id="fitted after its begin",
        ),
        pytest.param([("a", None, TWO | LATER), ("b", MONDAY, {})], BEFORE_MS, {}, id="fitted after its end"),
        pytest.param(
            [("a", None, TWO | {"created_ms": MONDAY_MS}), ("b", MONDAY, {"created_ms": MONDAY_MS})],
            BEFORE_MS,
            {},
            id="fitted just then",
        ),
        pytest.param(
            [("a", None, {}), ("a", TUESDAY, {}), ("b", WEDNESDAY, TWO)], 0, {}, id="same one after the other"
        ),
        pytest.param(
            [("a", None, {}), ("b", TUESDAY, TWO), ("a", WEDNESDAY, {})], 0, {}, id="same later again"
        ),
        *(
            pytest.param(listed, SUNDAY_MS, warmed_up(windows, *days), id=f"warm-up {name}")
            for name, listed, windows, days in [
                ("long", [("a", None, {})], ["1h", "1d"], (MONDAY, END)),
                ("of one day", [("a", None, {})], ["1h", "1d"], (MONDAY, TUESDAY)),
                ("of two days", [("a", None, {})], ["1h", "1d"], (MONDAY, WEDNESDAY)),
                ("off midnight", [("a", None, {})], ["1h", "1d"], ("2025-11-03T00:00:01Z", END)),
                ("measured", [("a", None, MEASURED), ("b", TEN, TWO)], ["1h"], (MONDAY, TUESDAY)),
                ("before the second", [("a", None, {}), ("b", TUESDAY, TWO)], ["1h"], (MONDAY, TUESDAY)),
                ("of the second", [("a", None, {}), ("b", TUESDAY, TWO)], ["1h"], (TUESDAY, WEDNESDAY)),
            ]
        ),
    ],
)
def test_schedule_is_described_with_its_mistakes(tmp_path, snapshot, listed, now_ms, stream):
    for file, _, fields in listed:
        save_baseline(tmp_path, file=file, **fields)
    baselines = [{"file": file} | ({"from": start} if start else {}) for file, start, _ in listed]
    (configured,) = load_streams(settings_in(tmp_path, {"baselines": baselines, **stream}))
    lines = describe_schedule(report_schedule(configured, now_ms))
    assert shown("\n".join(lines), tmp_path) == snapshot


MAPPING = {"encoding": "avro", "stream": "stream", "timestamp": "at", "embedding": "vector"}
REGISTRY = {"url": "http://127.0.0.1:1", "basic.auth.user.info": f"user:{SECRET}"}


def check(config, *arguments, status=0, **environ):
    done = run("config", "check", "--config", config, *arguments, **environ)
    assert done.returncode == status, done.stderr
    assert SECRET not in done.stdout + done.stderr
    return done.stdout if status == 0 else done.stderr


def test_settings_and_baselines_are_printed(config, tmp_path, snapshot):
    environ = {
        "DRIFTGAUGE_HTTP__PORT": "9999",
        "DRIFTGAUGE_KAFKA__SASL_PASSWORD": SECRET,
        "DRIFTGAUGE_REPLICA": "0",
    }
    settings = json.loads(check(config, "--json", **environ))["settings"]
    assert (settings["http"]["port"], settings["kafka"]["sasl.password"]) == (9999, "***")
    assert settings["streams"][0]["windows"] == ["1h", "1d"]
    assert (settings["replica"], settings["commit_interval"]) == ("0", "1s")
    assert shown(check(config, **environ), tmp_path) == snapshot


def test_warnings_of_all_streams_are_counted(tmp_path, snapshot):
    streams = []
    for name in ("images", "texts"):
        save_baseline(tmp_path, name)
        file = {"file": f"{name}.safetensors"}
        streams.append({"name": name, "baselines": [file, {**file, "from": MONDAY}]})
    config = write_config(tmp_path, *streams)
    assert shown(check(config), tmp_path) == snapshot
    document = json.loads(check(config, "--json"))
    assert len(document["warnings"]) == 4
    assert json.loads(shown(json.dumps(document["streams"]), tmp_path)) == snapshot


@pytest.mark.parametrize(
    ("named", "mapped", "warning"),
    [
        (["score"], ["score"], []),
        (["score"], [], ["inputs.embeddings.numbers: no place of score, so events have none"]),
        ([], ["score"], ["inputs.embeddings.numbers: no stream names score"]),
    ],
)
def test_number_without_place_or_stream_is_warned_of(tmp_path, named, mapped, warning):
    save_baseline(tmp_path)
    inputs = {"embeddings": {**MAPPING, "numbers": dict.fromkeys(mapped, "out.score")}}
    stream = {"numbers": {key: [0, 1] for key in named}}
    # The registry is not asked.
    config = write_config(tmp_path, stream, inputs=inputs, schema_registry=REGISTRY)
    warnings = json.loads(check(config, "--json"))["warnings"]
    assert [each.partition(";")[0] for each in warnings if ".numbers" in each] == warning


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
    of_registry = {
        "inputs": {"embeddings": MAPPING},
        "schema_registry": {**REGISTRY, "no.such.property": 1},
    }
    message = check(write_config(tmp_path, {"name": "texts"}, kafka=unusable, **of_registry), status=2)
    assert problems_of(message) == [
        *("kafka.fetch.min.bytes", "kafka.no.such.property", "schema_registry", "streams.texts"),
    ]
    assert "Unrecognized properties: no.such.property" in message
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


LOGIN = {"ada": "$2b$04$" + "a" * 53}


@pytest.mark.parametrize(
    ("users", "page", "command", "status"),
    [
        (LOGIN, True, ["config", "check"], 0),
        ({}, False, ["config", "check"], 0),
        *(({}, True, command, 2) for command in (["config", "check"], ["page"], ["serve"])),
        ({}, False, ["page"], 2),
    ],
)
def test_texts_of_events_need_a_login_of_the_page(tmp_path, users, page, command, status):
    save_baseline(tmp_path)
    (tmp_path / "web.yaml").write_text(yaml.safe_dump({"basic_auth_users": users}))
    http = {"web_config": "web.yaml"}
    config = write_config(tmp_path, {"snippet_bytes": 80}, http=http, page={"enabled": page})
    # A process, because a command that does not refuse would serve.
    done = run_command(sys.executable, "-m", "driftgauge", *command, "--config", config)
    assert done.returncode == status
    for key in ("streams.images.snippet_bytes", "http.web_config"):
        assert (key in done.stderr) is (status == 2)


def test_memory_follows_from_client_properties_streams_and_page(tmp_path):
    save_baseline(tmp_path)

    def memory(*, page=True, **kafka):
        kafka = {"bootstrap.servers": "a:1", "group.id": "g", **kafka}
        config = write_config(tmp_path, kafka=kafka, page={"enabled": page})
        return json.loads(check(config, "--json"))["memory_bytes"]

    default = memory()
    assert sum(default.values()) < 528 * 1024**2, "the memory limit of the manifests"
    larger = memory(**{"queued.max.messages.kbytes": 64 * 1024, "message.max.bytes": 20_000_000})
    fetched = (64 + 8) * 1024**2
    assert (larger["fetch queues"], larger["polls"]) == (3 * fetched, fetched)
    assert larger["dead letters"] - default["dead letters"] == larger["polls"] - default["polls"]
    assert (default["page"], memory(page=False)["page"]) == (36 * 2**20 + SUMMARY.itemsize * 400_000, 0)


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
