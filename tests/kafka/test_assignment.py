from hypothesis import given
from hypothesis import strategies as st

from driftgauge.kafka.assignment import Assignment

HELD = {("b", 0): 7, ("a", 1): 0, ("a", 0): 40}


def test_a_code_is_the_partitions_place_among_the_sorted_ones():
    assignment = Assignment(HELD)
    assert assignment.partitions == {0: ("a", 0), 1: ("a", 1), 2: ("b", 0)}
    for code, (topic, index) in assignment.partitions.items():
        assert assignment.code(topic, index) == code


def test_reading_begins_where_it_is_told_to():
    assignment = Assignment(HELD)
    assert {at: assignment.positions[code] for code, at in assignment.partitions.items()} == HELD


def test_a_partition_that_is_not_held_has_no_code():
    assignment = Assignment(HELD)
    assert assignment.code("b", 1) is None
    assert assignment.code("c", 0) is None
    assert assignment.code(None, None) is None


@given(st.lists(st.tuples(st.integers(0, 2), st.integers(0, 100))))
def test_a_position_moves_by_itself_and_never_goes_back(steps):
    assignment = Assignment(HELD)
    for code, position in steps:
        before = dict(assignment.positions)
        assignment.advance(code, position)
        assert assignment.positions == before | {code: max(before[code], position)}
