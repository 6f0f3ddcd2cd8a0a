"""What a group's state topic holds, as compaction would leave it."""

from driftgauge.core.state import Key, Value
from driftgauge.events.state import decode
from tests.integration.case import Case


def read_state(case: Case) -> dict[tuple[int, Key], Value]:
    """The last value of each partition and key, but for those that are forgotten."""
    state: dict[tuple[int, Key], Value] = {}
    for message in case.read(case.state_topic):
        key, value = decode(message.key() or b"", message.value())
        place = message.partition() or 0, key
        state.pop(place, None)
        if value is not None:
            state[place] = value
    return state
