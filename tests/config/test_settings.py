"""Validation of the whole configuration."""

import pytest
import yaml
from pydantic import ValidationError

from driftgauge.config import Settings, load_settings
from driftgauge.errors import ConfigError
from tests.builders.configs import MINIMAL, SECRET


@pytest.mark.parametrize("budget", ["0", "-1", ".inf", ".nan", "'1'", "often"])
def test_invalid_budget_of_false_pages_is_refused(problems, budget):
    text = f"{MINIMAL}alarms: {{false_pages_per_year: {budget}}}\n"
    assert "alarms.false_pages_per_year: Input should be" in problems(text)


def test_duplicate_stream_is_refused(problems):
    twice = MINIMAL + "  - {name: images, baseline: other.safetensors, windows: [1h]}\n"
    assert "streams: named more than once: images; keep one of each" in problems(twice)


@pytest.mark.parametrize(
    "topics",
    ["{events: [a, a]}", "{events: [a], windows: a}", "{windows: a, dead_letters: a}"],
)
def test_topic_named_twice_is_refused(problems, topics):
    assert "topics: every topic must be named once" in problems(f"{MINIMAL}topics: {topics}\n")


def with_topics(topics, group="driftgauge"):
    return MINIMAL.replace("group.id: driftgauge", f"group.id: '{group}'") + f"topics: {topics}\n"


def test_internal_topics_are_named_after_group(load):
    settings = load(with_topics("{events: [one]}", group="a-group"))
    assert (settings.group, settings.windows_group) == ("a-group", "a-group.windows")
    assert settings.partials_topic == "driftgauge.a-group.partials.16"
    assert settings.changelog_topic == "driftgauge.a-group.changelog.16"


@pytest.mark.parametrize("internal", ["two words", "a/b", "", "ü", "a" * 250])
def test_invalid_internal_prefix_is_refused(problems, internal):
    assert "topics.internal: String should match pattern" in problems(
        with_topics(f"{{internal: '{internal}'}}")
    )


@pytest.mark.parametrize("group", ["two words", "team/a", "grüße", "g" * 226])
def test_group_that_names_no_topic_needs_internal_prefix(problems, load, group):
    message = problems(with_topics("{events: [embeddings]}", group))
    assert f"driftgauge.{group}." in message
    assert "cannot be an internal topic; set another prefix in topics.internal" in message
    assert load(with_topics("{internal: kept}", group)).partials_topic == "kept.partials.16"


def test_longest_internal_names_are_accepted(load):
    settings = load(with_topics("{events: [embeddings]}", group="g" * 225))
    assert len(settings.changelog_topic) == 249


@pytest.mark.parametrize("topics", ["{events: [a, %s]}", "{windows: %s}", "{dead_letters: %s}"])
@pytest.mark.parametrize("name", ["partials", "changelog"])
def test_internal_topic_equal_to_other_topic_is_refused(problems, topics, name):
    topic = f"driftgauge.driftgauge.{name}.16"
    assert f"{topic} cannot be an internal topic" in problems(with_topics(topics % topic))


@pytest.mark.parametrize("number", ["0", "-1", "1025", "'16'", "1.5"])
def test_invalid_number_of_shards_is_refused(problems, number):
    assert "shards: Input should be" in problems(f"{MINIMAL}shards: {number}\n")


@pytest.mark.parametrize("number", ["0", "'3'", "32768"])
def test_invalid_replication_factor_is_refused(problems, number):
    assert "topics.replication_factor: Input should be" in problems(
        with_topics(f"{{replication_factor: {number}}}")
    )


@pytest.mark.parametrize("name", ["driftgauge-0", "0", "12", "eu_west.3", "r" * 128])
def test_replica_name_may_be_a_number(load, name):
    assert load(f"{MINIMAL}replica: {name}\n").replica == name


@pytest.mark.parametrize("name", ["''", "two words", "a/b", "[a]", "r" * 129, "ü"])
def test_invalid_replica_name_is_refused(problems, name):
    assert "replica: String should match pattern" in problems(f"{MINIMAL}replica: {name}\n")


@pytest.mark.parametrize("extra", ["streem: 1", "http: {prot: 1}", "topics: {event: [a]}"])
def test_unknown_keys_are_refused(problems, extra):
    assert "Extra inputs are not permitted" in problems(f"{MINIMAL}{extra}\n")


def test_validation_error_quotes_no_input():
    with pytest.raises(ValidationError) as caught:
        Settings.model_validate({"kafka": {"sasl.password": [SECRET]}, "streams": SECRET})
    assert SECRET not in str(caught.value)


def test_settings_are_frozen(load):
    settings = load()
    with pytest.raises(ValidationError, match="frozen"):
        settings.http.port = 1


def test_kafka_is_required_only_to_connect(tmp_path):
    tree = yaml.safe_load(MINIMAL)
    del tree["kafka"]
    path = tmp_path / "driftgauge.yaml"
    path.write_text(yaml.safe_dump(tree))
    settings = load_settings(path, {}, connects=False)
    assert (settings.kafka, settings.streams[0].name) == ({}, "images")
    # Whoever connects is told with all other problems.
    path.write_text(yaml.safe_dump({**tree, "nope": 1}))
    with pytest.raises(ConfigError, match=r"- kafka: Field required\n  - nope: Extra inputs"):
        load_settings(path, {})
    # A section that is there is checked by everybody.
    path.write_text(yaml.safe_dump({**tree, "kafka": {"group.id": "g"}}))
    with pytest.raises(ConfigError, match=r"kafka: bootstrap\.servers is missing"):
        load_settings(path, {}, connects=False)
