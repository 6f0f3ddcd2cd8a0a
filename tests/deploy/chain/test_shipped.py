"""How the shipped rules and routes are changed for the chain: in waits and addresses, in nothing else."""

import pytest

from tests.deploy.chain.shipped import RULES, load, redirect, shorten


def rules_of(tree):
    return [rule for group in tree["groups"] for rule in group["rules"]]


@pytest.mark.parametrize(
    ("wait", "shortened"),
    [("1h", "1m"), ("15m", "15s"), ("90s", "1s500ms"), ("1m", "1s"), ("30s", "1s"), ("1h30m", "1m30s")],
)
def test_a_wait_is_divided_and_is_at_least_a_second(wait, shortened):
    assert shorten({"for": wait}, 60) == {"for": shortened}


def test_ranges_in_expressions_are_left_alone():
    rule = {"alert": "A", "expr": "changes(x[10m]) > 0 for 1h", "labels": {"severity": "critical"}}
    assert shorten({"groups": [{"rules": [rule]}]}, 60) == {"groups": [{"rules": [rule]}]}


@pytest.mark.parametrize("path", RULES, ids=lambda path: path.stem)
def test_a_shipped_rule_is_changed_in_its_waits_and_in_nothing_else(path):
    shipped, shortened = rules_of(load(path)), rules_of(shorten(load(path), 60))
    for before, after in zip(shipped, shortened, strict=True):
        changed = {key for key in before | after if before.get(key) != after.get(key)}
        assert changed == before.keys() & {"for", "keep_firing_for"}


def test_routes_wait_less_at_every_depth():
    route = {"group_wait": "30s", "routes": [{"repeat_interval": "4h", "routes": [{"group_interval": "5m"}]}]}
    assert shorten({"route": route}, 60)["route"] == {
        "group_wait": "1s",
        "routes": [{"repeat_interval": "4m", "routes": [{"group_interval": "5s"}]}],
    }


def test_an_unknown_wait_is_refused_rather_than_kept():
    with pytest.raises(ValueError, match="is not a duration"):
        shorten({"for": "5 minutes"}, 60)


def test_pagerduty_and_slack_lead_to_the_test_and_keep_all_but_their_addresses(tmp_path):
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


def test_nothing_is_sent_where_the_test_cannot_see_it(tmp_path):
    config = {"receivers": [{"name": "tickets", "email_configs": [{"to": "a@example.invalid"}]}]}
    with pytest.raises(ValueError, match=r"tickets: only .* lead to the test, not .*email_configs"):
        redirect(config, "http://127.0.0.1:1", tmp_path)
