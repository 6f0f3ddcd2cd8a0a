"""The configuration: all problems at once, the environment on top, no secret ever printed."""

import traceback
from pathlib import Path

import pytest
import yaml
from pydantic import ValidationError

from driftgauge.config import Settings, is_secret, load_settings
from driftgauge.errors import ConfigError

SECRET = "hunter2"  # noqa: S105 - it must show nowhere

MINIMAL = """
kafka: {bootstrap.servers: "localhost:9092", group.id: driftgauge}
streams:
  - {name: images, baseline: images.safetensors, windows: [1h]}
"""

FULL = """
kafka: {bootstrap.servers: "localhost:9092", group.id: driftgauge, sasl.password: hunter2, fetch.min.bytes: 5}
topics:
  events: [embeddings, backfill]
  windows: results
  dead_letters: refused
  internal: kept
  replication_factor: 2
shards: 64
streams:
  - name: resnet18-fc1
    baseline: baselines/resnet18-fc1.safetensors
    windows: [1d, 1h]
    allowed_disorder: 45s
    allowed_lateness: 1h30m
    idle_timeout: 5m
    incomplete_after: 2h
    give_up_after: 6h
    min_events: 200
    smallest_drift: {js_divergence: 0.02, mean_shift: 0.1}
    drift_severity: critical
    overdue_after: 12h
    warm_up: {from: 2025-11-03T00:00:00Z, until: "2025-11-10T00:00:00.250+01:00"}
    segments: [country, device]
  - name: clip-text
    baselines:
      - {file: /etc/driftgauge/clip.safetensors}
      - {file: next.safetensors, from: 2025-12-01T00:00:00Z}
      - {file: later.safetensors, from: "2026-01-01T01:00:00+01:00"}
    windows: [10m]
http: {host: 0.0.0.0, port: 8000}
alarms: {false_pages_per_year: 4}
allowed_lead: 1m
commit_interval: 500ms
replica: driftgauge-0
"""


@pytest.fixture
def load(tmp_path):
    """Write a configuration and load it under an environment."""

    def _load(text=MINIMAL, **environ):
        path = tmp_path / "driftgauge.yaml"
        path.write_text(text, encoding="utf-8")
        return load_settings(path, environ)

    return _load


@pytest.fixture
def problems(load):
    """Load a configuration that cannot be used; return the message."""

    def _problems(text=MINIMAL, **environ):
        with pytest.raises(ConfigError) as caught:
            load(text, **environ)
        return str(caught.value)

    return _problems


def with_stream(**changes):
    return yaml.safe_dump(
        {
            "kafka": {"bootstrap.servers": "localhost:9092", "group.id": "driftgauge"},
            "streams": [{"name": "images", "baseline": "b.safetensors", "windows": ["1h"], **changes}],
        }
    )


def with_kafka(**changes):
    tree = yaml.safe_load(MINIMAL)
    tree["kafka"] |= {name.replace("_", "."): value for name, value in changes.items()}
    return yaml.safe_dump(tree)


def schedule(stream):
    return [(baseline.file, baseline.from_ms) for baseline in stream.baselines]


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


def test_what_is_not_given_has_a_default(load):
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


def test_every_problem_is_reported_at_once_with_the_key_it_stands_at(problems):
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


@pytest.mark.parametrize(
    ("changes", "part"),
    [
        ({"windows": []}, "windows: must name at least one"),
        ({"windows": ["1h", "60m"]}, "windows: a window size stands twice"),
        ({"windows": [3600]}, "windows.0: 3600 has no unit"),
        ({"windows": ["3600"]}, "windows.0: '3600' is not a duration"),
        ({"windows": ["0s"]}, "windows.0: must be longer than zero"),
        ({"windows": ["1ms", "1d"]}, "windows: the largest window holds more than 1,500 panes of 1ms"),
        ({"windows": ["99999999d"]}, "windows: a window lasts at most 3660d"),
        ({"idle_timeout": "4999ms"}, "idle_timeout: must not be shorter than 5s"),
        ({"incomplete_after": "0s"}, "incomplete_after: must be longer than zero"),
        ({"incomplete_after": 300}, "incomplete_after: 300 has no unit"),
        ({"give_up_after": "0s"}, "give_up_after: must be longer than zero"),
        ({"baseline": 3}, "baselines.0.file: Input is not a valid path"),
        ({"allowed_disorder": 30}, "allowed_disorder: 30 has no unit"),
        (
            {"allowed_disorder": "30m1h"},
            "allowed_disorder: '30m1h' is not a duration: its units must descend",
        ),
        ({"allowed_disorder": None}, "allowed_disorder: None has no unit"),
        ({"min_events": "20"}, "min_events: Input should be a valid integer"),
        ({"name": "ümlaut"}, "name: String should match pattern"),
        ({"smallest_drift": {"js_divergence": 0}}, "smallest_drift.js_divergence: Input should be greater"),
        ({"smallest_drift": {"js_divergence": 1.5}}, "smallest_drift.js_divergence: Input should be less"),
        (
            {"smallest_drift": {"js_divergence": "1 %"}},
            "smallest_drift.js_divergence: Input should be a valid",
        ),
        ({"smallest_drift": {"mean_shift": 0}}, "smallest_drift.mean_shift: Input should be greater"),
        (
            {"smallest_drift": {"mean_shift": float("inf")}},
            "smallest_drift.mean_shift: Input should be a finite",
        ),
        (
            {"smallest_drift": {"divergence": 0.1}},
            "smallest_drift.divergence: Extra inputs are not permitted",
        ),
        ({"smallest_drift": 0.1}, "smallest_drift: must be a mapping"),
        ({"segments": "country"}, "segments: must be a list"),
        ({"segments": ["country", "country"]}, "segments: a key stands twice"),
        ({"segments": ["country", False]}, "segments.1: Input should be a valid string"),
        ({"warm_up": "2025-11-03T00:00:00Z"}, "warm_up: must be a mapping"),
        ({"warm_up": {"from": "2025-11-03T00:00:00Z"}}, "warm_up.until: Field required"),
        ({"warm_up": {"start": "2025-11-03T00:00:00Z"}}, "warm_up.start: Extra inputs are not permitted"),
    ],
)
def test_a_stream_that_cannot_be_watched_is_refused(problems, changes, part):
    assert f"streams.0.{part}" in problems(with_stream(**changes))


def with_baselines(*baselines, windows=("1h",)):
    tree = yaml.safe_load(with_stream(windows=list(windows), baselines=list(baselines)))
    del tree["streams"][0]["baseline"]
    return yaml.safe_dump(tree)


FIRST = {"file": "a.safetensors"}
NOON = "2025-11-03T12:00:00Z"


@pytest.mark.parametrize(
    ("baselines", "part"),
    [
        ([], ".baselines: must name at least one"),
        ([{}], ".baselines.0.file: Field required"),
        (["a.safetensors"], ".baselines.0: must be a mapping"),
        ([{**FIRST, "from": 3}], ".baselines.0.from: 3 is no time with an offset"),
        ([{**FIRST, "from_ms": 3}], ".baselines.0.from_ms: Extra inputs are not permitted"),
        ([{**FIRST, "from": NOON}], ": the first of baselines holds from the beginning; leave out its from"),
        ([FIRST, FIRST], ": baselines.1 has no from: the event time from which it holds"),
        (
            [FIRST, {**FIRST, "from": NOON}, {**FIRST, "from": NOON}],
            ": baselines.2: its from must be later than that of the baseline before it",
        ),
        (
            [FIRST, {**FIRST, "from": NOON}, {**FIRST, "from": "2025-11-03T11:00:00Z"}],
            ": baselines.2: its from must be later than that of the baseline before it",
        ),
    ],
)
def test_baselines_that_do_not_follow_each_other_are_refused(problems, baselines, part):
    assert f"streams.0{part}" in problems(with_baselines(*baselines))


@pytest.mark.parametrize(
    ("windows", "start", "following"),
    [
        (["1h"], "2025-11-03T12:00:01Z", "2025-11-03T13:00:00+00:00"),
        (["1h", "1d"], NOON, "2025-11-04T00:00:00+00:00"),
        (["1d", "7d"], "2025-11-03T00:00:00Z", "2025-11-06T00:00:00+00:00"),  # weeks begin on Thursdays
        (["10m", "15m"], "2025-11-03T00:15:00Z", "2025-11-03T00:30:00+00:00"),
    ],
)
def test_baseline_that_would_begin_within_a_window_is_refused(problems, load, windows, start, following):
    message = problems(with_baselines(FIRST, {**FIRST, "from": start}, windows=windows))
    assert "streams.0: baselines.1: its from" in message
    assert f"the next such time is {following}" in message
    (stream,) = load(with_baselines(FIRST, {**FIRST, "from": following}, windows=windows)).streams
    assert stream.baselines[1].from_ms is not None


def test_next_start_of_all_windows_beyond_the_calendar_is_not_named(problems):
    windows = ["3657d", "3654d", "3651d"]
    message = problems(with_baselines(FIRST, {**FIRST, "from": NOON}, windows=windows))
    assert "is not where windows of all sizes (3651d, 3654d, 3657d) begin" in message
    assert "the next" not in message


def test_a_baseline_s_time_comes_from_the_environment(load, tmp_path):
    text = with_baselines(FIRST, {**FIRST, "from": NOON})
    (stream,) = load(
        text,
        DRIFTGAUGE_STREAMS__0__BASELINES__1__FROM="2025-11-03T13:00:00Z",
        DRIFTGAUGE_STREAMS__0__BASELINES__1__FILE="/b.safetensors",
    ).streams
    assert schedule(stream) == [
        (tmp_path / "a.safetensors", None),
        (Path("/b.safetensors"), 1_762_174_800_000),
    ]


def test_baseline_and_baselines_together_are_refused(problems):
    message = problems(with_stream(baselines=[FIRST]))
    assert "streams.0: baseline is the short form of baselines; give one of them" in message


def test_giving_up_before_a_window_is_incomplete_is_refused(problems, load):
    message = problems(with_stream(incomplete_after="1h1m"))
    assert "streams.0: give_up_after, 1h, must not be shorter than incomplete_after, 1h1m" in message
    (stream,) = load(with_stream(incomplete_after="1h")).streams
    assert stream.give_up_after == stream.incomplete_after


def warmed_up(start, end):
    return MINIMAL.replace("windows: [1h]", f"windows: [1h], warm_up: {{from: {start}, until: {end}}}")


@pytest.mark.parametrize(
    ("text", "time_ms"),
    [
        ("2025-11-03T00:00:00Z", 1_762_128_000_000),
        ("2025-11-03 00:00:00Z", 1_762_128_000_000),
        ("2025-11-03T01:00:00+01:00", 1_762_128_000_000),
        ("2025-11-02T18:30:00-05:30", 1_762_128_000_000),
        ("2025-11-03T00:00:00.25Z", 1_762_128_000_250),
    ],
)
@pytest.mark.parametrize("quote", ["", "'", '"'])
def test_a_time_is_read_whether_yaml_takes_it_for_one_or_for_text(load, text, time_ms, quote):
    (stream,) = load(warmed_up(f"{quote}{text}{quote}", "2026-01-01T00:00:00Z")).streams
    assert stream.warm_up.start == time_ms


@pytest.mark.parametrize(
    "text",
    [
        "2025-11-03T00:00:00",
        "2025-11-03",
        "1762128000000",
        "20251103",
        "1h",
        "2025-11-03T25:00Z",
        "[]",
    ],
)
@pytest.mark.parametrize("quote", ["", "'"])
def test_a_time_without_an_offset_is_refused(problems, text, quote):
    message = problems(warmed_up("2025-11-01T00:00:00Z", f"{quote}{text}{quote}"))
    assert "streams.0.warm_up.until: " in message
    assert "is no time with an offset, such as 2025-11-03T00:00:00Z" in message


@pytest.mark.parametrize("until", ["2025-11-03T00:00:00Z", "2025-11-03T00:30:00+01:00"])
def test_a_warm_up_lasts_for_some_time(problems, until):
    message = problems(warmed_up("2025-11-03T00:00:00Z", until))
    assert "streams.0.warm_up: until must be later than from" in message


@pytest.mark.parametrize(
    ("start", "until", "whole"),
    [
        ("2025-11-03T00:00:00Z", "2025-11-03T19:59:59Z", 19),
        ("2025-11-03T00:00:01Z", "2025-11-03T20:00:00Z", 19),
        ("2025-11-03T00:10:00Z", "2025-11-03T00:50:00Z", 0),
    ],
)
def test_a_warm_up_of_which_nothing_would_be_learned_is_refused(problems, start, until, whole):
    message = problems(warmed_up(start, until))
    assert f"warm_up holds {whole} whole windows of 1h, and from fewer than 20 nothing is learned" in message


def test_twenty_whole_windows_are_a_warm_up(load):
    (stream,) = load(warmed_up("2025-11-03T00:00:00Z", "2025-11-03T20:00:00Z")).streams
    assert stream.warm_up.end - stream.warm_up.start == 20 * 3_600_000


@pytest.mark.parametrize("budget", ["0", "-1", ".inf", ".nan", "'1'", "often"])
def test_a_budget_of_false_pages_is_a_positive_number(problems, budget):
    text = f"{MINIMAL}alarms: {{false_pages_per_year: {budget}}}\n"
    assert "alarms.false_pages_per_year: Input should be" in problems(text)


def test_allowances_may_be_zero(load):
    (stream,) = load(with_stream(allowed_disorder="0s", allowed_lateness="0s")).streams
    assert (stream.allowed_disorder, stream.allowed_lateness) == (0, 0)


@pytest.mark.parametrize(
    "name",
    [
        "auto.offset.reset",
        "enable.auto.commit",
        "enable.auto.offset.store",
        "enable.idempotence",
        "group.instance.id",
        "group.protocol",
        "isolation.level",
        "partition.assignment.strategy",
        "transactional.id",
    ],
)
def test_a_property_that_correctness_rests_on_is_not_the_operators(problems, name):
    message = problems(with_kafka(**{name: "true"}))
    assert message.count("\n") == 1
    assert f"kafka: {name} is set by driftgauge itself" in message


@pytest.mark.parametrize("name", ["bootstrap.servers", "group.id"])
def test_a_property_without_which_nothing_works_is_asked_for(problems, name):
    assert f"kafka: {name} is missing" in problems(with_kafka(**{name: ""}))


def test_streams_are_named_once(problems):
    twice = MINIMAL + "  - {name: images, baseline: other.safetensors, windows: [1h]}\n"
    assert "streams: named more than once: images" in problems(twice)


@pytest.mark.parametrize(
    "topics",
    ["{events: [a, a]}", "{events: [a], windows: a}", "{windows: a, dead_letters: a}"],
)
def test_no_topic_is_both_read_and_written(problems, topics):
    assert "topics: every topic must be named once" in problems(f"{MINIMAL}topics: {topics}\n")


def with_topics(topics, group="driftgauge"):
    return MINIMAL.replace("group.id: driftgauge", f"group.id: '{group}'") + f"topics: {topics}\n"


def test_internal_topics_are_named_after_the_group(load):
    settings = load(with_topics("{events: [one]}", group="a-group"))
    assert (settings.group, settings.windows_group) == ("a-group", "a-group.windows")
    assert settings.partials_topic == "driftgauge.a-group.partials.16"
    assert settings.changelog_topic == "driftgauge.a-group.changelog.16"


@pytest.mark.parametrize("internal", ["two words", "a/b", "", "ü", "a" * 250])
def test_internal_prefix_that_no_topic_can_have_is_refused(problems, internal):
    assert "topics.internal: String should match pattern" in problems(
        with_topics(f"{{internal: '{internal}'}}")
    )


@pytest.mark.parametrize("group", ["two words", "team/a", "grüße", "g" * 226])
def test_group_that_no_topic_can_be_named_after_needs_an_internal_prefix(problems, load, group):
    message = problems(with_topics("{events: [embeddings]}", group))
    assert f"driftgauge.{group}." in message
    assert "cannot be an internal topic; name another prefix with topics.internal" in message
    assert load(with_topics("{internal: kept}", group)).partials_topic == "kept.partials.16"


def test_longest_internal_names_are_accepted(load):
    settings = load(with_topics("{events: [embeddings]}", group="g" * 225))
    assert len(settings.changelog_topic) == 249


@pytest.mark.parametrize("topics", ["{events: [a, %s]}", "{windows: %s}", "{dead_letters: %s}"])
@pytest.mark.parametrize("name", ["partials", "changelog"])
def test_internal_topic_that_is_another_topic_as_well_is_refused(problems, topics, name):
    topic = f"driftgauge.driftgauge.{name}.16"
    assert f"{topic} cannot be an internal topic" in problems(with_topics(topics % topic))


@pytest.mark.parametrize("number", ["0", "-1", "1025", "'16'", "1.5"])
def test_number_of_shards_is_bounded(problems, number):
    assert "shards: Input should be" in problems(f"{MINIMAL}shards: {number}\n")


@pytest.mark.parametrize("number", ["0", "'3'", "32768"])
def test_replication_factor_is_bounded(problems, number):
    assert "topics.replication_factor: Input should be" in problems(
        with_topics(f"{{replication_factor: {number}}}")
    )


@pytest.mark.parametrize(
    ("interval", "part"),
    [
        ("0s", "commit_interval: must be longer than zero"),
        ("5001ms", "commit_interval: must not be longer than 5s"),
        ("1", "commit_interval: 1 has no unit"),
    ],
)
def test_a_commit_is_made_soon_enough(problems, interval, part):
    assert part in problems(f"{MINIMAL}commit_interval: {interval}\n")


def test_the_longest_commit_interval_is_taken(load):
    assert load(f"{MINIMAL}commit_interval: 5s\n").commit_interval == 5_000


@pytest.mark.parametrize("name", ["driftgauge-0", "0", "12", "eu_west.3", "r" * 128])
def test_a_replica_has_a_name_which_may_be_a_number(load, name):
    assert load(f"{MINIMAL}replica: {name}\n").replica == name


@pytest.mark.parametrize("name", ["''", "two words", "a/b", "[a]", "r" * 129, "ü"])
def test_a_replica_s_name_that_cannot_be_one_is_refused(problems, name):
    assert "replica: String should match pattern" in problems(f"{MINIMAL}replica: {name}\n")


@pytest.mark.parametrize("extra", ["streem: 1", "http: {prot: 1}", "topics: {event: [a]}"])
def test_unknown_keys_are_refused(problems, extra):
    assert "Extra inputs are not permitted" in problems(f"{MINIMAL}{extra}\n")


def test_a_key_that_stands_twice_is_refused_wherever_it_stands(problems):
    message = problems(
        MINIMAL.replace("windows: [1h]", "windows: [1h], windows: [1d]") + "http: {}\nhttp: {}\n"
    )
    assert "windows: stands more than once in the mapping that begins on line 4" in message
    assert "http: stands more than once in the mapping that begins on line 2" in message


def test_a_merge_key_is_overridden_and_not_a_duplicate(load):
    text = MINIMAL.replace("- {name", "- &first {name") + "  - {<<: *first, name: texts}\n"
    assert [stream.name for stream in load(text).streams] == ["images", "texts"]


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("", "does not hold a YAML mapping; it needs at least the keys kafka and streams"),
        ("- kafka\n", "does not hold a YAML mapping"),
        ("kafka", "does not hold a YAML mapping"),
        ("kafka: {", "is not YAML: line 1, column 9"),
        ("a: b: c", "is not YAML: line 1, column 5"),
        ("a: \x07", "is not YAML: a control character"),
        ("a: 2025-02-30T00:00:00Z", "holds a date or a number that cannot be; mend it, or put it in quotes"),
        ("a: 0x_", "holds a date or a number that cannot be"),
        ("1: 2\n", "1: Keys should be strings"),
    ],
)
def test_a_file_that_is_no_configuration_says_what_it_is(problems, text, part):
    assert part in problems(text)


def test_a_missing_file_says_how_to_name_one(tmp_path):
    with pytest.raises(ConfigError, match=r"absent\.yaml cannot be read \(No such file.*--config"):
        load_settings(tmp_path / "absent.yaml", {})


def test_a_file_in_another_encoding_says_so(tmp_path):
    path = tmp_path / "driftgauge.yaml"
    path.write_bytes(MINIMAL.encode("utf-16"))
    with pytest.raises(ConfigError, match=r"is not UTF-8 text .* at byte 0"):
        load_settings(path, {})


def test_the_environment_overrides_every_kind_of_value(load, tmp_path):
    settings = load(
        DRIFTGAUGE_HTTP__PORT="8080",
        DRIFTGAUGE_TOPICS__EVENTS="[one, two]",
        DRIFTGAUGE_STREAMS__0__BASELINE="other.safetensors",
        DRIFTGAUGE_STREAMS__0__WINDOWS="[5m, 1h]",
        DRIFTGAUGE_STREAMS__0__MIN_EVENTS="7",
        DRIFTGAUGE_STREAMS__0__INCOMPLETE_AFTER="90s",
        DRIFTGAUGE_STREAMS__0__SMALLEST_DRIFT__JS_DIVERGENCE="0.03",
        DRIFTGAUGE_STREAMS__0__WARM_UP__FROM="2025-11-03T00:00:00Z",
        DRIFTGAUGE_STREAMS__0__WARM_UP__UNTIL="2025-11-04T00:00:00Z",
        DRIFTGAUGE_STREAMS__0__SEGMENTS="[country]",
        DRIFTGAUGE_ALARMS__FALSE_PAGES_PER_YEAR="0.5",
        DRIFTGAUGE_TOPICS__INTERNAL="kept",
        DRIFTGAUGE_SHARDS="4",
        DRIFTGAUGE_ALLOWED_LEAD="2m",
        DRIFTGAUGE_COMMIT_INTERVAL="2s",
        DRIFTGAUGE_REPLICA="driftgauge-1",
        DRIFTGAUGE_KAFKA__BOOTSTRAP_SERVERS="broker:9092",
        DRIFTGAUGE_KAFKA__SSL_CA_LOCATION="ca.pem",
    )
    assert settings.http.port == 8080
    assert settings.topics.events == ("one", "two")
    assert schedule(settings.streams[0]) == [(tmp_path / "other.safetensors", None)]
    assert settings.streams[0].windows == (300_000, 3_600_000)
    assert settings.streams[0].min_events == 7
    assert settings.streams[0].incomplete_after == 90_000
    assert settings.streams[0].smallest_drift.js_divergence == 0.03
    assert (settings.streams[0].warm_up.start, settings.streams[0].warm_up.end) == (
        1_762_128_000_000,
        1_762_214_400_000,
    )
    assert settings.streams[0].segments == ("country",)
    assert settings.alarms.false_pages_per_year == 0.5
    assert settings.partials_topic == "kept.partials.4"
    assert settings.allowed_lead == 120_000
    assert settings.commit_interval == 2_000
    assert settings.replica == "driftgauge-1"
    assert settings.kafka["bootstrap.servers"] == "broker:9092"
    assert settings.kafka["ssl.ca.location"] == "ca.pem"


def test_a_whole_section_can_come_from_the_environment(load):
    settings = load("{}", DRIFTGAUGE_KAFKA="{bootstrap.servers: b, group.id: g}", DRIFTGAUGE_STREAMS=(
        "[{name: a, baseline: a.safetensors, windows: [1h]}]"
    ))  # fmt: skip
    assert (settings.kafka, settings.streams[0].name) == ({"bootstrap.servers": "b", "group.id": "g"}, "a")


@pytest.mark.parametrize(
    "password",
    [
        "0123",
        "1e3",
        "yes",
        "null",
        "abc #def",
        "*star",
        "&and",
        "!bang",
        "a: b",
        "'quote",
        "[x]",
        "-----A\nB\n",
    ],
)
def test_a_kafka_property_from_the_environment_is_taken_as_it_stands(load, password):
    assert load(DRIFTGAUGE_KAFKA__SASL_PASSWORD=password).kafka["sasl.password"] == password


@pytest.mark.parametrize(
    "name", ["0", "3", "007", "010", "1_000", "0x1F", "1.50", "yes", "null", "2025-11-03"]
)
def test_a_replica_s_name_from_the_environment_is_taken_as_it_stands(load, name):
    # Two replicas whose names were read as one number would end each other's transactions for ever.
    assert load(DRIFTGAUGE_REPLICA=name).replica == name


def test_variables_that_are_not_a_setting_are_left_alone(load):
    assert load(DRIFTGAUGE_TEST_BOOTSTRAP="x", DRIFTGAUGE_="y", HTTP__PORT="z") == load()


@pytest.mark.parametrize(
    "variable",
    [
        "STREAMS__1__NAME",
        "STREAMS__FIRST__NAME",
        "HTTP__PORT__X",
        "STREAMS__0__NAME__X__Y",
        "ALLOWED_LEAD__X",
    ],
)
def test_a_variable_that_leads_nowhere_is_a_problem_that_names_it(problems, variable):
    text = MINIMAL + "http: {port: 9464}\nallowed_lead: 5m\n"
    assert f"DRIFTGAUGE_{variable}: does not fit the configuration" in problems(
        text, **{f"DRIFTGAUGE_{variable}": "images"}
    )


def test_a_variable_that_is_not_yaml_is_a_problem_that_names_it(problems):
    assert "DRIFTGAUGE_TOPICS__EVENTS: does not fit" in problems(DRIFTGAUGE_TOPICS__EVENTS="[a")


SECRET_PROPERTIES = [
    "sasl.password",
    "ssl.key.password",
    "ssl.keystore.password",
    "ssl.key.pem",
    "sasl.oauthbearer.client.secret",
    "sasl.oauthbearer.config",
    "sasl.oauthbearer.assertion.private.key.passphrase",
    "sasl.oauthbearer.assertion.private.key.pem",
]


@pytest.mark.parametrize("name", SECRET_PROPERTIES)
def test_a_secret_is_masked_wherever_settings_are_shown_and_kept_where_they_are_used(load, name):
    settings = load(with_kafka(**{name: SECRET}))
    assert settings.kafka[name] == SECRET
    shown = [
        repr(settings),
        str(settings),
        f"{settings}",
        repr([settings]),
        str(settings.model_dump()),
        str(settings.model_dump(mode="json")),
        settings.model_dump_json(),
    ]
    for text in shown:
        assert SECRET not in text
        assert "***" in text
        assert "localhost:9092" in text


@pytest.mark.parametrize("name", ["bootstrap.servers", "group.id", "sasl.username", "ssl.key.location"])
def test_what_is_no_secret_is_shown(name):
    assert not is_secret(name)


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
def test_no_problem_with_the_file_quotes_a_secret(load, text):
    with pytest.raises(ConfigError) as caught:
        load(text)
    # Of the traceback only what it says of errors: its source lines are this test's own.
    told = "".join(line for error in chain(caught.value) for line in traceback.format_exception_only(error))
    assert SECRET not in told


def test_a_misspelt_section_in_the_environment_is_a_problem(problems):
    assert "DRIFTGAUGE_HTPP__PORT: there is no htpp in the configuration" in problems(
        DRIFTGAUGE_HTPP__PORT="1"
    )


@pytest.mark.parametrize(
    "variable", ["KAFKA__SASL_PASSWORD__X", "KAFKA", "KAFKA__SASL__PASSWORD", "HTTP__PORT"]
)
def test_no_problem_with_the_environment_quotes_a_secret(problems, variable):
    assert SECRET not in problems(with_kafka(nope=[1]), **{f"DRIFTGAUGE_{variable}": f"[{SECRET}"})
    assert SECRET not in problems(with_kafka(nope=[1]), **{f"DRIFTGAUGE_{variable}": SECRET})


def test_the_models_own_errors_quote_no_input():
    with pytest.raises(ValidationError) as caught:
        Settings.model_validate({"kafka": {"sasl.password": [SECRET]}, "streams": SECRET})
    assert SECRET not in str(caught.value)


def chain(error):
    """The error and those it came from, as a traceback would show them."""
    while error is not None:
        yield error
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)


def test_settings_cannot_be_changed(load):
    settings = load()
    with pytest.raises(ValidationError, match="frozen"):
        settings.http.port = 1


def test_a_dump_reads_back_as_the_same_settings(load, tmp_path):
    settings = load(FULL.replace("sasl.password: hunter2, ", ""))
    path = tmp_path / "again.yaml"
    path.write_text(yaml.safe_dump(settings.model_dump(mode="json")), encoding="utf-8")
    assert load_settings(path, {}) == settings
