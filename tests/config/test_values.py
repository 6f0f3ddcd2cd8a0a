"""What a configuration's text means: values, defaults, limits, and secrets that show nowhere."""

from pathlib import Path

import pytest
import yaml
from pydantic import ValidationError

from driftgauge.config import is_secret, load_settings
from driftgauge.config.page import PageSettings, fill_template
from tests.builders.configs import FULL, MINIMAL, SECRET, schedule, warmed_up, with_kafka, with_stream


def with_sections(**sections):
    return yaml.safe_dump(yaml.safe_load(MINIMAL) | sections)


@pytest.mark.parametrize("text", [FULL, MINIMAL])
def test_values_and_defaults_are_read(load, tmp_path, snapshot, text):
    dumped = load(text).model_dump_json(indent=1)
    assert dumped.replace(str(tmp_path), "FOLDER") == snapshot


def test_values_are_in_milliseconds_and_paths_beside_file(load, tmp_path):
    settings = load(FULL)
    images, texts = settings.streams
    assert settings.kafka["fetch.min.bytes"] == 5
    assert (settings.partials_topic, settings.changelog_topic) == ("kept.partials.64", "kept.changelog.64")
    assert images.windows == (3_600_000, 86_400_000)
    assert (images.allowed_disorder, images.allowed_lateness, images.idle_timeout) == (
        45_000,
        5_400_000,
        300_000,
    )
    assert (images.incomplete_after, images.give_up_after) == (7_200_000, 21_600_000)
    assert (images.warm_up.start, images.warm_up.end) == (1_762_128_000_000, 1_762_729_200_250)
    assert (images.overdue_after, texts.overdue_after) == (43_200_000, None)
    assert (settings.allowed_lead, settings.commit_interval) == (60_000, 500)
    assert schedule(images) == [(tmp_path / "baselines" / "resnet18-fc1.safetensors", None)]
    assert schedule(texts) == [
        (Path("/etc/driftgauge/clip.safetensors"), None),
        (tmp_path / "next.safetensors", 1_764_547_200_000),
        (tmp_path / "later.safetensors", 1_767_225_600_000),
    ]


def test_defaults_are_those_of_documentation(load):
    settings = load()
    (stream,) = settings.streams
    assert settings.topics.events == ("embeddings",)
    assert settings.topics.windows == "driftgauge.windows"
    assert settings.topics.dead_letters == "driftgauge.dead-letters"
    assert (stream.allowed_disorder, stream.allowed_lateness, stream.idle_timeout) == (
        30_000,
        600_000,
        60_000,
    )
    assert (stream.incomplete_after, stream.give_up_after) == (300_000, 3_600_000)
    assert (settings.allowed_lead, settings.commit_interval) == (300_000, 1_000)
    assert (settings.http.host, settings.http.port) == ("127.0.0.1", 9464)
    assert (settings.group, settings.windows_group) == ("driftgauge", "driftgauge.windows")
    assert settings.partials_topic == "driftgauge.driftgauge.partials.16"
    assert settings.changelog_topic == "driftgauge.driftgauge.changelog.16"
    assert settings.heartbeats_topic == "driftgauge.driftgauge.heartbeats"
    assert (settings.page.enabled, settings.page.history) == (True, 31 * 86_400_000)


def test_dump_loads_as_same_settings(load, tmp_path):
    settings = load(FULL.replace("sasl.password: hunter2, ", ""))
    path = tmp_path / "again.yaml"
    path.write_text(yaml.safe_dump(settings.model_dump(mode="json")), encoding="utf-8")
    assert load_settings(path, {}) == settings
    with pytest.raises(ValidationError, match="frozen"):
        settings.http.port = 1


def test_merge_key_is_overridden_and_no_duplicate(load):
    text = MINIMAL.replace("- {name", "- &first {name") + "  - {<<: *first, name: texts}\n"
    assert [stream.name for stream in load(text).streams] == ["images", "texts"]


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
def test_time_is_read_from_yaml_time_and_text(load, text, time_ms, quote):
    (stream,) = load(warmed_up(f"{quote}{text}{quote}", "2026-01-01T00:00:00Z")).streams
    assert stream.warm_up.start == time_ms


@pytest.mark.parametrize("name", ["driftgauge-0", "0", "12", "eu_west.3", "r" * 128])
def test_replica_name_may_be_a_number(load, name):
    assert load(f"{MINIMAL}replica: {name}\n").replica == name


@pytest.mark.parametrize(
    "text",
    [
        warmed_up("2025-11-03T00:00:00Z", "2025-11-03T20:00:00Z"),
        with_stream(incomplete_after="1h"),
        with_stream(allowed_disorder="0s", allowed_lateness="0s"),
        with_sections(commit_interval="5s"),
        with_sections(page={"path_prefix": "/tools/drift"}),
        MINIMAL.replace("group.id: driftgauge", f"group.id: {'g' * 225}"),
        MINIMAL.replace("group.id: driftgauge", "group.id: two words") + "topics: {internal: kept}\n",
        *(
            with_sections(
                inputs={
                    "embeddings": {
                        "encoding": encoding,
                        "stream": "stream",
                        "timestamp": "at",
                        "embedding": "vector",
                    }
                }
            )
            for encoding in ("json", "cloudevents", "inference")
        ),
    ],
)
def test_value_at_its_limit_is_accepted(load, text):
    assert load(text).streams


@pytest.mark.parametrize(
    ("section", "name", "value"),
    [
        *(
            ("kafka", name, SECRET)
            for name in (
                "sasl.password",
                "ssl.key.password",
                "ssl.keystore.password",
                "ssl.key.pem",
                "sasl.oauthbearer.client.secret",
                "sasl.oauthbearer.config",
                "sasl.oauthbearer.assertion.private.key.passphrase",
                "sasl.oauthbearer.assertion.private.key.pem",
            )
        ),
        ("schema_registry", "basic.auth.user.info", f"user:{SECRET}"),
        ("schema_registry", "bearer.auth.token", SECRET),
        ("schema_registry", "bearer.auth.client.secret", SECRET),
        ("schema_registry", "ssl.key.password", SECRET),
        ("schema_registry", "proxy", f"http://user:{SECRET}@proxy:3128"),
        ("schema_registry", "proxy", f"http://user:p/{SECRET}@x@proxy:3128"),
    ],
)
def test_secret_is_masked_in_output_and_kept_in_use(load, section, name, value):
    tree = yaml.safe_load(with_kafka()) | {"schema_registry": {"url": "https://registry"}}
    tree[section][name] = value
    settings = load(yaml.safe_dump(tree))
    assert getattr(settings, section)[name] == value
    for text in (repr(settings), f"{settings}", str(settings.model_dump()), settings.model_dump_json()):
        assert SECRET not in text
        assert "***" in text
        assert "localhost:9092" in text
        assert "https://registry" in text


@pytest.mark.parametrize("name", ["bootstrap.servers", "group.id", "sasl.username", "ssl.key.location"])
def test_other_properties_are_no_secrets(name):
    assert not is_secret(name)


def test_links_of_page_quote_ids_and_keep_their_host(load):
    page = load(MINIMAL).page
    assert page.example_url is page.thumbnail_origin is None
    page = PageSettings(
        example_url="https://shop.example:8443/{stream}?id={event_id}&x={event_id}",
        thumbnail_url="http://images.example:81/{event_id}.png?size=48",
    )
    link = fill_template(page.example_url, "a.b", "javascript:alert(1)/../?&#\"'<>ö")
    quoted = "javascript%3Aalert%281%29%2F..%2F%3F%26%23%22%27%3C%3E%C3%B6"
    assert link == f"https://shop.example:8443/a.b?id={quoted}&x={quoted}"
    assert page.thumbnail_origin == "http://images.example:81"
    assert fill_template(page.thumbnail_url, "s", "7") == "http://images.example:81/7.png?size=48"
