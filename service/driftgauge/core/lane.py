"""One stream on one partition that is held: how far it has come, and when it was last heard."""

from dataclasses import dataclass

from driftgauge.core.state import Counting, Gap, StreamProgress

__all__ = ["Lane"]


@dataclass(slots=True)
class Lane:
    """What changes with each batch; `progress` is what is kept of it.

    A timeout alone does not make a partition idle, for its events may wait unread (FLIP-471). It
    is idle as long as it is silent and each end offset asked for shows that the reader has passed
    it. What is proved is proved for the moment of asking: until then the partition had nothing to
    say. So an idle partition has reached what the stream had come to everywhere at that moment, as
    far as was known, and not what has come since.

    Attributes:
        disorder_ms: How far behind the newest event another may be expected.
        last_seen_ms: Wall time of the stream's last event here, at first of the assignment.
        newest_ms, idle_to_ms, horizon_ms, counting, gap: As in `StreamProgress`.
    """

    disorder_ms: int
    last_seen_ms: int
    newest_ms: int | None = None
    idle_to_ms: int | None = None
    horizon_ms: int | None = None
    counting: tuple[Counting, ...] = ()
    gap: Gap | None = None

    @classmethod
    def restore(cls, progress: StreamProgress, disorder_ms: int, now_ms: int) -> "Lane":
        """Go on from what was kept; silence is measured from now."""
        return cls(
            disorder_ms=disorder_ms,
            last_seen_ms=now_ms,
            newest_ms=progress.newest_ms,
            idle_to_ms=progress.idle_to_ms,
            horizon_ms=progress.horizon_ms,
            counting=progress.counting,
            gap=progress.gap,
        )

    @property
    def progress(self) -> StreamProgress:
        """What is kept."""
        return StreamProgress(self.newest_ms, self.idle_to_ms, self.horizon_ms, self.counting, self.gap)

    def observe(self, newest_ms: int, now_ms: int) -> None:
        """Take note of events up to this event time, read at wall time `now_ms`."""
        self.last_seen_ms = now_ms
        self.newest_ms = newest_ms if self.newest_ms is None else max(self.newest_ms, newest_ms)
        self._end_gap(newest_ms + self.disorder_ms)

    def is_silent(self, now_ms: int, idle_ms: int) -> bool:
        """Tell whether nothing has come for as long as that by wall time."""
        return now_ms - self.last_seen_ms >= idle_ms

    def prove_idle(self, reached_ms: int, now_ms: int) -> None:
        """Take note, at wall time `now_ms`, that nothing was pending here when the stream had come so far."""
        self.idle_to_ms = reached_ms if self.idle_to_ms is None else max(self.idle_to_ms, reached_ms)
        # What the stream had come to says little of lost events; but they were not of the future.
        self._end_gap(max(reached_ms + self.disorder_ms, now_ms))

    def purge(self, horizon_ms: int) -> None:
        """Refuse events from now on whose windows all end at or before the horizon; it never goes back."""
        self.horizon_ms = horizon_ms if self.horizon_ms is None else max(self.horizon_ms, horizon_ms)

    def lose(self) -> None:
        """Take note that events after those read so far are no longer kept."""
        if self.gap is None:
            self.gap = Gap(None if self.newest_ms is None else self.newest_ms - self.disorder_ms)
        else:
            self.gap = Gap(self.gap.from_ms)  # one gap, from the earlier loss to the end of this one

    def forget_gap(self, settled_ms: int) -> None:
        """Let go of a loss that touches no window which is still open from this event time on."""
        if self.gap is not None and self.gap.to_ms is not None and self.gap.to_ms < settled_ms:
            self.gap = None

    def _end_gap(self, to_ms: int) -> None:
        if self.gap is not None and self.gap.to_ms is None:
            self.gap = Gap(self.gap.from_ms, to_ms)
