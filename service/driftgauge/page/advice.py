"""What to do next about a stream, in short; the runbooks say more."""

from shlex import quote

from driftgauge.page.service_watch import HOUR_MS, FaultName, ServiceFault
from driftgauge.page.states import STATES
from driftgauge.page.status import Alarm, StreamStatus
from driftgauge.page.story import segment_before, tell_service_fault, tell_start
from driftgauge.page.summary import CALIBRATED
from driftgauge.page.words import as_sentence
from driftgauge.statistic_words import words_of_kind

__all__ = ["next_steps", "remedy_of", "runbook_of", "silence_of"]

_NOT_CALIBRATED = (
    "How much clean windows of {size} vary is not measured, so chance may be part of this: declare a clean "
    "time as warm_up, or fit the baseline on events with times and --window {size}."
)
_NEW_NORMAL = (
    "If these inputs are the new normal, fit a baseline on them; if the model does not handle them, "
    "retrain it first."
)
_BY_STATE: dict[str, tuple[str, ...]] = {
    "misfit": (
        "Check that the baseline is this model's and the same in all replicas; else fit one on clean events.",
        "If the stream was not in order while its windows were measured, declare a clean time as warm_up.",
    ),
    "incomplete": (
        "If partitions are missing, wait: a corrected window follows by itself once they are read.",
        "If it stays so, see which replica reads them, and how far it is: driftgauge_consumer_lag_records by "
        "instance and partition.",
        "If none is missing, see that all replicas have the same baselines, windows and segments.",
    ),
    "refused": (
        "See why: driftgauge dead-letters show; then tell the producers, or correct the mapping.",
        "Send the records back after a mend: driftgauge dead-letters requeue.",
    ),
    "late": (
        "Find the producers whose events are old: the log names the first offset of late events.",
        "If old events are sent again, wait; if producers are always so late, raise allowed_disorder "
        "or allowed_lateness.",
    ),
    "silent": (
        "Check that producers still send events, then that none are refused: driftgauge dead-letters list.",
        "If events come, see whether all are late: driftgauge_late_events_total.",
        "If the stream pauses by design, raise its overdue_after.",
    ),
    "behind": (
        "If records are not read yet, wait while old events are read again; otherwise see whether the lag "
        "falls, or add replicas.",
        "If all are read, find whether the events themselves come late, a partition without events holds "
        "the windows back until its idle_timeout, or the role windows is behind: look at the lag of the "
        "partials topic.",
    ),
    "unclear": (
        "If the segment has too few events, check that they are still sent, or add longer windows.",
        "If it only warns, find what changed for it alone; if it is a misfit, fit a new baseline.",
    ),
    "warming_up": (
        "See that the events are as they should be, then wait.",
        "If the events changed while they were measured, find what changed.",
    ),
    "waiting": (
        "Check that producers send events under this name, then that none are refused: driftgauge "
        "dead-letters list.",
    ),
    "ok": ("Nothing needs to be done.",),
}
_SLOW_DRIFT = "DriftgaugeSlowDrift"

_AGAINST: dict[FaultName, tuple[str, str]] = {
    "missing_topic": ("create it, or correct topics.events", "DriftgaugePartitionsBlocked"),
    "hidden_topic": ("do what it says", "DriftgaugePartitionsBlocked"),
    "no_leader": ("repair the brokers that hold them", "DriftgaugeConsumerStuck"),
    "no_heartbeat": ("see whether replicas run, then their log and /readyz", "DriftgaugeDown"),
    "not_polling": ("restart the replica, and report its log", "DriftgaugeConsumerStuck"),
    "not_ready": ("do what it says", "DriftgaugePartitionsBlocked"),
    "transaction": ("follow the runbook before you abort anything", "DriftgaugeTransactionHanging"),
    "schema": ("check the schema registry", "DriftgaugePartitionsBlocked"),
    "unwritable": ("check their leaders and in-sync replicas", "DriftgaugePartitionsBlocked"),
    "stopped": ("do what the log of the replica says", "DriftgaugePartitionsStopped"),
    "restore": ("do what the log of the replica says", "DriftgaugePartitionsBlocked"),
    "refused": ("see why: driftgauge dead-letters show", "DriftgaugeRecordsRejected"),
    "surplus": ("raise most of the entry, or stop who sends these names", "DriftgaugeCountsInDoubt"),
}
"""What to do about a fault of the service, and its runbook."""


def remedy_of(fault: ServiceFault) -> tuple[str, str]:
    """Return what to do about a fault of the service, and the name of its runbook."""
    return _AGAINST[fault.name]


def next_steps(status: StreamStatus) -> tuple[str, ...]:
    """Return what to do about a stream, in sentences."""
    if status.state == "ok" and status.told is not None:
        start = tell_start(status.told)
        if status.is_unsettled:
            return (
                f"See that the new baseline was meant for what changed {start}; else restore the old one.",
            )
        return (f"Nothing needs to be done now; find what the drift was that began {start}.",)
    if status.state == "ok" and any(each.name == "insufficient" for each in status.concerns):
        return (
            "If so few events are usual at this hour, nothing needs to be done; if not, check that producers "
            "still send them.",
        )
    if (alarm := status.leading) is not None:
        # If the baseline does not fit, no change of the events explains the alarm.
        is_misfit = any(each.name == "misfit" for each in status.concerns)
        return (*_BY_STATE["misfit"], _NEW_NORMAL) if is_misfit else _against_alarm(alarm, status)
    if status.state != "insufficient" or status.lead is None:
        causes = [f"{tell_service_fault(each)}: {remedy_of(each)[0]}" for each in status.held_up_by]
        return (*map(as_sentence, causes), *_BY_STATE[status.state])
    facts = status.lead.facts
    hourly = max(round(int(facts.newest["count"]) * HOUR_MS / facts.series.size_ms), 1)
    return (
        f"Ask how long windows must be for this traffic: driftgauge plan --events-per-hour {hourly}.",
        "If traffic has fallen, find out why.",
    )


def runbook_of(status: StreamStatus) -> str | None:
    """Return the name of the runbook for a status; None if nothing is wrong."""
    alarm = status.leading
    # Slow drift that has become drift has the alert of any drift.
    if alarm is not None and status.state == "warning" and alarm.is_slow:
        return _SLOW_DRIFT
    return STATES[status.state].runbook or None


def silence_of(status: StreamStatus) -> str | None:
    """Return the command that silences every alert on a stream's drift for four hours; None without an alert.

    Its windows of different lengths fire different alerts, and an hour later others.
    """
    if not status.has_alert:
        return None
    names = "|".join(sorted({*(STATES[state].runbook for state in ("drift", "segment")), _SLOW_DRIFT}))
    stream = status.stream.replace("\\", r"\\").replace('"', r"\"")
    matchers = f'alertname=~"{names}"', f'stream="{stream}"'
    return f"amtool silence add {' '.join(map(quote, matchers))} --duration=4h --comment='being looked into'"


def _against_alarm(alarm: Alarm, status: StreamStatus) -> tuple[str, ...]:
    """Return what to do about an alarm."""
    when, words = tell_start(alarm), alarm.kind and words_of_kind(alarm.kind)
    if alarm.segments:
        step = f"Find what changed for {alarm.segments} alone {when}."
    elif alarm.is_slow:
        step = f"Find what changed {when}: small evidence has added up since then."
    else:
        first = segment_before(alarm, status)
        step = f"Find what changed {when}: a release, a client, a campaign, a fault upstream."
        if first:
            step = f"Find what changed for {first.segments} {tell_start(first)}, then for all events {when}."
    is_calibrated = alarm.evidence["flags"] & CALIBRATED
    return (
        step,
        *([words.advice] if words else []),
        "If it is a fault, fix it" + ("; the alarm ends a few windows later." if status.has_alert else "."),
        _NEW_NORMAL,
        *([] if is_calibrated else [_NOT_CALIBRATED.format(size=alarm.size)]),
    )
