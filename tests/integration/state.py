"""What the shards' changelogs hold, as compaction would leave them."""

from driftgauge.core.windows.changelog import Key, Value
from driftgauge.records.changelog import decode
from tests.integration.case import Case


def read_state(case: Case) -> dict[tuple[int, Key], Value]:
    """The last value of each shard and key, but for those that are forgotten."""
    state: dict[tuple[int, Key], Value] = {}
    for message in case.read(case.changelog_topic):
        decoded = decode(message.key() or b"", message.value())
        if decoded is None:
            continue
        key, value = decoded
        place = message.partition() or 0, key
        state.pop(place, None)
        if value is not None:
            state[place] = value
    return state
