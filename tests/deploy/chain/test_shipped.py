"""The changes of shipped rules and routes for the chain: only waits."""

import pytest

from tests.deploy.chain.shipped import RULES, load, shorten


@pytest.mark.parametrize(
    ("wait", "shortened"),
    [("1h", "1m"), ("15m", "15s"), ("90s", "1s500ms"), ("1m", "1s"), ("30s", "1s"), ("1h30m", "1m30s")],
)
def test_shorten_divides_nested_waits_to_at_least_one_second(wait, shortened):
    assert shorten({"routes": [{"group_wait": wait}]}, 60) == {"routes": [{"group_wait": shortened}]}


@pytest.mark.parametrize("path", RULES, ids=lambda path: path.stem)
def test_shorten_changes_only_waits_of_shipped_rule(path):
    for shipped, shortened in zip(load(path)["groups"], shorten(load(path), 60)["groups"], strict=True):
        for before, after in zip(shipped["rules"], shortened["rules"], strict=True):
            changed = {key for key in before | after if before.get(key) != after.get(key)}
            assert changed == before.keys() & {"for", "keep_firing_for"}
