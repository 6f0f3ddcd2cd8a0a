"""What happened to a stream, in sentences: whether it drifts, since when, how sure that is, and where."""

from collections.abc import Mapping

import numpy as np

from driftgauge.core.durations import format_duration, round_duration
from driftgauge.core.spec import Alarm as AlarmSpec
from driftgauge.core.statistics.divergence import DIVERGENCE
from driftgauge.core.statistics.novelty import NOVELTY, main_cluster
from driftgauge.events.timestamps import parse_timestamp
from driftgauge.page.service_watch import ServiceFault
from driftgauge.page.states import STATES
from driftgauge.page.status import CONCLUSIVE, Alarm, Concern, Run, StreamStatus
from driftgauge.page.summary import VERDICTS, Fault, fault_of
from driftgauge.page.words import (
    as_sentence,
    format_moment,
    format_number,
    format_percent,
    format_signed_percent,
    name_first,
)
from driftgauge.records.window_record import (
    ClusterRecord,
    EstimateRecord,
    NumberRecord,
    SegmentRecord,
    WindowRecord,
)
from driftgauge.statistic_words import WORDS, StatisticWords, words_of_kind

__all__ = [
    "NOTABLE",
    "adjusted_p_value",
    "cluster_name",
    "segment_before",
    "tell",
    "tell_age",
    "tell_cause",
    "tell_concern",
    "tell_fault",
    "tell_largest",
    "tell_numbers",
    "tell_service_fault",
    "tell_start",
    "tell_status",
]

# A cluster that moved by less is not worth a sentence.
_NAMED_PART = 0.1
NOTABLE = 0.01
"""The adjusted p-value of a segment, and the p-value of the divergence, below which a reader should hear of
the segment or of the clusters."""

_MAX_NAMED = 5
# Of the change of a number: the part of a cluster that is named alone, and that of a cause.
_LEADS, _MOSTLY = 0.5, 0.6
# The largest of fewer windows says little of what is usual.
_LEAST_USUAL = 20
_LEAST_COURSE = 6
_CONCLUSIONS = {VERDICTS[number] for number in CONCLUSIVE}
_NO_CLUSTER = "No cluster's share moved by more than chance."


def tell_start(alarm: Alarm) -> str:
    """Return the time in which an alarm began, such as "between … and …"."""
    if alarm.is_slow:
        return f"at about {format_moment(alarm.since_ms)}"
    seen = format_moment(alarm.seen_ms)
    return (
        f"before {seen}" if alarm.after_ms is None else f"between {format_moment(alarm.after_ms)} and {seen}"
    )


def tell_cause(status: StreamStatus) -> str:
    """Return what happened to the events of a stream with an alarm, in a sentence; empty without one.

    An alarm that its baseline's replacement has ended is told as well.
    """
    if (alarm := status.leading) is None:
        return f"Its last alarm ended {_tell_end(status.passed[0])}." if status.is_unsettled else ""
    first = segment_before(alarm, status)
    told = f"; first in {first.segments}" if first else f"; in {alarm.segments}" if alarm.segments else ""
    return f"{_tell_what(alarm)}{f' ({tell_size(alarm)})' if alarm.kind else ''}{told}."


def segment_before(alarm: Alarm, status: StreamStatus) -> Alarm | None:
    """Return the first alarm of segments that began before one of all events; None without any."""
    earlier = (each for each in status.alarms if each.segments and each.since_ms < alarm.since_ms)
    return None if alarm.segments else next(earlier, None)


def _tell_what(alarm: Alarm) -> str:
    if alarm.kind and (words := words_of_kind(alarm.kind)):
        # The excess of a segment has no sign.
        said = words.sentence if alarm.segments else words.describe(alarm.value)
        return f"{alarm.kind.capitalize()}: {said}"
    return "No single window stands out, but together they do" if alarm.is_slow else "The last windows differ"


def tell_size(alarm: Alarm) -> str:
    """Return the size of an alarm, such as "novelty 7.7 %"."""
    return _size(WORDS.get(alarm.number), alarm.value, has_sign=not alarm.segments)


def _tell_end(alarm: Alarm) -> str:
    """Return when an alarm has ended; if its baseline was replaced, that this says nothing of the drift."""
    if alarm.replaced is None:
        return f"at {format_moment(alarm.until_ms or alarm.since_ms)}"
    from_ms, before, after = alarm.replaced
    return (
        f"at {format_moment(from_ms)}, when baseline {after} replaced {before}: that does not say that the "
        "drift went away"
    )


def _size(words: StatisticWords | None, value: float | None, *, has_sign: bool = True) -> str:
    """Return the size that a statistic found; without one, that of slow drift."""
    if words is None:
        return f"together {format_number(value)} times the limit of slow drift"
    if words.is_share and words.by_sign and value is not None and has_sign:
        return f"{words.title.lower()} {format_signed_percent(value)}"
    return f"{words.title.lower()} {(format_percent if words.is_share else format_number)(value)}"


def tell_largest(excess: Mapping[str, float] | None, spec: AlarmSpec) -> str:
    """Return the excess of a segment that is largest in parts of what is large; a dash without any."""
    found = [
        (value / spec.floor(name), name) for name, value in (excess or {}).items() if spec.smallest.get(name)
    ]
    if not found:
        return format_number(None)
    _, name = max(found)
    return _size(WORDS.get(name), (excess or {})[name], has_sign=False)


def tell_status(status: StreamStatus, record: WindowRecord | None, spec: AlarmSpec) -> list[tuple[str, str]]:
    """Return what a stream's windows say, in sentences, each after what it answers.

    Args:
        status: The stream's status.
        record: The result of the window with the evidence of the alarm that is told; None if it cannot be
            read.
        spec: What is large.
    """
    alarm, fault = status.told, status.concern
    others = [as_sentence(tell_concern(each)) for each in status.concerns if each is not fault]
    also = [("Also", " ".join(others))] if others else []
    sight = [
        ("Sight", f"Its windows would miss {each}.") for each in status.sight[:1] if status.state == "ok"
    ]
    told = [*_tell_calm(status), *also, *sight] if status.leading is None else []
    if alarm is None:
        return told
    misfit = "Every window has differed from this baseline. " if fault is not None else ""
    what = f"{misfit}{_tell_what(alarm)}."
    facts = [
        ("Where", _tell_where(alarm, status, record)),
        ("How large", as_sentence(_size_by_usual(alarm, spec))),
        ("When", f"Began {tell_start(alarm)}, by windows of {alarm.size}."),
    ]
    if status.leading is None:
        return [*told, ("Last alarm", what), *facts, ("Ended", as_sentence(_tell_end(alarm)))]
    confirmed = f" Last confirmed {format_moment(status.concluded_ms)}." if status.concluded_ms else ""
    numbers = tell_numbers(record) if record is not None else []
    trend = ("Trend", f"{as_sentence(_trend(alarm))}{confirmed}")
    told = [("What", what), *facts, trend, *([("Numbers", " ".join(numbers))] if numbers else [])]
    return [*told, *_tell_other_sizes(status, alarm), *also]


def _tell_other_sizes(status: StreamStatus, alarm: Alarm) -> list[tuple[str, str]]:
    """Return what the windows of other configured sizes conclude, if that is not what the alarm says.

    A window that ended before the alarm began says nothing of its drift; faults of the data are told as such.
    """
    others = []
    for size in status.sizes:
        if size.size == alarm.size or size.is_removed:
            continue
        if size.concluded_ms is None or size.concluded_ms + size.facts.series.size_ms <= alarm.since_ms:
            others.append(f"{size.size}: no conclusion since it began")
        elif size.state in _CONCLUSIONS and size.state != status.state:
            others.append(f"{size.size}: {STATES[size.state].words.lower()}")
    return [("Other sizes", f"{', '.join(others)}. Each size judges by itself.")] if others else []


def _tell_calm(status: StreamStatus) -> list[tuple[str, str]]:
    """Return the sentences on a stream without an alarm: the fault of its data, and its last conclusion."""
    told = [] if status.concern is None else [("What", as_sentence(tell_concern(status.concern)))]
    every = [(size.facts.concluded, size.facts.series.size_ms, size.size) for size in status.sizes]
    ends = [(int(row["start_ms"]) + ms, row, size) for row, ms, size in every if row is not None]
    if ends:
        end_ms, row, size = max(ends, key=lambda each: each[0])
        words = STATES[VERDICTS[row["verdict"]]].words
        asked = "Before" if told else "What"
        told.append((asked, f"{words} up to {format_moment(end_ms)}, by windows of {size}."))
    return told


def _tell_where(alarm: Alarm, status: StreamStatus, record: WindowRecord | None) -> str:
    if alarm.segments:
        others = "other segments" if alarm.is_alone else "all events together"
        return f"In {alarm.segments}; {others} do not drift."
    earlier = segment_before(alarm, status)
    first = f"First in {earlier.segments}, {tell_start(earlier)}, then in all events. " if earlier else ""
    if record is None:
        return f"{first}The window's details cannot be read."
    if alarm.kind == NOVELTY.kind:
        return f"{first}{_novel(record)}"
    return f"{first}{' '.join(_where(record)) or _NO_CLUSTER}"


def _size_by_usual(alarm: Alarm, spec: AlarmSpec) -> str:
    """Return how large an alarm is, by ok windows before it, or else by what is large."""
    course, name, usual = alarm.course, alarm.number, "without drift it is about 0"
    if not alarm.is_slow and spec.smallest.get(name):
        usual = f"from {_amount(WORDS.get(name), spec.floor(name))} on it is large"
    if course.usual >= _LEAST_USUAL:
        usual = f"the last {course.usual} ok windows had at most {_amount(WORDS.get(name), course.most)}"
    return f"{f'in {alarm.segments} ' if alarm.segments else ''}{tell_size(alarm)}; {usual}"


def _trend(alarm: Alarm) -> str:
    course, words = alarm.course, WORDS.get(alarm.number)
    over = f"{'one window' if alarm.windows == 1 else f'{alarm.windows:,} windows'} of {alarm.size}"
    title = "evidence" if words is None else words.title.lower()
    if course.turn:
        way = "grows" if course.turn > 0 else "shrinks"
        return (
            f"{title} {way} from {_amount(words, course.first)} to {_amount(words, course.last)} over {over}"
        )
    is_known = alarm.windows >= _LEAST_COURSE
    return f"no clear trend of the {title} over {over}" if is_known else f"too early to say: {over}"


def _amount(words: StatisticWords | None, value: float) -> str:
    return format_percent(value) if words is not None and words.is_share else format_number(value)


def tell_fault(concern: Concern) -> str:
    """Return a fault of the data in words, such as "embeddings[3] not read to the end"."""
    detail = concern.detail
    return {
        "misfit": "every window differs from the baseline",
        "refused": f"{_extent(concern)} refused, most as {detail.replace('_', ' ')}",
        "late": f"{detail} came too late to be counted",
        "incomplete": _tell_doubt(concern.fault, detail),
        "silent": "no new window",
        "behind": f"windows come long after their end{_tell_unread(concern.unread)}",
        "insufficient": "too few events to see anything",
        "unclear": f"no window could tell whether {detail} drifts",
        "warming_up": _tell_measuring(concern),
        "waiting": "no window yet",
    }[concern.name]


def _tell_measuring(concern: Concern) -> str:
    """Return what is measured, and until when."""
    changed = "" if concern.since_ms is None else f"; the events changed at {format_moment(concern.since_ms)}"
    return f"how much clean windows vary is measured until {concern.detail}{changed}; only gross drift pages"


def _tell_doubt(fault: Fault, named: str) -> str:
    """Return what a window lacks in words, by the partitions or the reason that it names."""
    return {
        Fault.PARTITIONS_MISSING: f"{named} not read to the end",
        Fault.EVENTS_LOST: "events have been lost",
        Fault.COUNTED_TWICE: "events may have been counted twice",
        Fault.COUNTED_OTHERWISE: "counted under another baseline, or in other panes or segments",
        Fault.PANES_PURGED: "a part of the counts is missing",
    }.get(fault, f"the counts are in doubt ({named})" if named else "the counts are in doubt")


def tell_concern(concern: Concern) -> str:
    """Return a fault of the data with its size and start, such as "1h: events have been lost since …"."""
    size = f"{concern.size}: " if concern.size else ""
    since = {"warming_up": "", "behind": "; the newest ended at "}.get(concern.name, " since ")
    start = f"{since}{format_moment(concern.since_ms)}" if since and concern.since_ms is not None else ""
    newest = f" ({concern.extent} in the newest window)" if concern.name == "insufficient" else ""
    return f"{size}{tell_fault(concern)}{start}{newest}"


def _tell_unread(unread: int | None) -> str:
    if unread is None:
        return ""
    return f", and {unread:,} records are not read yet" if unread else ", although all records are read"


def _extent(concern: Concern) -> str:
    return f"of the records read in the last hour, {concern.extent} were" if concern.extent else "records are"


def tell_service_fault(fault: ServiceFault) -> str:
    """Return a fault of the service in words, such as "partitions have no leader: embeddings[3]"."""
    subject, detail = fault.subject, fault.detail
    by = f" (replica {fault.replicas})" if fault.replicas else ""
    return {
        "missing_topic": f"the topic {subject} does not exist",
        "hidden_topic": detail,
        "no_leader": f"partitions have no leader: {subject}",
        "no_heartbeat": f"no replica is known to serve {subject}{detail and ': '}{detail}",
        "not_polling": f"the role {subject} hangs: it does not poll Kafka",
        "not_ready": f"{subject}: {detail}",
        "transaction": f"a transaction does not end, and records after it are not read: {subject}",
        "schema": f"partitions wait for a schema: {subject}",
        "unwritable": f"partitions take no records: {subject}",
        "stopped": f"partitions are stopped, because their state, offset and log do not match: {subject}",
        "restore": f"the start of partitions is not known yet: {subject}",
        "refused": f"of the records of the topic {subject} read in the last hour, {detail} were refused and "
        f"name no stream, most as {fault.reason.replace('_', ' ')}",
        "surplus": f"{detail} read in the last hour are in no window: more streams match {subject} than its "
        "most",
    }[fault.name] + by


def tell_age(since_ms: int | None, now_ms: int) -> str:
    """Return " for 3 days"; empty if the start is unknown or not past."""
    return "" if since_ms is None or since_ms > now_ms else f" for {round_duration(now_ms - since_ms)}"


def tell(record: WindowRecord, run: Run, size_ms: int, *, is_told: bool = False) -> list[str]:
    """Return the story of a window in a few sentences, and of the run that it ends.

    `is_told` says that `tell_status` tells what happened, where, and of the numbers.
    """
    if record.verdict == "incomplete":
        return [*_why_incomplete(record), "Nothing is concluded from an incomplete window."]
    if record.verdict == "insufficient" or record.js_divergence is None or record.p_value is None:
        return [f"The window has {record.count:,} events, too few to be scored."]
    numbers = [] if is_told else tell_numbers(record)
    return [*_tell_inputs(record, run, size_ms, is_told=is_told), *numbers]


def _tell_inputs(record: WindowRecord, run: Run, size_ms: int, *, is_told: bool) -> list[str]:
    if record.verdict == "misfit":
        return [
            "The windows of the warm-up differ from the baseline: it does not fit the stream, or the stream "
            "had drifted before the warm-up ended. Since then nothing has changed."
        ]
    since = [_since(record, run, size_ms)]
    if record.verdict == "ok":
        small = "The window differs by more than chance makes, but by less than what counts as large."
        return since + [small] * (record.kind is not None)
    if record.kind is None:
        # Without a kind the window is not significant by itself.
        return _slow(record) or [*since, "This window by itself does not, but others and it together do."]
    return since if is_told else [*since, *_what(record), *_where(record)]


def tell_numbers(record: WindowRecord) -> list[str]:
    """Return how each number beside the embedding has changed, and by what, in a sentence each."""
    return [_tell_number(record, name, number) for name, number in record.numbers.items()]


def _tell_number(record: WindowRecord, name: str, number: NumberRecord) -> str:
    if number.mean is None:
        return f"No event has a number {name}."
    lack = " Some events were counted without it." if number.partial else ""
    mean, change, before = format_number(number.mean.value), number.change, number.baseline_mean
    if change is None or before is None:
        return f"Mean {name} is {mean}.{lack}"
    if not number.changed:
        return f"Mean {name} is {mean}, no clear change from the baseline's {format_number(before)}.{lack}"
    way = f"{'fell' if change.value < 0 else 'rose'} from {format_number(before)} to {mean}"
    return f"Mean {name} {way}, {_tell_part(record, number, change)}.{lack}"


def _tell_part(record: WindowRecord, number: NumberRecord, change: EstimateRecord) -> str:
    """Return by which parts a number has changed most, such as "mostly within cluster 7 (night)"."""
    parts = {
        "changes within clusters": number.within,
        "the mix of clusters": number.mix,
        "clusters that only one side has": number.unshared,
    }
    shares = {name: part.value / change.value for name, part in parts.items() if part is not None}
    first, second, _ = sorted(shares, key=lambda name: -shares[name])
    leading = " and ".join(cluster_name(record.clusters[each]) for each in number.movers[:2])
    if shares[first] < _MOSTLY:
        return f"by {first} and {second}, most in {leading}"
    held = [(each.within or 0.0) / change.value for each in number.clusters]
    if parts[first] is number.within and max(held) > _LEADS:
        return f"mostly within {cluster_name(record.clusters[held.index(max(held))])}"
    return f"mostly by {first}, most in {leading}"


def cluster_name(cluster: ClusterRecord) -> str:
    """Return "cluster 7 (truck)", or "cluster 7" if it has no name."""
    return f"cluster {cluster.id}" + (f" ({cluster.name})" if cluster.name else "")


def _why_incomplete(record: WindowRecord) -> list[str]:
    reasons = []
    if record.incomplete:
        named = name_first([f"{each.topic}[{each.partition}]" for each in record.incomplete], 3)
        verb = "is" if len(record.incomplete) == 1 else "are"
        reasons.append(f"{named} {verb} not read to the end. A corrected window follows by itself.")
    if record.events_lost:
        reasons.append("Kafka deleted events before they were read.")
    if record.counted_twice:
        reasons.append("Some events may have been counted twice.")
    elif (reason := record.incomplete_reason) is not None and not record.incomplete:
        reasons.append(as_sentence(_tell_doubt(fault_of(reason), reason.replace("_", " "))))
    return reasons


def _since(record: WindowRecord, run: Run, size_ms: int) -> str:
    few = f", and {run.few:,} between them with too few events" if run.few else ""
    windows = f"{run.windows:,} windows of {format_duration(size_ms)}"
    if record.verdict == "ok":
        of = " of all events together" if run.verdict == "segment" else ""
        last = f" in the last {windows}{few}" if run.windows > 1 else ""
        return f"No drift{of} was found{last}."
    where = f"{windows}{few}" if run.windows > 1 else f"one window of {format_duration(size_ms)}"
    before = "; no window before says otherwise" if run.after_ms is None else ""
    return f"The events of {record.stream} differ from the baseline in {where}{before}."


def _slow(record: WindowRecord) -> list[str]:
    if record.slow_drift is None or record.slow_drift.since is None:
        return []
    since = format_moment(parse_timestamp(record.slow_drift.since))
    return [f"This window does not stand out, but those since {since} do together."]


def adjusted_p_value(segment: SegmentRecord) -> float:
    """Return the adjusted p-value of a segment; 1 if it is not scored."""
    return 1.0 if segment.adjusted_p_value is None else segment.adjusted_p_value


def _what(record: WindowRecord) -> list[str]:
    # Another version may know more kinds.
    if record.kind is None or record.findings is None or not (words := words_of_kind(record.kind)):
        return []
    value = next(each.value for each in record.findings.values() if each.kind == record.kind)
    return [f"{record.kind.capitalize()}: {words.describe(value)} ({_size(words, value)})."]


def _novel(record: WindowRecord) -> str:
    cluster = main_cluster(np.array([each.novelty_contribution or 0.0 for each in record.clusters]))
    return (
        "Near no cluster in particular."
        if cluster is None
        else f"Mostly near {cluster_name(record.clusters[cluster])}."
    )


def _where(record: WindowRecord) -> list[str]:
    # The shares of clusters move by chance as well.
    divergence = (record.findings or {}).get(DIVERGENCE.name)
    if divergence is None or divergence.p_value >= NOTABLE or not record.js_divergence:
        return []
    moved = [record.clusters[cluster] for cluster in record.movers if cluster < len(record.clusters)]
    named = [
        cluster for cluster in moved if (cluster.js_contribution or 0.0) >= _NAMED_PART * record.js_divergence
    ]
    if not named:
        return []
    parts = [
        f"{cluster_name(cluster)} went from {format_percent(cluster.baseline_share)} of the events to "
        f"{format_percent(cluster.share)}"
        for cluster in named
    ]
    return [as_sentence(", ".join(parts))]
