"""The restore of a shard's state, between its assignment and the first partial applied."""

import logging
from collections.abc import Callable, Generator, Mapping
from concurrent.futures import Future
from contextlib import suppress
from typing import cast

from driftgauge.clock import Clock
from driftgauge.core.partition import Partition
from driftgauge.core.windows.changelog import AcceptedLoss, AcceptedLossKey, PositionKey
from driftgauge.core.windows.shard import ShardState
from driftgauge.engine.offset_barrier import CommittedOffsets, log_offsets
from driftgauge.engine.windows.changelog_reader import ChangelogReader
from driftgauge.errors import BrokerError, StateError
from driftgauge.kafka.offsets import LogOffsets
from driftgauge.kafka.shared_admin import SharedAdmin

__all__ = ["ShardRestore"]

_log = logging.getLogger(__name__)


class ShardRestore:
    """Restores one shard, a step at a time, so that the other shards continue.

    1. Ask for the group's committed offset, which must not be part of an open transaction.
    2. Then ask for the changelog's high watermark, and read the changelog up to it. The stable offset would
       not do, because it ends before an open transaction.
    3. Require that the changelog covers the partials up to the committed offset, which is asked for again if
       it lies before that. If the group's offset has expired, the changelog's offset holds.
    4. Require that the topic keeps all that the state needs, and that none of the changelog's keys is gone.

    Attributes:
        state: The shard's state, complete once `step` has returned True.
        keys: The keys of its changelog, as `key_of` gives them.
    """

    def __init__(  # noqa: PLR0913 - one caller makes restores
        self,
        shard: int,
        state: ShardState,
        *,
        partials: str,
        changelog: str,
        offsets: CommittedOffsets,
        reader: ChangelogReader,
        admin: SharedAdmin,
        check_settings: Callable[[], Future[None]],
        lead_ms: int,
        clock: Clock,
    ) -> None:
        self.state = state
        self.keys: set[int] = set()
        self._shard = shard
        self._partials: Partition = partials, shard
        self._changelog: Partition = changelog, shard
        self._offsets = offsets
        self._reader = reader
        self._admin = admin
        self._check_settings = check_settings
        self._lead_ms = lead_ms
        self._clock = clock
        self._since_s = clock.monotonic_s()
        self._waiting_for = ""
        self._steps = self._run()

    @property
    def waited_s(self) -> float:
        """Seconds since the restore began."""
        return self._clock.monotonic_s() - self._since_s

    @property
    def waiting_for(self) -> str:
        """The answer or data that the restore waits for, as an operator reads it."""
        return self._waiting_for or self._offsets.waiting_for

    def step(self) -> bool:
        """Continue as far as possible without waiting; return whether the state is restored.

        Raises:
            AuthorizationError: The cluster denies reading the offsets, the changelog or its settings.
            StateError: Changelog, committed offset and partials contradict each other; or records of the
                changelog are missing; or its settings would delete records.
        """
        try:
            next(self._steps)
        except StopIteration:
            return True
        return False

    def _run(self) -> Generator[None, None, None]:
        committed = yield from self._fetch_committed({})
        self._waiting_for = "the changelog's end"
        ends = yield from log_offsets(LogOffsets(self._admin), [self._changelog], self._clock)
        self._reader.begin(self._shard)
        self._waiting_for = "the changelog to be read to its end, free of open transactions"
        while not self._reader.has_reached(self._shard, ends[self._changelog]):
            yield
        content, self.keys = self._reader.content(self._shard), self._reader.keys(self._shard)
        self._reader.end(self._shard)
        self._waiting_for = "the changelog's settings"
        yield from self._await_settings()
        self._waiting_for = "the partials' begin and end"
        begins = yield from log_offsets(LogOffsets(self._admin, earliest=True), [self._partials], self._clock)
        ends = yield from log_offsets(LogOffsets(self._admin), [self._partials], self._clock)
        position, acceptance = content.get(PositionKey()), content.get(AcceptedLossKey())
        for key, value in content.items():
            # Without a position all is counted again; the acceptance is deleted in any case.
            if position is not None or key == AcceptedLossKey():
                self.state.restore(key, value)
        covered = None if position is None else self.state.position.offset
        if committed is not None and covered is not None and committed < covered:
            # What the changelog covers was committed with it.
            committed = yield from self._fetch_committed({self._partials: covered})
        self._check(covered, committed, ends[self._partials])
        self._require_all_keys(cast("AcceptedLoss | None", acceptance))
        self.state.skip_to(begins[self._partials])

    def _fetch_committed(self, at_least: Mapping[Partition, int]) -> Generator[None, None, int | None]:
        """Return the group's committed offset in the partials; None without one."""
        self._waiting_for = ""  # the fetch says itself what it waits for
        answers = yield from self._offsets.fetch([self._partials], at_least)
        answer = answers[self._partials]
        return None if answer is None else answer.offset

    def _await_settings(self) -> Generator[None, None, None]:
        """Wait for the answer of the check of the topic's settings; ask again while brokers do not answer."""
        while True:
            answer = self._check_settings()
            while not answer.done():
                yield
            with suppress(BrokerError):
                answer.result()
                return
            yield

    def _require_all_keys(self, acceptance: AcceptedLoss | None) -> None:
        """Refuse a changelog that lacks keys, unless an operator has accepted the loss.

        Raises:
            StateError: The number of keys differs from that of the last commit.
        """
        # The record of the acceptance was not written by a commit.
        found, expected = len(self.keys) - (acceptance is not None), self.state.position.keys
        if expected is None or found == expected:
            return
        if found > expected:
            message = (
                f"its changelog holds {found} keys, and held {expected} at the last commit: another program "
                "wrote some, or reading took longer than the topic's delete.retention.ms; keep other "
                "programs from writing to the topic, and restart the replica"
            )
            raise StateError(message)
        message = (
            f"its changelog holds {found} keys, and held {expected} at the last commit: records were "
            "deleted, by a retention or by hand"
        )
        if acceptance is None or acceptance.accepted_ms < self.state.position.log_ms:
            message += (
                "; restore the topic from a backup, or accept the loss with `driftgauge accept-loss "
                f"--shard {self._shard}`; then restart the replica"
            )
            raise StateError(message)
        _log.error(
            "records of a changelog are lost, and an operator has accepted that",
            extra={
                "shard": self._shard,
                "error": message,
                "remedy": "none: windows that may have begun before are marked with events_lost",
            },
        )
        self.state.accept_loss(self._lead_ms)

    def _check(self, covered: int | None, committed: int | None, end: int) -> None:
        """Refuse a state that does not belong to the committed offset and the partials.

        Raises:
            StateError: The offsets contradict each other.
        """
        if committed not in {None, covered}:
            message = (
                f"its changelog covers the partials up to offset {covered}, and the group has "
                f"committed {committed}: the offsets were reset, or the changelog lost records or is "
                "another's; put the offset back, or delete both internal topics and the offsets of both "
                "groups, then restart the replica"
            )
            raise StateError(message)
        if covered is not None and covered > end:
            message = (
                f"its partials end at offset {end}, and its changelog covers them up to {covered}: "
                "the partials topic was created again, or lost records; delete both internal topics and the "
                "offsets of both groups, then restart the replica"
            )
            raise StateError(message)
