"""When a partition is idle: proven by end offsets, for the moment of asking, anew each time."""

from hypothesis import given, settings
from hypothesis import strategies as st

from driftgauge.core.counter import StreamCounter
from driftgauge.core.state import Change, Progress, ProgressKey
from driftgauge.core.table import Table
from tests.core.builders import FIRST, build_batch, build_partitions, build_spec

IDLE_MS = 60_000
PARTITIONS = build_partitions(3)


class Watch:
    """One owner's watch over a stream on all partitions; each round is committed, and heard of then."""

    def __init__(self, number=2, *, now_ms=0, table=None, **spec):
        self.partitions = PARTITIONS[:number]
        self.table = table or Table()
        self.table.expect(self.partitions)
        self.spec = build_spec(idle_ms=IDLE_MS, **spec)
        self.counter = StreamCounter(
            self.spec, dict(enumerate(self.partitions)), self.table, {FIRST.key: FIRST}.get, set(), now_ms
        )

    def observe(self, partition, time_ms, now_ms=0):
        self.counter.count(build_batch([(partition, 0, time_ms, 0)]), now_ms)

    def advance(self, now_ms, positions=None, ends=None):
        """One round; return the watermark that it leads to."""
        positions = positions or dict.fromkeys(range(len(self.partitions)), 0)
        self.counter.advance(now_ms, positions, ends or {})
        for code, partition in enumerate(self.partitions):
            progress = Progress(0, {"images": self.counter.progress(code)})
            self.table.apply(Change(partition, ProgressKey(), progress))
        return self.watermark_ms

    def silence(self, now_ms, position=10):
        """One round that finds every silent partition read to its end; return the watermark."""
        ends = dict.fromkeys(self.counter.ask(now_ms), position)
        return self.advance(now_ms, dict.fromkeys(range(len(self.partitions)), position), ends)

    @property
    def watermark_ms(self):
        return self.table.watermark_ms("images", self.spec.disorder_ms)

    def idle_to(self, code):
        return self.counter.progress(code).idle_to_ms


def test_silence_alone_makes_no_partition_idle():
    watch = Watch()
    watch.observe(0, 500)
    assert watch.advance(10 * IDLE_MS) is None
    assert watch.idle_to(1) is None


def test_an_end_offset_that_is_still_ahead_makes_no_partition_idle_until_it_is_passed():
    watch = Watch(1)
    watch.observe(0, 500)
    watch.advance(0)
    assert watch.counter.ask(IDLE_MS) == [0]
    watch.advance(IDLE_MS, {0: 7}, {0: 8})
    assert watch.idle_to(0) is None
    assert watch.counter.ask(IDLE_MS) == []  # one proof at a time
    watch.advance(IDLE_MS, {0: 8})
    assert watch.idle_to(0) == 500
    assert watch.counter.ask(IDLE_MS) == [0]


def test_a_reader_that_is_always_a_little_behind_proves_idleness_for_when_it_was_asked():
    watch = Watch()
    watch.observe(0, 500)
    watch.observe(1, 100)
    watch.advance(0)
    watch.counter.ask(IDLE_MS)
    watch.observe(0, 700, now_ms=IDLE_MS)
    watch.advance(IDLE_MS, {0: 10, 1: 10}, {1: 11})
    watch.counter.ask(IDLE_MS)
    watch.advance(IDLE_MS, {0: 11, 1: 11}, {})  # others' events have come there meanwhile, up to 12
    assert watch.idle_to(1) == 500


def test_an_event_on_the_way_to_the_end_asked_for_proves_nothing():
    watch = Watch(1)
    watch.observe(0, 500)
    watch.advance(0)
    watch.counter.ask(IDLE_MS)
    watch.advance(IDLE_MS, {0: 7}, {0: 8})
    watch.observe(0, 400, now_ms=IDLE_MS)
    watch.advance(IDLE_MS, {0: 8})
    assert watch.idle_to(0) is None
    watch.advance(2 * IDLE_MS, {0: 8})  # silent again, and the answer was for another silence
    assert watch.idle_to(0) is None


def test_an_end_offset_seen_before_the_silence_makes_no_partition_idle():
    watch = Watch(1)
    watch.observe(0, 500)
    watch.advance(0)
    assert watch.counter.ask(IDLE_MS - 1) == []
    watch.advance(IDLE_MS - 1, {0: 8}, {0: 8})  # asked for another stream's sake
    assert watch.idle_to(0) is None
    assert watch.counter.ask(IDLE_MS) == [0]
    watch.advance(IDLE_MS, {0: 8}, {})
    assert watch.idle_to(0) is None


def test_an_end_offset_that_could_not_be_learnt_is_asked_for_again():
    watch = Watch(1)
    assert watch.counter.ask(IDLE_MS) == [0]
    watch.advance(IDLE_MS)
    assert watch.counter.ask(IDLE_MS) == [0]


def test_an_answer_for_one_partition_makes_no_other_idle():
    watch = Watch()
    watch.observe(0, 100)
    watch.observe(1, 500)
    watch.advance(0)
    assert watch.counter.ask(IDLE_MS) == [0, 1]
    assert watch.advance(IDLE_MS, {0: 10, 1: 10}, {0: 10}) == 500
    assert [watch.idle_to(code) for code in (0, 1)] == [500, None]
    assert not watch.table.is_silent("images")


def test_an_event_between_the_question_and_the_answer_keeps_a_partition_awake():
    watch = Watch()
    watch.observe(0, 500)
    watch.observe(1, 900)
    watch.advance(0)
    assert watch.counter.ask(IDLE_MS) == [0, 1]
    watch.observe(0, 600, now_ms=IDLE_MS)
    assert watch.advance(IDLE_MS, {0: 8, 1: 8}, {0: 8, 1: 8}) == 600
    assert [watch.idle_to(code) for code in (0, 1)] == [None, 900]


def test_an_idle_partition_holds_nobody_back():
    watch = Watch(3)
    watch.observe(0, 100)
    watch.observe(1, 500)
    assert watch.silence(IDLE_MS - 1) is None
    watch.observe(1, 600, now_ms=IDLE_MS)
    watch.advance(IDLE_MS)
    assert watch.silence(IDLE_MS) == 600
    assert not watch.table.is_silent("images")


def test_beside_an_idle_partition_the_others_count_with_what_they_had_reached_when_asked():
    watch = Watch()
    watch.observe(0, 100)
    watch.observe(1, 500, now_ms=IDLE_MS)
    watch.advance(0)
    assert watch.counter.ask(IDLE_MS) == [0]
    watch.observe(1, 900, now_ms=IDLE_MS)
    assert watch.advance(IDLE_MS, {0: 10, 1: 11}, {0: 10}) == 500
    assert watch.silence(IDLE_MS) == 900


def test_what_is_not_committed_had_not_been_reached_when_asked():
    watch = Watch()
    watch.observe(0, 100)
    watch.observe(1, 500, now_ms=IDLE_MS)
    assert watch.silence(IDLE_MS) == 100  # nothing had been heard of then
    assert watch.silence(IDLE_MS) == 500


def test_a_partition_whose_reader_falls_behind_is_not_idle_any_more_and_holds_the_watermark():
    watch = Watch()
    watch.observe(0, 100)
    watch.observe(1, 500, now_ms=IDLE_MS)
    watch.advance(IDLE_MS)
    assert watch.silence(IDLE_MS) == 500
    watch.observe(1, 900, now_ms=IDLE_MS)
    for _ in range(3):
        watch.counter.ask(IDLE_MS)
        assert watch.advance(IDLE_MS, {0: 10, 1: 11}, {0: 11}) == 500
    watch.observe(0, 700, now_ms=IDLE_MS)  # its backlog
    assert watch.advance(IDLE_MS, {0: 11, 1: 11}) == 700


def test_without_an_answer_idleness_stays_as_it_was_proven_and_goes_no_further():
    watch = Watch()
    watch.observe(0, 500)
    watch.advance(0)
    assert watch.silence(IDLE_MS) == 500
    watch.observe(0, 900, now_ms=2 * IDLE_MS)
    assert watch.counter.ask(2 * IDLE_MS) == [1]
    assert watch.advance(2 * IDLE_MS) == 500


def test_an_event_wakes_a_partition_and_the_watermark_does_not_go_back():
    watch = Watch(lateness_ms=10_000)
    watch.observe(0, 100)
    watch.observe(1, 900, now_ms=IDLE_MS)
    watch.advance(IDLE_MS)
    assert watch.silence(IDLE_MS) == 900
    watch.observe(0, 200, now_ms=IDLE_MS)
    watch.observe(1, 950, now_ms=IDLE_MS)
    watch.advance(IDLE_MS)
    assert watch.silence(IDLE_MS) == 900  # partition 0 is awake, far behind
    watch.observe(0, 980, now_ms=IDLE_MS)
    assert watch.advance(IDLE_MS) == 950


def test_when_all_are_idle_the_highest_time_seen_counts():
    watch = Watch(3, disorder_ms=30)
    watch.observe(0, 100)
    watch.observe(1, 900)
    watch.advance(0)
    assert watch.silence(IDLE_MS) == 870
    assert watch.table.is_silent("images")


def test_a_stream_without_any_event_is_never_idle():
    watch = Watch()
    assert watch.silence(IDLE_MS) is None
    assert watch.silence(IDLE_MS) is None
    assert watch.idle_to(0) is None


def test_what_was_proven_outlives_a_restart_but_not_the_silence():
    watch = Watch()
    watch.observe(0, 500)
    watch.advance(0)
    watch.silence(IDLE_MS)
    restarted = Watch(table=watch.table, now_ms=IDLE_MS)
    assert [restarted.idle_to(code) for code in (0, 1)] == [500, 500]
    assert restarted.counter.ask(2 * IDLE_MS - 1) == []
    assert restarted.counter.ask(2 * IDLE_MS) == [0, 1]


def test_a_late_event_breaks_the_silence():
    watch = Watch(1, lateness_ms=0, sizes_ms=(1_000,))
    watch.observe(0, 5_000)
    watch.advance(0)
    watch.advance(0)
    assert watch.counter.count(build_batch([(0, 0, 10, 0)]), IDLE_MS - 1).late.all()
    assert watch.counter.ask(IDLE_MS) == []
    assert watch.counter.ask(2 * IDLE_MS - 1) == [0]


class Log:
    """Two partitions written by the clock's time, and a reader that may lag behind and commit late."""

    def __init__(self):
        self.now_ms = 0
        self.times = ([], [])
        self.positions = {0: 0, 1: 0}
        self.watch = Watch(sizes_ms=(1,), lateness_ms=0)

    def write(self, partition):
        self.now_ms += 1
        self.times[partition].append(self.now_ms)

    def read(self, partition):
        for time_ms in self.times[partition][self.positions[partition] :]:
            assert self.watch.watermark_ms is None or time_ms >= self.watch.watermark_ms
            self.watch.observe(partition, time_ms, self.now_ms)
        self.positions[partition] = len(self.times[partition])


STEPS = st.lists(st.tuples(st.sampled_from([Log.write, Log.read]), st.integers(0, 1)), max_size=6)
ROUND = st.tuples(st.booleans(), STEPS, STEPS, STEPS, st.booleans())


@settings(max_examples=100, deadline=None)
@given(st.lists(ROUND, max_size=8))
def test_no_event_that_was_written_in_time_is_older_than_the_watermark_when_it_is_read(rounds):
    log = Log()
    for pause, before, asked, measured, answered in rounds:
        log.now_ms += IDLE_MS if pause else 0
        follow(log, before)
        silent = log.watch.counter.ask(log.now_ms)
        follow(log, asked)
        ends = {partition: len(log.times[partition]) for partition in silent}
        follow(log, measured)
        log.watch.advance(log.now_ms, log.positions, ends if answered else {})
    follow(log, [(Log.read, 0), (Log.read, 1)])


def follow(log, steps):
    for step, partition in steps:
        step(log, partition)
