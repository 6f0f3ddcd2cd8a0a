"""The changes of shipped rules and routes for the chain: only waits and addresses."""

import pytest

from tests.deploy.chain.shipped import RULES, load, redirect, shorten


def rules_of(tree):
    return [rule for group in tree["groups"] for rule in group["rules"]]


@pytest.mark.parametrize(
    ("wait", "shortened"),
    [("1h", "1m"), ("15m", "15s"), ("90s", "1s500ms"), ("1m", "1s"), ("30s", "1s"), ("1h30m", "1m30s")],
)
def test_shorten_divides_wait_to_at_least_one_second(wait, shortened):
    assert shorten({"for": wait}, 60) == {"for": shortened}


def test_shorten_keeps_ranges_in_expressions():
    rule = {"alert": "A", "expr": "changes(x[10m]) > 0 for 1h", "labels": {"severity": "critical"}}
    assert shorten({"groups": [{"rules": [rule]}]}, 60) == {"groups": [{"rules": [rule]}]}


@pytest.mark.parametrize("path", RULES, ids=lambda path: path.stem)
def test_shorten_changes_only_waits_of_shipped_rule(path):
    shipped, shortened = rules_of(load(path)), rules_of(shorten(load(path), 60))
    for before, after in zip(shipped, shortened, strict=True):
        changed = {key for key in before | after if before.get(key) != after.get(key)}
        assert changed == before.keys() & {"for", "keep_firing_for"}


def test_shorten_divides_waits_of_nested_routes():
    route = {"group_wait": "30s", "routes": [{"repeat_interval": "4h", "routes": [{"group_interval": "5m"}]}]}
    assert shorten({"route": route}, 60)["route"] == {
        "group_wait": "1s",
        "routes": [{"repeat_interval": "4m", "routes": [{"group_interval": "5s"}]}],
    }


def test_shorten_of_unknown_wait_raises_error():
    with pytest.raises(ValueError, match="is not a duration"):
        shorten({"for": "5 minutes"}, 60)


def test_redirect_replaces_only_addresses_of_pagerduty_and_slack(tmp_path):
    page = {"routing_key_file": "/etc/key", "url": "https://pager.invalid", "description": "a"}
    chat = {"api_url_file": "/etc/url", "send_resolved": False, "title": "b"}
    config = {
        "route": {"receiver": "nobody"},
        "receivers": [
            {"name": "page", "pagerduty_configs": [page]},
            {"name": "tickets", "slack_configs": [chat]},
            {"name": "nobody"},
        ],
    }
    url = "http://127.0.0.1:1"
    as_data = [{"url": f"{url}/notices"}]
    ours = {"routing_key_file": "pagerduty-key", "url": f"{url}/pagerduty", "description": "a"}
    assert redirect(config, url, tmp_path) == {
        "route": {"receiver": "nobody"},
        "receivers": [
            {"name": "page", "pagerduty_configs": [ours], "webhook_configs": as_data},
            {
                "name": "tickets",
                "slack_configs": [{"api_url_file": "slack-url", "send_resolved": False, "title": "b"}],
                "webhook_configs": as_data,
            },
            {"name": "nobody"},
        ],
    }
    assert (tmp_path / "slack-url").read_text() == f"{url}/slack"


def test_redirect_of_other_receiver_raises_error(tmp_path):
    config = {"receivers": [{"name": "tickets", "email_configs": [{"to": "a@example.invalid"}]}]}
    with pytest.raises(ValueError, match=r"tickets: the test receives only .*, not .*email_configs"):
        redirect(config, "http://127.0.0.1:1", tmp_path)
