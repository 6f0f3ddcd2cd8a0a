"""What must hold of a run, by the documents and by what it published, not by the code under test."""

import re
from collections import Counter
from zlib import crc32

from driftgauge.core.counting.examples import MAX_EXAMPLES
from driftgauge.core.counting.partial import shard_of
from driftgauge.core.durations import format_duration
from driftgauge.core.window import Window
from driftgauge.core.windows.changelog import ExamplesKey, PaneKey, PublishedKey, StreamKey
from driftgauge.page.states import STATES
from driftgauge.records.changelog_records import decode
from driftgauge.records.dead_letter import read_letter
from tests.builders.references import CLUSTERS
from tests.simulation.ledger import CONCLUSIVE, WindowKey, windows_of
from tests.simulation.page import Samples, collect, read_metrics
from tests.simulation.plan import MAX_BYTES
from tests.simulation.producers import ENCODINGS, FILTERED, REASONS, Sent
from tests.simulation.run import Run

_ALARMS = ("warning", "drift")
_SEEN = ("ok", *_ALARMS)
# Of a number of 16 bits.
_STEP = CLUSTERS / 2**16
Events = Counter[WindowKey]


def check_settled(run: Run) -> None:
    """Check the counts, the letters and the totals of a run that has settled."""
    check_letters(run)
    check_counts(run)
    check_numbers(run)
    if run.plan.commit_bytes == MAX_BYTES:  # else a round deletes a few records
        check_kept(run)
    if run.plan.is_calm:
        check_examples(run)
    if not run.truncated:
        assert run.chain_errors == []
        for position in run.positions.values():
            assert (position.gaps, position.overlaps, position.orphans) == (0, 0, 0)
        if run.seen[run.settings.group] == run.commits[run.settings.group]:
            # Nobody shows counts whose commit was not answered.
            check_totals(run)


def check_letters(run: Run) -> None:
    """Each record that is refused is a dead letter with its reason, once."""
    expected = Counter(sent.fault for sent in _kept(run) if sent.fault and sent.fault != FILTERED)
    found = Counter(read_letter(letter).reason for letter in run.letters)
    assert found.total() == expected.total(), f"refused {found}, sent {expected}"
    for fault, reason in REASONS.items():
        is_enough = reason is None or found[reason] >= expected[fault]
        assert is_enough, f"{reason}: refused {found}, sent {expected}"


def check_totals(run: Run) -> None:
    """The totals of all replicas are what was written."""
    outcomes, events = Counter[str](), 0
    for sample in collect(replica.telemetry for replica in [*run.gone, *run.replicas]):
        if sample.name == "driftgauge_records_total":
            outcomes[sample.labels["outcome"]] += int(sample.value)
        elif sample.name == "driftgauge_events_total":
            events += int(sample.value)
    sent = Counter({"": "accepted", FILTERED: "filtered"}.get(each.fault, "rejected") for each in _kept(run))
    assert +outcomes == +sent, f"records by outcome: {outcomes}, written {sent}"
    # After `most` names a replica counts others under the pattern.
    sound = sum(len(each.vectors) for each in _kept(run) if not each.fault)
    assert events == sound, f"events {events}, written {sound}"


def check_counts(run: Run) -> None:
    """Written = counted + late + surplus + still open, by window; no window is both complete and short."""
    stopped = {shard for _, shard in run.stopped}
    fates = [each for shard, own in enumerate(run.fates) if shard not in stopped for each in own.values()]
    late, surplus = (
        sum((each.late for each in fates), Events()),
        sum((each.surplus for each in fates), Counter()),
    )
    applied = sum((each.applied for each in fates), Counter())
    otherwise = {key for each in fates for key in each.otherwise}
    sound = [
        each for each in _kept(run) if not each.fault and shard_of(each.stream, run.shards) not in stopped
    ]
    expected = Events()
    for sent in sound:
        for key in windows_of(run.spec_of(run.last, sent.stream), sent):
            expected[key] += len(sent.vectors)
    number = sum(len(each.vectors) for each in sound)
    assert number == surplus.total() + applied.total(), f"{number} sound events, {surplus} {applied}"
    assert run.plan.features & {"surplus", "retired"} or not surplus
    assert not run.plan.is_calm or not late, f"late: {late}"
    # A fast clock may close a window before a loss is known.
    is_exact = len({*run.plan.skews_ms}) == 1
    doubtful = {key for sent, key in run.doubtful if is_exact and _is_within(run, sent)}
    first_sizes = {spec.name: spec.sizes_ms for spec in run.deployments[0].specs}
    # Nobody keeps the names of surplus events.
    may_be_surplus = {key for key in expected if surplus and "/" in key[0]}
    # Without an event of the new topic nothing moves event time, and no window that is open closes.
    is_loose = may_be_surplus | {key for key in expected if key[0] in run.unheard}
    if run.truncated:
        # What is counted at offsets that were counted before makes a window incomplete.
        is_loose |= {key for key, each in run.results.items() if each["incomplete_reason"] == "counted_twice"}
    may_miss = otherwise | is_loose
    for key, number in (expected - late).items():
        result = run.results.get(key)
        is_new_size = key[1] not in first_sizes.get(key[0], first_sizes.get("shop/*", ()))
        if result is None:
            assert key in is_loose or is_new_size, f"in no window: {number} events of {key}"
            continue
        assert result["count"] <= number, f"too many: {result['count']} of {number} in {key}"
        is_complete = result["verdict"] != "incomplete"
        # Of such a size no window is revised by a replica that does not know it.
        may_be_short = key in is_loose or (is_new_size and result["published"] < run.changed_ms)
        assert may_be_short or result["count"] == number or not is_complete, (
            f"short: {result['count']} of {number} in {key}"
        )
        if key not in may_miss:
            # While replicas have different configurations, one may find that a window was counted otherwise.
            may_be_incomplete = len(run.deployments) > 1
            assert is_complete or may_be_incomplete, f"incomplete: {key}, {result['incomplete_reason']}"
            # A window that closed without a partition may be final when the loss is noticed.
            is_marked = result["events_lost"] or result["incomplete"]
            assert key not in doubtful or is_marked, f"lost events are not marked: {key}"
    for key in run.results.keys() - expected.keys():
        assert len(run.deployments) > 1 or shard_of(key[0], run.shards) in stopped, f"without events: {key}"


def check_numbers(run: Run) -> None:
    """Each event that a window counts is in its number once: by its value in its cluster, or as missing."""
    every, own = Events(), Events()
    for (topic, _), log in run.logs.items():
        # A topic that was deleted is kept with what it was.
        is_own = ENCODINGS[run.plan.encodings[topic.partition(" ")[0]]][0] is None
        for sent in log:
            for key in () if sent.fault else windows_of(run.spec_of(run.last, sent.stream), sent):
                every[key] += len(sent.vectors)
                own[key] += len(sent.vectors) * is_own
    for key, result in run.results.items():
        found = result["numbers"]["cluster"]
        assert found["count"] + found["missing"] == result["count"], f"{key}: {found}"
        assert not found["partial"], f"{key}: {found}"
        # All events near a centroid say the same, whatever its number in the baseline.
        means = [each["mean"] or 0.0 for each in found["clusters"]]
        assert all(abs(mean - round(mean)) < _STEP for mean in means), f"{key}: {found}"
        if not found["missing"] and result["count"]:
            total = sum(mean * each["count"] for mean, each in zip(means, result["clusters"], strict=True))
            assert abs(found["mean"]["value"] - total / result["count"]) < _STEP, f"{key}: {found}"
        if run.plan.is_calm and result["count"] == every[key]:
            assert found["count"] == own[key], f"{key}: {found['count']} values of {own[key]}"


def check_examples(run: Run) -> None:
    """The examples of a cluster are its three events whose ids have the least CRC, if each event counts."""
    ids: dict[tuple[WindowKey, int], set[tuple[int, str]]] = {}
    for (topic, partition), log in run.logs.items():
        for offset, sent in enumerate(log):
            for number, each in enumerate(sent.vectors if not sent.fault else ()):
                name = f"{topic}-{partition}-{offset}#{number}"
                if ENCODINGS[run.plan.encodings[topic]][0] is None:
                    name = sent.name
                for key in windows_of(run.spec_of(run.last, sent.stream), sent):
                    ids.setdefault((key, each % CLUSTERS), set()).add((crc32(name.encode()), name))
    for key, result in run.results.items():
        expected = [
            [name for _, name in sorted(ids.get((key, each), ()))[:MAX_EXAMPLES]] for each in range(CLUSTERS)
        ]
        for each in result["examples"]:
            assert each["event_ids"] in expected, f"examples: {each} of {key}, not {expected}"


def check_kept(run: Run) -> None:
    """No changelog keeps panes of windows that are final, nor more final results than the gauges need."""
    stopped = {shard for _, shard in run.stopped}
    for shard, entries in enumerate(run.changelogs):
        if shard in stopped:
            continue
        decoded = dict(decode(key, value) for key, value in entries.items())
        final_ms = {key.stream: each.final_ms for key, each in decoded.items() if isinstance(key, StreamKey)}
        # Panes stay for windows of a size that another replica had, as long as one of its results stays.
        kept = {(key.stream, key.window.size_ms) for key in decoded if isinstance(key, PublishedKey)}
        final = Counter[tuple[str, int]]()
        for key in decoded:
            match key:
                case PaneKey() | ExamplesKey():
                    sizes_ms = {size_ms for stream, size_ms in kept if stream == key.stream}
                    sizes_ms |= {*run.spec_of(run.last, key.stream).sizes_ms}
                    ends_ms = [Window.around(key.pane.end_ms - 1, each).end_ms for each in sizes_ms]
                    is_open = max(ends_ms) > (final_ms[key.stream] or 0)
                    assert is_open, f"shard {shard} keeps {key}"
                case PublishedKey():
                    is_final = key.window.end_ms <= (final_ms[key.stream] or 0)
                    final[key.stream, key.window.size_ms] += is_final
        assert max(final.values(), default=0) <= 2, f"shard {shard} keeps final results: {final}"


def _is_within(run: Run, lost: Sent) -> bool:
    """Whether the next event after a lost one, by which the loss ends, is not further behind than allowed."""
    disorder_ms = run.spec_of(run.last, lost.stream).disorder_ms
    ((name, partition),) = (at for at, log in run.logs.items() if any(sent is lost for sent in log))
    topic, *former = name.split()
    is_after = False
    # Of a topic that was created again, the first event ends the losses of the former one.
    for log in (run.logs[name, partition], *([run.logs[topic, partition]] if former else [])):
        newest_ms = 0
        for sent in log:
            is_after |= sent is lost
            if sent.stream != lost.stream or sent.fault or any(sent is each for each in run.lost):
                continue
            if is_after and sent.time_ms >= newest_ms - disorder_ms:
                return sent.time_ms >= lost.time_ms - disorder_ms
            newest_ms = max(newest_ms, sent.time_ms)
    return True


def _kept(run: Run) -> list[Sent]:
    """Return what the records say that were written, without those that retention deleted unread."""
    return [sent for log in run.logs.values() for sent in log if not any(sent is each for each in run.lost)]


def check_view(run: Run) -> None:
    """Check what somebody sees who looks now."""
    check_metrics(run, read_metrics(replica.telemetry for replica in run.replicas))
    check_status(run)


def check_metrics(run: Run, samples: Samples) -> None:
    """The gauges are those of the newest results, and the totals those of all."""
    shown = {
        (labels["stream"], labels["window"]): labels for labels in map(dict, samples.get("alarm_active", {}))
    }
    late = run.late
    for stream, window in shown:
        size_ms = _sizes(run)[window]
        of_window = _reader(samples, stream=stream, window=window)
        # A stream that retired begins without results, and so does a size that a replica did not have in
        # between: the page alone shows those of before, as old.
        if any(size_ms not in run.spec_of(each, stream).sizes_ms for each in run.deployments):
            continue
        may_begin = "retired" in run.plan.features and "/" in stream
        if not may_begin:
            has_alarm, passed = run.has_alarm(stream, size_ms), run.passed[stream, size_ms]
            assert of_window("alarm_active") == has_alarm, f"alarm of {stream} {window}"
            assert of_window("drifts_passed_total") == passed, f"drifts of {stream} {window}"
        begins = may_begin and of_window("window_events") is None
        newest = None if begins else run.newest(stream, size_ms)
        assert of_window("late_events_total") == late[stream, size_ms], f"late of {stream} {window}"
        verdicts = {dict(key)["verdict"] for key in samples["windows_closed_total"]}
        for verdict in verdicts:
            of_verdict = _reader(samples, stream=stream, window=window, verdict=verdict)
            closed = run.closed[stream, size_ms, verdict]
            assert of_verdict("windows_closed_total") == closed, (
                f"windows closed: {stream} {window} {verdict}"
            )
            if newest is not None:
                is_own = verdict == newest["verdict"]
                assert of_verdict("window_verdict") == is_own, f"verdict of {stream} {window}: {newest}"
        events = of_window("window_events")
        assert events == (newest and newest["count"]), f"events of {stream} {window}: {events}, {newest}"
        if newest is not None:
            p_value = of_window("window_p_value")
            assert p_value == newest["p_value"], f"p-value of {stream} {window}"
    applied = run.applied
    for labels, value in samples.get("applied_events_total", {}).items():
        assert value == applied[dict(labels)["stream"]], f"applied: {labels}"


def check_status(run: Run) -> None:
    """The states are those of the results; what is green was seen a short while ago."""
    deployment = run.replicas[0].deployment
    visit = run.page.visit(deployment.settings)
    statuses = visit.statuses()
    for stream, status in statuses.items():
        spec = run.spec_of(deployment, stream)
        sizes = {each["window"]: each for each in status["sizes"]}
        has_drift = False
        for size_ms in spec.sizes_ms:
            window = format_duration(size_ms)
            newest, concluded = run.newest(stream, size_ms), run.newest(stream, size_ms, *CONCLUSIVE)
            assert (newest is None) == (window not in sizes), f"page: {stream} {window}"
            if newest is None:
                continue
            for name in ("start", "count", "verdict", "revision", "events_lost"):
                assert sizes[window]["newest"][name] == newest[name], f"page: {name} of {stream} {window}"
            start = concluded and concluded["start"]
            assert sizes[window]["concluded"] == start, f"page: conclusion of {stream} {window}"
            alarms = [each["verdict"] for each in status["alarms"] if each["window"] == window]
            verdict = concluded and concluded["verdict"]
            assert (verdict in _ALARMS) == any(each in _ALARMS for each in alarms), (
                f"page: alarms of {stream}"
            )
            has_drift |= verdict == "drift"
            if status["state"] == "ok":
                is_faulty = newest["verdict"] == "incomplete" or newest["incomplete"] or newest["events_lost"]
                assert not is_faulty, f"green, but {stream} {window} lacks events"
                assert verdict in ("ok", None), f"green, but {stream} {window} says {verdict}"
        # The drift of a size that was removed is news until a configured one has concluded.
        known = {size_ms: run.newest(stream, size_ms, *CONCLUSIVE) for size_ms in _sizes(run).values()}
        says_state = {
            size_ms: each
            for size_ms, each in known.items()
            # A run of alarms with drift in it is told as drift, whatever its last window says.
            if each
            and each["verdict"] in (status["state"], *(["warning"] if status["state"] == "drift" else []))
        }
        # Another replica may have sizes that this one does not know.
        if all(each.deployment is deployment for each in run.replicas):
            # If the windows drift from the first one on, it is the baseline that does not fit.
            is_drift = status["state"] in ("drift", *["misfit"] * has_drift)
            assert has_drift <= is_drift, f"page: {stream} is {status['state']}"
            assert says_state or not is_drift, f"page: {stream} is drift"
        if status["state"] in _SEEN and not status["old"]:
            # By the documents: two windows, `allowed_disorder`, and the longer of two timeouts.
            patience_ms = spec.disorder_ms + max(spec.idle_ms, spec.incomplete_ms)
            seen = [
                each["published"] + 2 * size_ms + patience_ms >= run.now_ms
                for size_ms, each in says_state.items()
            ]
            assert any(seen), f"{status['state']}, but not seen: {stream}"
    if run.is_settled:
        counted = Counter(each["state"] for each in statuses.values())
        overview = visit.get("/").decode()
        for name, number in counted.items():
            assert f"{number} {STATES[name].counted}" in overview, f"overview: not {number} {name}"
        for stream, status in statuses.items():
            for each in status["sizes"]:
                body = visit.get("/", stream=stream, window=each["window"]).decode()
                own = STATES[status["state"]]
                colour = "insufficient" if status["old"] else own.colour
                said = re.findall(
                    r'class="verdict v-(\w+)".*?aria-hidden="true">(.*?)</span> (.*?)<', body, re.DOTALL
                )
                assert said == [(colour, own.symbol, own.words)], f"page of {stream}: {said}, not {own}"


def _sizes(run: Run) -> dict[str, int]:
    return {
        format_duration(size_ms): size_ms
        for each in run.deployments
        for spec in each.specs
        for size_ms in spec.sizes_ms
    }


def _reader(samples: Samples, **labels: str):
    return lambda name: samples.get(name, {}).get(frozenset(labels.items()))
