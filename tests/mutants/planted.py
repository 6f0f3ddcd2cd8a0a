"""Faults of the service, and later versions of it: named edits of its source, made before it is imported."""

import ast
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import CodeType
from typing import Final

from tests.mutants.service import SERVICE, replace_code


@dataclass(frozen=True)
class Edit:
    """A change of one place of the source.

    Attributes:
        file: The module's file, from the service's folder.
        old: Text that occurs there exactly once.
        new: What stands there instead.
    """

    file: str
    old: str
    new: str

    def apply(self, source: str) -> str:
        """Return the source with the change; fail unless the old text occurs exactly once."""
        number = source.count(self.old)
        assert number == 1, f"{self.file} holds this text {number} times: {self.old!r}"
        return source.replace(self.old, self.new)


_TRANSACTION = "engine/producer/transaction.py"
_COUNT = "engine/count/count_worker.py"
_WINDOWS = "engine/windows/window_worker.py"
_BEGIN_AGAIN_AT_ONCE = """\
        from dataclasses import replace
        for source in self.started:
            again = replace(source, position=source.committed, records=0, skipped_at_start=0)
            self._states[source.partition] = again
        self._sync_client()
        for source in self.started:
            source.is_validated = True

    def lose"""
_CONSUMER = '_consumer(properties, {"group.id": group, **own}, on_statistics)'
_OUTSIDE = f"""\
    made = {_CONSUMER}
    OUTSIDERS[id(made)] = _consumer(properties, {{"group.id": group}})
    return made


OUTSIDERS = {{}}"""
_UNCOMMITTED = '"isolation.level": "read_uncommitted"'

PLANTED: Final[Mapping[str, Sequence[Edit]]] = {
    # Offsets are committed with the metadata of a consumer that is no group member, so without a generation.
    "no_group_metadata": [
        Edit("kafka/client.py", f"    return {_CONSUMER}", _OUTSIDE),
        Edit(
            _TRANSACTION,
            "metadata = self._consumer.consumer_group_metadata()",
            "from driftgauge.kafka.client import OUTSIDERS\n"
            "        return OUTSIDERS[id(self._consumer)].consumer_group_metadata()",
        ),
    ],
    # A commit is made as whatever member of the group the consumer has become.
    "member_not_checked": [
        Edit(_TRANSACTION, "metadata if member_id and member_id == self._member_id", "metadata if 1")
    ],
    "read_uncommitted": [
        Edit("kafka/client.py", "return Consumer(config,", f"return Consumer({{**config, {_UNCOMMITTED}}},")
    ],
    "offsets_outside_transaction": [
        Edit(
            _TRANSACTION,
            "        self._deliver(deadline_s)\n        member =",
            "        self._consumer.commit(offsets=list(offsets), asynchronous=False)\n"
            "        self._deliver(deadline_s)\n        member =",
        )
    ],
    # COUNT begins again without dropping its uncommitted counts, or without going back to its offsets.
    "counts_kept": [Edit(_COUNT, "        self._counter.drop()\n        self._letters.clear()\n", "")],
    "positions_kept": [
        Edit(
            _COUNT,
            "        self._interval_began_s = self._clock.monotonic_s()\n        self._held.begin_again()",
            "        self._interval_began_s = self._clock.monotonic_s()",
        )
    ],
    "producer_not_replaced": [
        Edit(
            _TRANSACTION,
            "self._state.is_suspect = True",
            "self._state.is_suspect = False",
        ),
        Edit(_TRANSACTION, "elif isinstance(self._state, _Ready):", "elif 0:"),
    ],
    # Partitions that begin again are assigned at once, and what is polled without a producer is dropped; they
    # count as validated, for the seek would give the dropped records again.
    "drop_while_settling": [
        Edit(
            "engine/count/held_partitions.py",
            "        now_s = self._clock.monotonic_s()\n"
            "        self._states |= {source.partition: _Pending(now_s, source) for source in self.started}\n"
            "        self._sync_client()\n\n    def lose",
            _BEGIN_AGAIN_AT_ONCE,
        ),
        Edit(
            "engine/session.py",
            "self._worker.process(messages)",
            "self._worker.process(messages if self._unsettled_since_s is None else [])",
        ),
    ],
    # A shard is restored from the part of its changelog that was read so far.
    "restore_before_end": [
        Edit(
            "engine/windows/changelog_reader.py",
            "return self.positions[shard] >= end or end == 0",
            "return True",
        )
    ],
    # The commits of a replica that was started again are numbered as before, so they look applied.
    "epoch_repeated": [
        Edit(_TRANSACTION, "max(self._clock.wall_ms(), self.epoch + 1)", "1"),
    ],
    "waiting_parts_passed": [Edit("core/windows/shard.py", "offset=covered,", "offset=self.next_offset,")],
    "changelog_uncommitted": [
        Edit("kafka/client.py", "if goes_on else {}, on", f"if goes_on else {{{_UNCOMMITTED}}}, on")
    ],
    # Partitions, or shards, that the group has revoked are still counted, or closed.
    "revoked_partitions_kept": [
        Edit(_COUNT, "        self._held.release(partitions)\n", ""),
    ],
    "revoked_shards_kept": [
        Edit(
            _WINDOWS,
            "shards = [shard for _, shard in partitions]\n        self._unassign",
            "shards = []\n        self._unassign",
        )
    ],
    # The parts of a commit, of which there are several, are written in reverse order.
    "progress_not_last": [
        Edit("engine/service.py", "_PART_BYTES = 500_000", "_PART_BYTES = 1_000"),
        Edit(_COUNT, "for part in parts:", "for part in parts[::-1]:"),
    ],
    "progress_without_partials": [
        Edit(_COUNT, "            delta.panes,\n", "            delta.panes if commit.number % 8 else (),\n")
    ],
    "any_shard": [Edit(_COUNT, "partials_topic, shard, key, part)", "partials_topic, -1, None, part)")],
    # Windows that wait for a later round become final, and lose their panes.
    "waiting_windows_final": [
        Edit(
            "core/windows/closing.py",
            "self._advance_horizon(watermark_ms, waiting_from_ms)",
            "self._advance_horizon(watermark_ms, None)",
        )
    ],
    # Every event time moves the watermark, however far ahead of the clock it is.
    "producers_times_trusted": [
        Edit("kafka/intake.py", "=credible_ms(messages, now_ms)", "=np.full(len(messages), 2**62)")
    ],
    # No alarm of a stream whose texts are kept.
    "texts_end_alarms": [
        Edit(
            "core/windows/stream_state.py",
            "self._set_result(replace(result, snippets={}) if result.snippets else result)",
            "(self.published.update({result.window: replace(result, snippets={})}) if result.snippets"
            " else self._set_result(result))",
        ),
    ],
    # The alarm follows the newest window, conclusive or not.
    "inconclusive_ends_alarms": [
        Edit(
            "core/windows/stream_state.py",
            "result = self.conclusive.get(size_ms)",
            "result = self.newest.get(size_ms)",
        ),
    ],
    # A switch discards what is known about the former baseline.
    "switch_forgets_histories": [
        Edit(
            "core/windows/stream_state.py",
            "                self.histories[size_ms, baseline] = value\n                self._mark",
            "                for each in list(self.histories):\n"
            "                    if each[0] == size_ms and each[1] != baseline:\n"
            "                        self.forget_judging(*each)\n"
            "                self.histories[size_ms, baseline] = value\n                self._mark",
        ),
    ],
    # A changelog whose beginning was deleted is restored.
    "beheaded_changelog_restored": [
        Edit(
            "engine/windows/shard_restore.py",
            "if expected is None or found == expected:",
            "if found is not None:",
        ),
    ],
    # An added window size is published without its purged panes.
    "purged_panes_forgotten": [
        Edit(
            "core/windows/closing.py",
            "is_purged = window.start_ms < self._state.purged_ms",
            "is_purged = False",
        ),
    ],
    # Each replica counts the first streams of a pattern that it reads.
    "most_by_each_replica": [
        Edit(
            "core/counting/interval.py",
            "        clusters = [self._accumulator(batch).assign(batch) for batch in batches]",
            '        seen = self.__dict__.setdefault("seen", {})\n'
            "        for each in batches:\n"
            "            own = seen.setdefault(self._specs[each.stream].name, {})\n"
            "            if len(own) < self._specs[each.stream].most:\n"
            "                own[each.stream] = None\n"
            "        names = set().union(*seen.values())\n"
            "        batches = [each for each in batches if each.stream in names]\n"
            "        clusters = [self._accumulator(batch).assign(batch) for batch in batches]",
        ),
    ],
    # Of a producer's waiting commits only the newest four epochs are known.
    "epochs_forgotten": [
        Edit(
            "core/windows/shard.py",
            "if each[1] >= position.offset or (each[1] == newest[producer]",
            "if (producer, epoch) in sorted(key for key in known if key[0] == producer)[-4:]"
            " or (each[1] == newest[producer]",
        ),
    ],
    # A round writes all that there is.
    "rounds_unbounded": [
        Edit(
            "core/windows/work_budget.py",
            "self._bytes_left = most_bytes - of_deletions",
            "self._bytes_left = 10**12",
        ),
        Edit(
            _WINDOWS,
            "return self._load_bytes() >= self._limit.bytes // SHARE",
            "return False",
        ),
    ],
    # A shard stays paused after a hand-over closed its last due windows.
    "paused_shard_kept": [
        Edit(
            _WINDOWS,
            "        self._pause_backlogs()\n        return has_committed",
            "        if has_committed:\n            self._pause_backlogs()\n        return has_committed",
        ),
    ],
}


_FURTHER = "    further: int = 7\n"
_LAST_OF_DELTA = "    numbers: Mapping[str, NDArray[np.int64]] = field(default_factory=dict)\n"
_LAST_OF_STATUS = "    retired_ms: int | None = None\n"
_LAST_OF_RECORD = "    must_understand: tuple[str, ...] = ()\n"
_FURTHER_FIELDS = [
    Edit("core/counting/partial.py", _LAST_OF_DELTA, f"{_LAST_OF_DELTA}{_FURTHER}"),
    Edit("core/windows/changelog.py", _LAST_OF_STATUS, f"{_LAST_OF_STATUS}{_FURTHER}"),
    Edit("records/window_record.py", _LAST_OF_RECORD, f"{_FURTHER}{_LAST_OF_RECORD}"),
    Edit(
        "baseline/metadata.py", "    versions: dict[str, str]\n", f"    versions: dict[str, str]\n{_FURTHER}"
    ),
]
LATER_VERSIONS: Final[Mapping[str, Sequence[Edit]]] = {
    # A field more in the partials, the changelog, the window results and the baseline, which may be ignored.
    "further_fields": _FURTHER_FIELDS,
    # The same without the numbers beside the vectors: neither counted, nor kept of what others counted.
    "without_numbers": [
        *_FURTHER_FIELDS,
        Edit(
            "config/stream.py",
            "            for name, each in self.numbers.items()\n",
            "            for name, each in ()\n",
        ),
        Edit(
            "core/windows/changelog.py",
            "        keys = dict.fromkeys(key for each in counts for key in each.numbers)\n",
            "        keys: dict[str, None] = {}\n",
        ),
    ],
    # A field of the partials without which the counts would mislead.
    "field_to_understand": [
        Edit(
            "core/counting/partial.py",
            _LAST_OF_DELTA,
            f"{_LAST_OF_DELTA}"
            '    event_weight: int = field(default=1, metadata={"must_be_understood": True})\n',
        ),
        Edit(
            "core/counting/accumulator.py",
            "{} if number else self._of_numbers.get(start_ms, {}),\n            )",
            "{} if number else self._of_numbers.get(start_ms, {}), 2)",
        ),
    ],
}


def plant(name: str) -> None:
    """Let this process import the service with a planted fault, or as a later version."""
    assert "driftgauge" not in sys.modules, "a fault is planted before the service is imported"
    replace_code(edited(name))


def changed_sources(name: str) -> dict[str, str]:
    """Return the source of each module that a fault or a later version changes, by its file."""
    sources: dict[str, str] = {}
    for edit in {**PLANTED, **LATER_VERSIONS}[name]:
        source = sources.get(edit.file) or (SERVICE / edit.file).read_text("utf-8")
        sources[edit.file] = edit.apply(source)
    return sources


def edited(name: str) -> dict[str, CodeType]:
    """Return the code of each module that a fault or a later version changes, by the module's dotted name."""
    return {
        f"driftgauge.{file.removesuffix('.py').replace('/', '.')}": compile(
            ast.parse(source), str(SERVICE / file), "exec", dont_inherit=True
        )
        for file, source in changed_sources(name).items()
    }
