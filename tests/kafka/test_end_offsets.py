"""Tests of `driftgauge.kafka.end_offsets`."""

import pytest

from driftgauge.kafka.end_offsets import EndOffsets
from driftgauge.kafka.offset_barrier import Start
from driftgauge.kafka.source_partitions import SourcePartitions

FIRST = ("embeddings", 0)


@pytest.fixture
def sources(clock):
    sources = SourcePartitions()
    sources.add(FIRST, Start(0, 0, begins=True, lost=0, leader_epoch=-1), "id", clock.wall_ms)
    return sources


@pytest.fixture
def ends(sources, admin, clock):
    return EndOffsets(sources, admin, clock.clock, interval_ms=1_000)


def test_poll_requests_ends_once_per_interval(ends, admin, clock):
    ends.poll()
    admin.answer(0, FIRST, 0)
    clock.advance(0.9)
    ends.poll()
    assert len(admin.asked) == 1
    clock.advance(0.1)
    ends.poll()
    assert len(admin.asked) == 2


def test_partition_at_its_end_is_caught_up_to_request_time(ends, admin, clock, sources):
    requested_ms = clock.wall_ms
    ends.poll()
    admin.answer(0, FIRST, 0)
    clock.advance(0.5)
    ends.poll()
    assert sources.find(*FIRST).caught_up_ms == requested_ms


def test_partition_keeps_end_until_position_reaches_it(ends, admin, clock, sources):
    source = sources.find(*FIRST)
    ends.poll()
    admin.answer(0, FIRST, 5)
    clock.advance(1)
    ends.poll()
    assert source.end == 5
    assert len(admin.asked) == 1, "no newer end is requested"
    source.read(0, 5, records=5)
    clock.advance(1)
    ends.poll()
    assert len(admin.asked) == 2


def test_forgotten_partition_gets_no_answer(ends, admin, sources):
    ends.poll()
    ends.forget([FIRST])
    admin.answer(0, FIRST, 5)
    ends.poll()
    assert sources.find(*FIRST).end is None
