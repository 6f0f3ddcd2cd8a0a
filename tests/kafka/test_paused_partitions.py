"""Tests of `driftgauge.kafka.paused_partitions`."""

import pytest

from driftgauge.kafka.offset_barrier import Start
from driftgauge.kafka.paused_partitions import PausedPartitions
from driftgauge.kafka.source_partitions import SourcePartitions
from tests.builders.messages import TOPIC
from tests.kafka.fakes import AssignmentLog

FIRST, SECOND = (TOPIC, 0), (TOPIC, 1)


@pytest.fixture
def consumer():
    return AssignmentLog()


@pytest.fixture
def sources():
    sources = SourcePartitions()
    for partition in (FIRST, SECOND):
        sources.add(partition, Start(5, 5, begins=False, lost=0, leader_epoch=3), "id", 0)
    return sources


@pytest.fixture
def paused(consumer, clock):
    return PausedPartitions(consumer, clock.clock)


@pytest.mark.parametrize("epoch", [3, -1])
def test_position_is_validated_again_after_pause(paused, sources, epoch):
    first = sources.find(*FIRST)
    first.leader_epoch, first.is_validated = epoch, True
    paused.pause([first])
    # The client cannot validate a position without an epoch.
    assert first.is_validated == (epoch < 0)


def test_each_partition_has_its_own_pause(paused, sources, consumer, clock):
    first = sources.find(*FIRST)
    paused.pause([first])
    first.read(5, 9, records=4)
    first.leader_epoch = 4
    clock.advance(0.6)
    paused.pause([sources.find(*SECOND)])
    paused.resume()
    assert consumer.log == [("unassign", [FIRST]), ("unassign", [SECOND])]
    clock.advance(0.6)
    paused.resume()
    assert (FIRST in paused, SECOND in paused) == (False, True)
    assert consumer.log[2:] == [("assign", [(*FIRST, 9, 4)])]
    assert paused.waiting == {FIRST, SECOND}, "no record has been read since"
    paused.forget([SECOND, (TOPIC, 7)])
    clock.advance(5)
    paused.resume()
    assert len(consumer.log) == 3, "a forgotten partition is left to the caller"
