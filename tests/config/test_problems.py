"""Configurations that cannot be used: each problem names its key and the remedy, and quotes no secret."""

import traceback

import pytest
import yaml
from pydantic import ValidationError

from driftgauge.config import Settings, load_settings
from driftgauge.errors import ConfigError
from tests.builders.configs import (
    FIRST,
    MINIMAL,
    SECRET,
    warmed_up,
    with_kafka,
    with_sections,
    with_stream,
)

NOON = "2025-11-03T12:00:00Z"
MIDNIGHT = "2025-11-03T00:00:00Z"
FORMER = ": baselines.2: its from must be later than that of the baseline before it"
LONG = ["3657d", "3654d", "3651d"]
INVALID_TIMES = (
    "2025-11-03T00:00:00", "2025-11-03", "1762128000000", "20251103", "1h", "2025-11-03T25:00Z", "[]",
)  # fmt: skip
OWNED = (
    "auto.offset.reset", "enable.auto.commit", "enable.auto.offset.store", "enable.idempotence",
    "group.instance.id", "group.protocol", "isolation.level", "partition.assignment.strategy",
    "transactional.id",
)  # fmt: skip
MAPPING = {"stream": "stream", "timestamp": "at", "embedding": "vector"}
ORDERS = {"topics": {"events": ["embeddings", "orders"]}}
ENDPOINT = "sasl.oauthbearer.token.endpoint.url"
PARTIALS, CHANGELOG = (f"driftgauge.driftgauge.{name}.16" for name in ("partials", "changelog"))
URLS = [
    ("javascript:alert('{event_id}')", "http or https"),
    ("//shop.example/{event_id}", "http or https"),
    ("https://{event_id}/", "fixed host"),
    ("https://{event_id}@shop.example/", "fixed host"),
    ("https:///{event_id}", "fixed host"),
    ("https://shop.example;script-src/{event_id}", "fixed host"),
    ("https://*/{event_id}", "fixed host"),
    ("https://user:password@shop.example/{event_id}", "fixed host"),
    ("https://пример.example/{event_id}", "fixed host"),
    ("https://shop.example/ü/{event_id}", "ASCII"),
    ("https://shop.example/", "takes {event_id}"),
    ("https://shop.example/{event_id}/{secret}", "takes nothing else"),
]


def with_baselines(*baselines, windows=("1h",)):
    tree = yaml.safe_load(with_stream(windows=list(windows), baselines=list(baselines)))
    del tree["streams"][0]["baseline"]
    return yaml.safe_dump(tree)


def with_registry(**properties):
    inputs = {"embeddings": {"encoding": "avro", **MAPPING}}
    return with_sections(inputs=inputs, **({"schema_registry": properties} if properties else {}))


def in_group(group):
    return MINIMAL.replace("group.id: driftgauge", f"group.id: '{group}'")


FILES = [
    ("", " does not hold a YAML mapping; it needs at least the key streams, and kafka"),
    ("- kafka\n", " does not hold a YAML mapping"),
    ("kafka", " does not hold a YAML mapping"),
    ("kafka: {", " is not YAML: line 1, column 9"),
    ("a: b: c", " is not YAML: line 1, column 5"),
    ("a: \x07", " is not YAML: a control character"),
    (
        "a: 2025-02-30T00:00:00Z",
        " holds a date or a number that does not exist; correct it, or put it in quotes",
    ),
    ("a: 0x_", " holds a date or a number that does not exist"),
    ("1: 2\n", "\n  - 1: no such key"),
    (
        MINIMAL.replace("[1h]", "[1h], windows: [1d]"),
        "\n  - windows: occurs more than once in the mapping that starts on line 4; keep one",
    ),
    (
        f"{MINIMAL}http: {{}}\nhttp: {{}}\n",
        "\n  - http: occurs more than once in the mapping that starts on line 2; keep one",
    ),
    (MINIMAL + "  - {name: images, baseline: b, windows: [1h]}", "- streams: named more than once: images; "),
]
SECTIONS = [
    *(
        ({"alarms": {"false_pages_per_year": budget}}, "alarms.false_pages_per_year: Input should be")
        for budget in (0, -1, float("inf"), float("nan"), "1", "often")
    ),
    *(
        ({"topics": topics}, "topics: every topic must be named once")
        for topics in (
            {"events": ["a", "a"]},
            {"events": ["a"], "windows": "a"},
            {"windows": "a", "dead_letters": "a"},
        )
    ),
    *(
        ({"topics": {"internal": prefix}}, "topics.internal: String should match pattern")
        for prefix in ("two words", "a/b", "", "ü", "a" * 250)
    ),
    *(
        ({"topics": {key: [topic] if key == "events" else topic}}, f"{topic} cannot be an internal topic")
        for key in ("events", "windows", "dead_letters")
        for topic in (PARTIALS, CHANGELOG, "driftgauge.driftgauge.heartbeats")
    ),
    *(
        ({"topics": {"replication_factor": number}}, "topics.replication_factor: Input should be")
        for number in (0, "3", 32_768)
    ),
    *(({"shards": number}, "shards: Input should be") for number in (0, -1, 1_025, "16", 1.5)),
    *(
        ({"replica": name}, "replica: String should match pattern")
        for name in ("", "two words", "a/b", ["a"], "r" * 129, "ü")
    ),
    ({"streem": 1}, "streem: no such key; did you mean streams?"),
    ({"http": {"prot": 1}}, "http.prot: no such key; did you mean port?"),
    (
        {"inputs": {"embeddings": {**MAPPING, "embeding": "v", "where": [{"path": "a", "notin": ["b"]}]}}},
        "inputs.embeddings.embeding: no such key; did you mean embedding?",
    ),
    ({"topics": {"event": ["a"]}}, "topics.event: no such key; did you mean events?"),
    ({"commit_interval": "0s"}, "commit_interval: must be longer than zero"),
    ({"commit_interval": "5001ms"}, "commit_interval: must not be longer than 5s"),
    ({"commit_interval": 1}, "commit_interval: 1 has no unit"),
    *(
        ({"page": {"path_prefix": prefix}}, "page.path_prefix: ")
        for prefix in ("drift", "/drift/", "/", "/a b", "//")
    ),
    *(
        (yaml.safe_load(with_stream(**{key: url})), part)
        for key in ("example_url", "thumbnail_url")
        for url, part in URLS
    ),
    (
        {**ORDERS, "inputs": {"other": MAPPING}},
        "inputs: topic other is not read; add it to topics.events",
    ),
    (
        {"inputs": {"embeddings": {"stream": "stream", "embedding": "vector"}}},
        "inputs.embeddings.timestamp: say where the event time is: a field, a header, or {record: timestamp}",
    ),
    (
        {**ORDERS, "inputs": {"order": MAPPING}},
        "inputs: topic order is not read; did you mean orders?",
    ),
    (
        {**ORDERS, "inputs": {"orders": {**MAPPING, "stream": {"constant": "imagse"}}}},
        "inputs.orders: no such stream: imagse; did you mean images?",
    ),
    (
        {**ORDERS, "inputs": {"orders": {**MAPPING, "stream": {"path": "s", "rename": {"a": "audio"}}}}},
        "inputs.orders: no such stream: audio; add it to streams",
    ),
    *(
        (
            {"inputs": {"embeddings": {"encoding": encoding, **MAPPING}}},
            "the schemas of embeddings are in a schema registry; set schema_registry.url",
        )
        for encoding in ("avro", "protobuf")
    ),
]
STREAMS = [
    ({"windows": []}, "windows: must name at least one"),
    ({"windows": ["1h", "60m"]}, "windows: a window size occurs twice; keep one"),
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
    ({"allowed_disorder": "30m1h"}, "allowed_disorder: '30m1h' is not a duration: its units must descend"),
    ({"allowed_disorder": None}, "allowed_disorder: None has no unit"),
    ({"min_events": "20"}, "min_events: Input should be a valid integer"),
    ({"name": "ümlaut"}, "name: String should match pattern"),
    ({"name": "clip-*"}, "name: String should match pattern"),
    ({"name": None, "match": "clip", "most": 2}, "match: String should match pattern"),
    ({"name": None, "match": "clip-*", "most": 0}, "most: Input should be greater"),
    ({"mach": "clip-*"}, "mach: no such key; did you mean match?"),
    ({"smallest_drift": {"js_divergence": 0}}, "smallest_drift.js_divergence: Input should be greater"),
    ({"smallest_drift": {"js_divergence": 1.5}}, "smallest_drift.js_divergence: Input should be less"),
    ({"smallest_drift": {"js_divergence": "1 %"}}, "smallest_drift.js_divergence: Input should be a valid"),
    ({"smallest_drift": {"mean_shift": 0}}, "smallest_drift.mean_shift: Input should be greater"),
    ({"smallest_drift": {"mean_shift": float("inf")}}, "smallest_drift.mean_shift: Input should be a finite"),
    ({"smallest_drift": {"divergence": 0.1}}, "smallest_drift.divergence: no such key"),
    ({"smallest_drift": 0.1}, "smallest_drift: must be a mapping"),
    ({"window": ["1h"]}, "window: no such key; did you mean windows?"),
    ({"basline": "b"}, "basline: no such key; did you mean baseline?"),
    ({"numbers": ["confidence"]}, "numbers: must be a mapping"),
    ({"numbers": {"confidence": [0]}}, "numbers.confidence.range.1: Field required"),
    ({"numbers": {"confidence": [1, 0]}}, "numbers.confidence: range is the least and the greatest value"),
    ({"numbers": {"confidence": [0, float("inf")]}}, "numbers.confidence: range is the least and the great"),
    ({"numbers": {key: [0, 1] for key in "abc"}}, "numbers: Dictionary should have at most 2 items"),
    ({"numbers": {"a b": [0, 1]}}, "numbers.a b.[key]: String should match pattern"),
    *(
        ({"numbers": {"confidence": {"range": [0, 1], key: limit}}}, f"numbers.confidence{part}")
        for key, limit, part in (
            ("alert_below", 0, ": alert_below lies outside the range"),
            ("alert_below", 1.5, ": alert_below lies outside the range"),
            ("alert_change", 0, ".alert_change: Input should be greater than 0"),
            ("alert_change", 1, ": alert_change is as large as the range"),
            ("alert_above", 1, ".alert_above: no such key"),
        )
    ),
    ({"segments": "country"}, "segments: must be a list"),
    ({"segments": ["country", "country"]}, "segments: a key occurs twice; keep one"),
    ({"segments": ["country", False]}, "segments.1: Input should be a valid string"),
    *(
        ({"labels": {key: value}}, f"labels.{key}: {fault}")
        for key, value, fault in (
            ("owner", "a" * 65, "String should match"),
            ("owner", "", "String should match"),
            ("owner", "ada\n", "String should match"),
            ("team", 'vision"}', "String should match"),
            ("team", 7, "Input should be a valid string"),
            ("severity", "page", "Input should be 'critical', 'warning' or 'info'"),
            ("tier", "1", "no such key"),
        )
    ),
    ({"warm_up": MIDNIGHT}, "warm_up: must be a mapping"),
    ({"warm_up": {"from": MIDNIGHT}}, "warm_up.until: Field required"),
    ({"warm_up": {"start": MIDNIGHT}}, "warm_up.start: no such key"),
]
OTHERS = [
    (
        with_stream(incomplete_after="1h1m"),
        "streams.0: give_up_after, 1h, must not be shorter than incomplete_after, 1h1m",
    ),
    *(
        (with_stream(**changes), f"streams.0: {part}")
        for changes, part in (
            ({"match": "clip-*"}, "give either name, or match: "),
            ({"name": None}, "give either name, or match: "),
            ({"name": None, "match": "clip-*"}, "match needs most: how many streams it is for"),
            ({"most": 2}, "most belongs to match"),
        )
    ),
    *(
        (warmed_up(MIDNIGHT, until), "streams.0: warm_up holds 0 whole windows of ")
        for until in (MIDNIGHT, "2025-11-03T00:30:00+01:00")
    ),
    *(
        (
            warmed_up(f"2025-11-03T{start}Z", f"2025-11-03T{until}Z"),
            f"warm_up holds {whole} whole windows of ",
        )
        for start, until, whole in (
            ("00:00:00", "19:59:59", 19),
            ("00:00:01", "20:00:00", 19),
            ("00:10:00", "00:50:00", 0),
        )
    ),
    *(
        (
            warmed_up("2025-11-01T00:00:00Z", f"{quote}{text}{quote}"),
            "is no time with an offset; write a time such as 2025-11-03T00:00:00Z",
        )
        for text in INVALID_TIMES
        for quote in ("", "'")
    ),
    (with_baselines(), "streams.0.baselines: must name at least one"),
    (with_baselines({}), "streams.0.baselines.0.file: Field required"),
    (with_baselines("a.safetensors"), "streams.0.baselines.0: must be a mapping"),
    (with_baselines({**FIRST, "from": 3}), "streams.0.baselines.0.from: 3 is no time with an offset"),
    (
        with_baselines({**FIRST, "from_ms": 3}),
        "streams.0.baselines.0.from_ms: no such key",
    ),
    (
        with_baselines({**FIRST, "from": NOON}),
        "streams.0: the first of baselines is in force from the beginning; leave out its from",
    ),
    (
        with_baselines(FIRST, FIRST),
        "streams.0: baselines.1 has no from; give the event time from which it is in force",
    ),
    (with_baselines(FIRST, {**FIRST, "from": NOON}, {**FIRST, "from": NOON}), FORMER),
    (with_baselines(FIRST, {**FIRST, "from": NOON}, {**FIRST, "from": "2025-11-03T11:00:00Z"}), FORMER),
    (
        with_stream(baselines=[FIRST]),
        "streams.0: baseline is the short form of baselines; give one of them",
    ),
    *(
        (in_group(group), " cannot be an internal topic; set another prefix in topics.internal")
        for group in ("two words", "team/a", "grüße", "g" * 226)
    ),
    *(
        (with_kafka(**{name: "true"}), f"kafka: {name} is set by driftgauge itself; leave it out")
        for name in OWNED
    ),
    *(
        (with_kafka(**{name: SECRET}), f"kafka.{name}: would make librdkafka run code, so no file may set it")
        for name in ("plugin.library.paths", "ssl.engine.location", "sasl.kerberos.kinit.cmd")
    ),
    *((with_kafka(**{name: ""}), f"kafka: {name} is missing") for name in ("bootstrap.servers", "group.id")),
    (with_kafka(**{ENDPOINT: f"https://id:{SECRET}@a/token"}), f"kafka: {ENDPOINT} must hold no user and"),
    (with_registry(url=f"https://user:p@{SECRET}@a"), "schema_registry: url must hold no user and password"),
    (with_registry(url=f"https://a,{SECRET}"), "schema_registry: url must start with http:// or https://"),
    (
        with_registry(url="http://a", proxy=["b"]),
        "schema_registry: proxy must be text, a number, true or false",
    ),
]


@pytest.mark.parametrize(
    ("text", "part"),
    [
        *FILES,
        *((with_sections(**sections), part) for sections, part in SECTIONS),
        *((with_stream(**changes), f"- streams.0.{part}") for changes, part in STREAMS),
        *OTHERS,
    ],
)
def test_problem_is_reported_with_its_key(problems, text, part):
    message = problems(text)
    assert part in message
    assert SECRET not in message


@pytest.mark.parametrize(
    ("variable", "text", "part"),
    [
        ("TOPICS__EVENTS", "[a", "topics.events: must be a list (in the environment: in JSON)"),
        ("TOPICS__EVENTS", "[a, b]", "topics.events: must be a list (in the environment: in JSON)"),
        ("STREAMS", "null", "streams: must be a list (in the environment: in JSON)"),
        ("KAFKA", "{group.id: g}", "kafka: must be a mapping (in the environment: in JSON)"),
        ("HTTP", "8080", "http: must be a mapping (in the environment: in JSON)"),
        ("HTTP", '{"port": "8080"}', "http.port: Input should be a valid integer"),
        ("HTTP__PORT", "", "http.port: Input should be a valid integer"),
        ("HTTP__PORT", "70000", "http.port: Input should be less than or equal to 65535"),
        ("HTTP__PROT", "1", "http.prot: no such key"),
        ("SHARDS", "1.5", "shards: Input should be a valid integer"),
        ("ALLOWED_LEAD", "5", "allowed_lead: 5 has no unit"),
        ("COMMIT_INTERVAL", "6s", "commit_interval: must not be longer than 5s"),
        ("REPLICA", "two words", "replica: String should match pattern"),
        ("TOPICS__WINDOWS", "a/b", "topics.windows: String should match pattern"),
        *(
            (name, "images", f"DRIFTGAUGE_{name}: names no setting; set a list as a whole, in JSON")
            for name in (
                "STREAMS__0__BASELINE", "STREAMS__NAME", "HTTP__PORT__X", "KAFKA__SASL__PASSWORD",
                "ALLOWED_LEAD__X",
            )
        ),
    ],
)  # fmt: skip
def test_problem_of_variable_is_reported_with_its_key(problems, variable, text, part):
    # The sections exist, so a variable below one of their values names nothing.
    other = {} if variable.startswith("HTTP") else {"DRIFTGAUGE_HTTP__PORT": "9464"}
    message = problems(f"{MINIMAL}allowed_lead: 5m\n", **{f"DRIFTGAUGE_{variable}": text}, **other)
    assert message.count("\n") == 1
    assert f"\n  - {part}" in message


@pytest.mark.parametrize("section", ["topics: events", "http: 8080", "http: [8080]", "alarms:"])
def test_variable_hides_no_invalid_section_of_file(problems, section):
    name = section.partition(":")[0]
    message = problems(f"{MINIMAL}{section}\n", **{f"DRIFTGAUGE_{name.upper()}__KEY": "1"})
    assert f"\n  - {name}: must be a mapping" in message


def test_every_problem_is_reported_at_once(problems, snapshot):
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
    assert [line.removeprefix("  - ").split(":")[0] for line in lines] == [
        "port", "DRIFTGAUGE_STREAMS__7__NAME", "kafka", "topics.events", "streams.0.name",
        "streams.0.baselines", "streams.0.windows.1", "streams.0.colour", "streams.1.windows",
        "streams.1.allowed_lateness", "streams.1.min_events", "http.port", "allowed_lead", "nope",
    ]  # fmt: skip
    assert "\n".join(lines) == snapshot


@pytest.mark.parametrize(
    ("windows", "start", "following"),
    [
        (["1h"], "2025-11-03T12:00:01Z", "2025-11-03T13:00:00+00:00"),
        (["1h", "1d"], NOON, "2025-11-04T00:00:00+00:00"),
        (["1d", "7d"], MIDNIGHT, "2025-11-06T00:00:00+00:00"),  # weeks begin on Thursdays
        (["10m", "15m"], "2025-11-03T00:15:00Z", "2025-11-03T00:30:00+00:00"),
    ],
)
def test_baseline_that_begins_within_window_is_refused(problems, load, windows, start, following):
    message = problems(with_baselines(FIRST, {**FIRST, "from": start}, windows=windows))
    assert "streams.0: baselines.1: windows of all sizes" in message
    assert f"the next such time is {following}" in message
    (stream,) = load(with_baselines(FIRST, {**FIRST, "from": following}, windows=windows)).streams
    assert stream.baselines[1].from_ms is not None


def test_next_start_beyond_calendar_is_not_named(problems):
    message = problems(with_baselines(FIRST, {**FIRST, "from": NOON}, windows=LONG))
    assert "windows of all sizes (3651d, 3654d, 3657d) must start at its from, " in message
    assert "the next" not in message


def test_unreadable_file_is_reported(tmp_path):
    path = tmp_path / "driftgauge.yaml"
    with pytest.raises(ConfigError, match=r"driftgauge\.yaml cannot be read \(No such file.*--config"):
        load_settings(path, {})
    path.write_bytes(MINIMAL.replace("images", "größe").encode("latin-1"))
    with pytest.raises(ConfigError, match="is not YAML: a control character, or no UTF-8"):
        load_settings(path, {})


def test_kafka_is_required_only_to_connect(tmp_path):
    tree = yaml.safe_load(MINIMAL)
    del tree["kafka"]
    path = tmp_path / "driftgauge.yaml"
    path.write_text(yaml.safe_dump(tree))
    settings = load_settings(path, {}, connects=False)
    assert (settings.kafka, settings.streams[0].name) == ({}, "images")
    # Whoever connects is told with all other problems.
    path.write_text(yaml.safe_dump({**tree, "nope": 1}))
    with pytest.raises(ConfigError, match=r"- kafka: Field required\n  - nope: no such key; remove it"):
        load_settings(path, {})
    # A section that is there is checked by everybody.
    path.write_text(yaml.safe_dump({**tree, "kafka": {"group.id": "g"}}))
    with pytest.raises(ConfigError, match=r"kafka: bootstrap\.servers is missing"):
        load_settings(path, {}, connects=False)


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
    assert SECRET not in "".join(traceback.format_exception(caught.value))


@pytest.mark.parametrize(
    "variable", ["KAFKA__SASL_PASSWORD__X", "KAFKA", "KAFKA__SASL__PASSWORD", "HTTP__PORT"]
)
@pytest.mark.parametrize("text", [SECRET, f"[{SECRET}"])
def test_problem_of_variable_quotes_no_secret(problems, variable, text):
    assert SECRET not in problems(with_kafka(nope=[1]), **{f"DRIFTGAUGE_{variable}": text})


def test_validation_error_quotes_no_input():
    with pytest.raises(ValidationError) as caught:
        Settings.model_validate({"kafka": {"sasl.password": [SECRET]}, "streams": SECRET})
    assert SECRET not in str(caught.value)
