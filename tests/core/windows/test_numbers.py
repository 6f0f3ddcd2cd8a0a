"""Numbers beside the embedding from events to results: exact, also while replicas without them take part."""

import math
from dataclasses import replace

import numpy as np
import pytest

from driftgauge.core.counting.numbers import Number
from driftgauge.core.judging.verdict import Verdict
from driftgauge.core.windows.changelog import PaneCounts
from driftgauge.records.changelog_records import decode, encode_value
from tests.builders.batches import at
from tests.builders.clocks import HOUR_MS, MINUTE_MS
from tests.builders.references import FIRST, build_reference, build_segment_reference
from tests.builders.results import CONFIDENCE, tally_number
from tests.builders.specs import ALARM, build_schedule, build_spec
from tests.core.shard import Shard, read_and_commit

# The first baseline, which knows the number: no other one.
REFERENCE = build_reference(numbers={"confidence": tally_number(CONFIDENCE, *([[0.9, 0.8]] * 4))})
SPEC = build_spec(reference=REFERENCE, numbers=(replace(CONFIDENCE, alert_below=0.8, alert_change=0.2),))
HOURS = 3


def run(shard, hours, *, forget=lambda: None):
    """Read three events an hour, on two partitions, of which one has no number; return the results."""
    results = []
    for hour in hours:
        read_and_commit(shard, at(hour, 0), at(hour + 0.5, 1), numbers={"confidence": [0.5, 3.0]})
        forget()
        read_and_commit(shard, at(hour + 0.2, 1), partition=1, numbers={"confidence": [math.nan]})
        shard.read(at(hour + 1, 0), numbers={"confidence": [0.25]})
        results += shard.commit(has_source_ended=False)
        results += read_and_commit(shard, at(hour + 1, 0), partition=1, numbers={"confidence": [0.25]})
    return results


def test_window_has_the_mean_of_its_values_and_counts_the_others():
    (result,) = run(Shard(SPEC, partitions=2), [0])
    number = result.numbers["confidence"]
    assert (number.count, number.missing, number.clipped, number.is_partial) == (2, 1, 1, False)
    assert number.mean.value == pytest.approx(0.75, abs=2e-5)
    assert number.baseline_mean == pytest.approx(0.85, abs=2e-5)
    assert number.change.total.value == pytest.approx(-0.1, abs=4e-5)
    np.testing.assert_allclose(number.means, [0.5, 1.0, math.nan, math.nan], atol=2e-5)


@pytest.mark.parametrize(("baseline_ms", "is_wider"), [(HOUR_MS, True), (MINUTE_MS, False), (None, False)])
def test_error_knows_how_windows_of_the_baseline_vary_unless_they_are_shorter(baseline_ms, is_wider):
    tally = replace(REFERENCE.numbers["confidence"], between=0.25)
    reference = replace(REFERENCE, numbers={"confidence": tally}, overdispersion_ms=baseline_ms)
    spec = replace(SPEC, baselines=build_schedule(first=reference))
    (result,) = run(Shard(spec, partitions=2), [0])
    assert (result.numbers["confidence"].overdispersion > 1) == is_wider


def test_number_is_no_part_of_the_baseline_or_the_scheme():
    without = replace(SPEC, numbers=())
    assert REFERENCE.baseline_id == FIRST.baseline_id
    assert SPEC.scheme(REFERENCE) == without.scheme(FIRST)
    shard = Shard(without, partitions=2)
    read_and_commit(shard, at(0))
    shard.restart(SPEC)
    shard.read(at(0.5), numbers={"confidence": [0.5]})
    read_and_commit(shard, at(1), numbers={"confidence": [0.5]})
    (result,) = read_and_commit(shard, at(1), partition=1, numbers={"confidence": [0.5]})
    assert (result.verdict is Verdict.INCOMPLETE, result.counts.sum()) == (False, 2)
    assert result.numbers["confidence"].is_partial


def test_alert_of_two_windows_goes_on_after_a_restart():
    shard = Shard(SPEC, partitions=2)
    fires = [each.numbers["confidence"].fires for each in run(shard, range(HOURS), forget=shard.restart)]
    assert fires == [False, True, True]


@pytest.mark.parametrize("where", ["partials", "changelog"])
def test_window_that_a_replica_without_the_number_held_is_partial_and_fires_nothing(where):
    shard = Shard(SPEC, partitions=2)

    def forget():
        """Have an earlier version write what is held, without the field that it ignores."""
        if where == "changelog":
            for key, value in shard.changelog.items():
                counts = decode(key, value)[1]
                if isinstance(counts, PaneCounts):
                    shard.changelog[key] = encode_value(PaneCounts(counts.values))
            shard.restart()

    if where == "partials":
        numbers = SPEC.numbers
        shard.restart(replace(SPEC, numbers=()))
        read_and_commit(shard, at(0, 0), numbers={})
        shard.restart(replace(SPEC, numbers=numbers))
    for result in run(shard, range(2), forget=forget)[: 1 if where == "partials" else 2]:
        number = result.numbers["confidence"]
        assert number.is_partial
        assert (number.exceeds, number.fires) == (False, False)
        assert result.verdict is not Verdict.INCOMPLETE


def test_another_range_is_another_number():
    shard = Shard(SPEC, partitions=2)
    read_and_commit(shard, at(0), numbers={"confidence": [0.5]})
    shard.restart(replace(SPEC, numbers=(Number("confidence", 0.0, 2.0),)))
    (result,) = run(shard, [0])
    number = result.numbers["confidence"]
    assert (number.count, number.clipped, number.is_partial) == (2, 1, True)
    assert number.mean.value == pytest.approx(1.25, abs=4e-5)


def test_revision_is_judged_with_what_was_remembered_at_first():
    shard = Shard(SPEC, partitions=1)
    for hour in range(3):
        read_and_commit(shard, at(hour), numbers={"confidence": [0.5]})
    # Of the second hour; the first one alone came before it.
    (revised,) = read_and_commit(shard, at(1.5), numbers={"confidence": [1.0]})
    number = revised.numbers["confidence"]
    assert (revised.revision, number.count, number.mean.value) == (1, 2, pytest.approx(0.75, abs=2e-5))
    assert number.before.recent == (True,)


def test_window_adds_up_the_panes_of_all_events_and_segments_have_none():
    sizes = (HOUR_MS, 15 * MINUTE_MS)
    spec = replace(SPEC, sizes_ms=sizes, alarm=replace(ALARM, segment_keys=("country",)))
    reference = replace(REFERENCE, segments=(build_segment_reference("country", "de", 4, 3, 2, 1),))
    spec = replace(spec, baselines=build_schedule(first=reference))
    shard = Shard(spec, partitions=1)
    for quarter in range(5):
        shard.read(at(quarter / 4), segments=[{"country": "de"}], numbers={"confidence": [quarter / 8]})
    results = shard.commit()
    assert [each.numbers["confidence"].count for each in results] == [1, 1, 1, 1, 4]
    assert results[-1].numbers["confidence"].mean.value == pytest.approx(1.5 / 8, abs=2e-5)
    panes = [decode(*entry)[1] for entry in shard.changelog.items() if b'"segment":["country"' in entry[0]]
    assert panes
    assert all(each.numbers == {} for each in panes)
