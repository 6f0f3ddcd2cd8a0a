"""Which baseline is in force when, from what each partition counts against."""

import pytest

from driftgauge.core.eras import Eras
from driftgauge.core.state import Counting
from driftgauge.core.windows.window import Window

HOUR = 100
DAY = 1_000
SIZES = (HOUR, DAY)


def eras(*partitions):
    """Of partitions that count against these, in this order: "old", or "new@300" from 300 on."""
    return Eras(
        [
            tuple(
                Counting(baseline, int(from_ms) if from_ms else None)
                for baseline, _, from_ms in (entry.partition("@") for entry in counting.split())
            )
            for counting in partitions
        ]
    )


def test_before_any_partition_is_known_nothing_is_in_force():
    nothing = eras("", "")
    assert (nothing.newest, nothing.in_force, nothing.counted) == (None, [], set())
    assert nothing.of(Window(HOUR, 0)) is None
    assert not nothing.begin_after(Window(HOUR, 0))
    assert not eras().is_established("any")


def test_a_baseline_is_in_force_once_every_known_partition_counts_it():
    assert eras("old new@300", "old").in_force == ["old"]
    assert eras("old new@300", "old new@500").in_force == ["old", "new"]
    assert eras("old new@300", "").newest == "new"


@pytest.mark.parametrize(("start_ms", "baseline"), [(0, "old"), (400, "old"), (500, "new"), (900, "new")])
def test_windows_that_begin_once_all_partitions_count_the_new_one_are_its_own(start_ms, baseline):
    assert eras("old new@300", "old new@500").of(Window(HOUR, start_ms)) == baseline


def test_a_window_that_has_begun_before_is_finished_with_the_old_one_whatever_its_size():
    change = eras("old new@300", "old new@500")
    assert change.of(Window(DAY, 0)) == "old"
    assert change.of(Window(DAY, DAY)) == "new"


def test_the_old_one_is_over_once_its_last_window_of_every_size_is_final():
    change = eras("old new@300", "old new@500")
    assert not change.is_over("old", SIZES, final_ms=DAY - 1)
    assert change.is_over("old", SIZES, final_ms=DAY)
    assert change.is_over("old", (HOUR,), final_ms=500)
    assert not change.is_over("new", SIZES, final_ms=10**9)


def test_what_begins_on_a_boundary_needs_no_further_window_of_the_old_one():
    assert eras("old new@2000").is_over("old", SIZES, final_ms=2 * DAY)


def test_a_new_baseline_that_comes_before_the_first_event_is_in_force_from_the_first_on():
    # They begin at once, and no order of keys tells which is the newer.
    for first, then in (("a", "b"), ("b", "a")):
        change = eras(f"{first} {then}", f"{first} {then}")
        assert change.newest == then
        assert change.of(Window(HOUR, 0)) == then
        assert not change.is_over(first, SIZES, final_ms=0)
        assert change.is_over(first, SIZES, final_ms=1)
        assert not change.is_over(then, SIZES, final_ms=10**9)


def test_of_two_that_begin_at_once_the_one_brought_in_later_is_newer():
    for second, third in (("b", "c"), ("c", "b")):
        change = eras(f"a {second}@300 {third}@300", f"a {second}@300 {third}@300")
        assert change.in_force == ["a", second, third]


def test_while_a_partition_is_not_heard_of_nothing_is_over_or_established():
    # Its owner may have found the old one in force, and count against that alone.
    change = eras("old new@300", "")
    assert not change.is_over("old", SIZES, final_ms=10**9)
    assert not change.is_established("new")
    assert eras("old new@300", "old new@300").is_established("new")
    assert not eras("old new@300", "old new@300").is_established("old")


def test_what_is_about_to_be_replaced_is_not_established():
    assert not eras("old new@300 newer@500", "old new@300").is_established("new")


def test_what_one_partition_has_dropped_is_left_and_over_for_the_others_as_well():
    change = eras("new@300", "old new@500")
    assert change.in_force == ["new"]
    assert change.is_leaving("old")
    assert not change.is_over("old", SIZES, final_ms=DAY - 1)
    assert change.is_over("old", SIZES, final_ms=DAY)


def test_what_was_given_up_half_way_is_left_once_a_newer_one_is_in_force():
    assert not eras("old half@200", "old").is_leaving("half")
    assert eras("old half@200 new@300", "old new@500").is_leaving("half")


@pytest.mark.parametrize(("baseline", "leaving"), [("old", True), ("new", False), ("unheard", False)])
def test_of_those_in_force_all_but_the_newest_are_being_left(baseline, leaving):
    assert eras("old new@300", "old new@500").is_leaving(baseline) is leaving


def test_what_comes_again_where_it_was_left_is_not_being_left():
    assert not eras("new@300 old@700", "new@300").is_leaving("old")


def test_where_partitions_began_with_different_baselines_none_is_in_force():
    mixed = eras("one", "other")
    assert (mixed.in_force, mixed.counted) == ([], {"one", "other"})
    assert not mixed.begin_after(Window(HOUR, 0))


def test_windows_before_the_first_baseline_came_into_force_are_never_whole():
    mixed = eras("one other@300", "other one@500")
    assert mixed.in_force == ["other", "one"]
    assert mixed.of(Window(HOUR, 200)) is None
    assert mixed.begin_after(Window(HOUR, 200))
    assert not mixed.begin_after(Window(HOUR, 300))
