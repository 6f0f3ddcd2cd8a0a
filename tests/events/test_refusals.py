"""The numbers of refused events, and the first few with their places."""

from driftgauge.events.refusals import Refusals
from driftgauge.events.rejection import Reason


def test_first_five_are_shown_and_all_are_counted():
    refusals = Refusals()
    for line in range(6):
        refusals.add(f"events.jsonl, line {line}", Reason.WRONG_DIMENSION, "1 numbers", "images")
    refusals.add("events.jsonl, line 9", Reason.WRONG_DIMENSION, "2 numbers", "texts")
    refusals.add("events.jsonl, line 9", Reason.UNDECODABLE, "x")
    *first, total = refusals.describe()
    assert first == [f"refused: events.jsonl, line {line}: wrong_dimension: 1 numbers" for line in range(5)]
    assert total == "refused in total: 8 (7 wrong_dimension, 1 undecodable)"
    assert refusals.numbers["images", Reason.WRONG_DIMENSION] == 6
    assert refusals.by_reason() == {"wrong_dimension": 7, "undecodable": 1}
