"""Loading of settings: every problem is reported at once, and no secret is printed."""

import traceback
from pathlib import Path

import pytest
import yaml

from driftgauge.config import load_settings
from driftgauge.errors import ConfigError
from tests.builders.configs import FULL, MINIMAL, SECRET, schedule, with_kafka


def test_every_value_is_read(load, tmp_path):
    settings = load(FULL)
    assert settings.kafka["fetch.min.bytes"] == 5
    assert settings.topics.events == ("embeddings", "backfill")
    assert (settings.topics.windows, settings.topics.dead_letters) == ("results", "refused")
    assert settings.topics.replication_factor == 2
    assert (settings.partials_topic, settings.changelog_topic) == ("kept.partials.64", "kept.changelog.64")
    images, texts = settings.streams
    assert images.windows == (3_600_000, 86_400_000)
    assert images.allowed_disorder == 45_000
    assert images.allowed_lateness == 5_400_000
    assert images.idle_timeout == 300_000
    assert (images.incomplete_after, images.give_up_after) == (7_200_000, 21_600_000)
    assert (images.min_events, texts.min_events) == (200, None)
    assert (images.smallest_drift.js_divergence, images.smallest_drift.mean_shift) == (0.02, 0.1)
    assert (images.warm_up.start, images.warm_up.end) == (1_762_128_000_000, 1_762_729_200_250)
    assert images.segments == ("country", "device")
    assert (images.drift_severity, texts.drift_severity) == ("critical", "warning")
    assert (images.overdue_after, texts.overdue_after) == (43_200_000, None)
    assert schedule(images) == [(tmp_path / "baselines" / "resnet18-fc1.safetensors", None)]
    assert schedule(texts) == [
        (Path("/etc/driftgauge/clip.safetensors"), None),
        (tmp_path / "next.safetensors", 1_764_547_200_000),
        (tmp_path / "later.safetensors", 1_767_225_600_000),
    ]
    assert (settings.http.host, settings.http.port) == ("0.0.0.0", 8000)  # noqa: S104 - only read
    assert settings.alarms.false_pages_per_year == 4
    assert settings.allowed_lead == 60_000
    assert settings.commit_interval == 500
    assert settings.replica == "driftgauge-0"


def test_missing_values_have_defaults(load):
    settings = load()
    assert settings.topics.events == ("embeddings",)
    assert (settings.topics.windows, settings.topics.dead_letters) == (
        "driftgauge.windows",
        "driftgauge.dead-letters",
    )
    (stream,) = settings.streams
    assert (stream.allowed_disorder, stream.allowed_lateness, stream.idle_timeout) == (
        30_000,
        600_000,
        60_000,
    )
    assert (stream.incomplete_after, stream.give_up_after) == (300_000, 3_600_000)
    assert (stream.smallest_drift.js_divergence, stream.smallest_drift.mean_shift) == (0.01, 0.05)
    assert (stream.warm_up, stream.segments) == (None, ())
    assert settings.alarms.false_pages_per_year == 1
    assert (settings.http.host, settings.http.port) == ("127.0.0.1", 9464)
    assert settings.allowed_lead == 300_000
    assert settings.commit_interval == 1_000
    assert settings.replica is None
    assert settings.topics.replication_factor is None
    assert (settings.group, settings.windows_group) == ("driftgauge", "driftgauge.windows")
    assert settings.partials_topic == "driftgauge.driftgauge.partials.16"
    assert settings.changelog_topic == "driftgauge.driftgauge.changelog.16"


def test_every_problem_is_reported_with_its_key(problems):
    message = problems(
        """
kafka: {group.id: driftgauge, enable.auto.commit: true, client.id: [a]}
topics: {events: []}
streams:
  - {name: "two words", windows: [1h, 5], colour: red}
  - {name: images, baseline: b.safetensors, windows: [1h, 1h], min_events: 0, allowed_lateness: 3}
http: {port: 70000, port: 70001}
nope: 1
""",
        DRIFTGAUGE_STREAMS__7__NAME="images",
        DRIFTGAUGE_ALLOWED_LEAD="5",
    )
    lines = message.splitlines()[1:]
    starts = [line.removeprefix("  - ").split(":")[0] for line in lines]
    assert starts == [
        "port",
        "DRIFTGAUGE_STREAMS__7__NAME",
        "kafka",
        "topics.events",
        "streams.0.name",
        "streams.0.baselines",
        "streams.0.windows.1",
        "streams.0.colour",
        "streams.1.windows",
        "streams.1.allowed_lateness",
        "streams.1.min_events",
        "http.port",
        "allowed_lead",
        "nope",
    ]
    for part in ("bootstrap.servers is missing", "enable.auto.commit is set by", "client.id must be text"):
        assert part in lines[2]


def test_duplicate_keys_are_refused_at_every_depth(problems):
    message = problems(
        MINIMAL.replace("windows: [1h]", "windows: [1h], windows: [1d]") + "http: {}\nhttp: {}\n"
    )
    assert "windows: occurs more than once in the mapping that starts on line 4; keep one" in message
    assert "http: occurs more than once in the mapping that starts on line 2; keep one" in message


def test_merge_key_is_overridden_and_no_duplicate(load):
    text = MINIMAL.replace("- {name", "- &first {name") + "  - {<<: *first, name: texts}\n"
    assert [stream.name for stream in load(text).streams] == ["images", "texts"]


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("", "does not hold a YAML mapping; it needs at least the key streams, and kafka"),
        ("- kafka\n", "does not hold a YAML mapping"),
        ("kafka", "does not hold a YAML mapping"),
        ("kafka: {", "is not YAML: line 1, column 9"),
        ("a: b: c", "is not YAML: line 1, column 5"),
        ("a: \x07", "is not YAML: a control character"),
        (
            "a: 2025-02-30T00:00:00Z",
            "holds a date or a number that does not exist; correct it, or put it in quotes",
        ),
        ("a: 0x_", "holds a date or a number that does not exist"),
        ("1: 2\n", "1: Extra inputs are not permitted"),
    ],
)
def test_unusable_file_is_reported(problems, text, part):
    assert part in problems(text)


def test_missing_file_is_reported_with_option(tmp_path):
    with pytest.raises(ConfigError, match=r"absent\.yaml cannot be read \(No such file.*--config"):
        load_settings(tmp_path / "absent.yaml", {})


def test_file_in_other_encoding_is_reported(tmp_path):
    path = tmp_path / "driftgauge.yaml"
    path.write_bytes(MINIMAL.encode("utf-16"))
    with pytest.raises(ConfigError, match=r"is not UTF-8 text .* at byte 0"):
        load_settings(path, {})


@pytest.mark.parametrize(
    "text",
    [
        with_kafka(sasl_password=SECRET, nope=[1]),
        with_kafka(sasl_password=[SECRET]),
        with_kafka(sasl_password={SECRET: SECRET}),
        f"kafka: {SECRET}\n",
        f"kafka: {{sasl.password: {SECRET}: x}}\n",
        f"kafka:\n  sasl.password: !{SECRET}\n",
        f"kafka:\n  sasl.password: *{SECRET}\n",
        f"kafka:\n  sasl.password: '{SECRET}\n",
        f"kafka:\n  sasl.password: !{SECRET}!x y\n",
        f"kafka:\n  ssl.key.pem: |\n   {SECRET}\n  \t- x: y\n : z",
    ],
)
def test_problem_of_file_quotes_no_secret(load, text):
    with pytest.raises(ConfigError) as caught:
        load(text)
    # Of the traceback only what it says of errors: its source lines are this test's own.
    printed = "".join(
        line for error in chain(caught.value) for line in traceback.format_exception_only(error)
    )
    assert SECRET not in printed


def chain(error):
    """Return the error and its causes as a traceback shows them."""
    while error is not None:
        yield error
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)


def test_dump_loads_as_same_settings(load, tmp_path):
    settings = load(FULL.replace("sasl.password: hunter2, ", ""))
    path = tmp_path / "again.yaml"
    path.write_text(yaml.safe_dump(settings.model_dump(mode="json")), encoding="utf-8")
    assert load_settings(path, {}) == settings
