from hypothesis import given
from hypothesis import strategies as st

from driftgauge.kafka.assignment import Assignment
from driftgauge.kafka.state import Progress

HELD = [("b", 0), ("a", 1), ("a", 0)]


def test_a_code_is_the_partitions_place_in_the_sorted_assignment():
    assignment = Assignment(HELD, [])
    assert assignment.partitions == {0: ("a", 0), 1: ("a", 1), 2: ("b", 0)}
    for code, (topic, index) in assignment.partitions.items():
        assert assignment.code(topic, index) == code


def test_a_partition_that_is_not_held_has_no_code():
    assignment = Assignment(HELD, [])
    assert assignment.code("b", 1) is None
    assert assignment.code("c", 0) is None
    assert assignment.code(None, None) is None


def test_without_anything_restored_nothing_is_known_and_nothing_is_to_be_caught_up_with():
    assignment = Assignment(HELD, [])
    assert all(position < 0 for position in assignment.positions.values())
    assert all(assignment.start_offset(code) is None for code in assignment.partitions)
    assert all(assignment.processed_before(code) < 0 for code in assignment.partitions)
    assert assignment.caught_up


def test_reading_starts_again_at_the_first_open_pane_and_has_caught_up_at_the_old_position():
    assignment = Assignment([("a", 0)], [Progress("a", 0, position=10, first_open=4)])
    assert assignment.start_offset(0) == 4
    assert assignment.positions[0] == 4
    assert assignment.processed_before(0) == 10
    assert not assignment.caught_up
    assignment.advance(0, 9)
    assert not assignment.caught_up
    assignment.advance(0, 10)
    assert assignment.caught_up


def test_every_partition_must_have_caught_up():
    restored = [Progress("a", 0, position=5, first_open=0), Progress("a", 1, position=5, first_open=0)]
    assignment = Assignment(HELD, restored)
    assignment.advance(0, 5)
    assert not assignment.caught_up
    assignment.advance(1, 5)
    assert assignment.caught_up, "the partition without progress asks for nothing"


def test_a_partition_without_an_open_pane_has_caught_up_from_the_start():
    assert Assignment([("a", 0)], [Progress("a", 0, position=7, first_open=7)]).caught_up


def test_progress_of_a_partition_that_is_not_held_is_passed_over():
    assignment = Assignment([("a", 0)], [Progress("gone", 0, position=10, first_open=0)])
    assert assignment.caught_up
    assert assignment.start_offset(0) is None


@given(st.lists(st.tuples(st.integers(0, 2), st.integers(0, 100))))
def test_positions_never_go_back_and_catching_up_is_never_undone(steps):
    assignment = Assignment(HELD, [Progress("a", 0, position=20, first_open=10)])
    for code, position in steps:
        before, caught_up = dict(assignment.positions), assignment.caught_up
        assignment.advance(code, position)
        assert assignment.positions[code] == max(before[code], position)
        assert all(assignment.positions[other] == before[other] for other in before if other != code)
        assert assignment.caught_up >= caught_up
