"""Metrics of a replica, which its observers set: readiness, partitions, records, commits, the web server."""

from typing import Any

from prometheus_client import Counter, Gauge, Histogram

from driftgauge.telemetry.metric import ObservedMetric

__all__ = [
    "ABORTED",
    "ASSIGNED",
    "BLOCKED",
    "BUILD_INFO",
    "CLOCK_OFFSET",
    "COMMITS",
    "COMMIT_LIMIT",
    "DURATION",
    "EVENTS",
    "LAG",
    "LOGINS_REFUSED",
    "MARK",
    "MEMORY_LIMIT",
    "OFFSETS_SKIPPED",
    "PARTITIONS",
    "POSITION",
    "READY",
    "RECORDS",
    "REJECTED",
    "REPLICA_METRICS",
    "SESSIONS_LOST",
    "STALLED",
    "STREAM_RECORDS",
    "WAITING",
    "WEB_CONFIG_VALID",
]

# The lowest bound fits a poll of a few records, the highest a commit that waits for the broker.
_DURATION_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)

_PARTITION = ("topic", "partition")

EVENTS = ObservedMetric(
    "driftgauge_events_total",
    ("stream",),
    "events",
    "Accepted events at their commit, those that are counted as late or as surplus among them. A record may"
    " hold several. A stream's series starts with its first event on the replica, so rate() misses the first"
    " commit. Of a pattern the first `most` names on the replica have series of their own, and all others"
    " together that of the pattern.",
    Counter,
)
RECORDS = ObservedMetric(
    "driftgauge_records_total",
    ("topic", "outcome"),
    "records",
    "Records read, at their commit, by outcome: accepted, filtered (by the topic's `where`) or rejected"
    " (dead-lettered). A record may hold several events; one wrong event refuses it. The rejected share of a"
    " topic is rejected / (accepted + rejected), of records and not of events.",
    Counter,
)
STREAM_RECORDS = ObservedMetric(
    "driftgauge_stream_records_total",
    ("stream",),
    "records",
    "Records with accepted events of a stream, at their commit; one with events of several streams counts for"
    " each. Names and starts of series are as for driftgauge_events_total. The rejected share of a stream is"
    " its driftgauge_records_rejected_total over both together.",
    Counter,
)
REJECTED = ObservedMetric(
    "driftgauge_records_rejected_total",
    ("topic", "stream", "reason"),
    "records",
    "Rejected records, by reason. The stream label is empty if the record's stream is not known or not"
    " configured; a constant of the topic's mapping is known of every record. Names of a pattern have series"
    " as those of driftgauge_events_total. A series starts with its first record on the replica; that of the"
    " reason `fault` is there from the start.",
    Counter,
)
OFFSETS_SKIPPED = ObservedMetric(
    "driftgauge_offsets_skipped_total",
    ("topic", "place"),
    "offsets",
    "Offsets that this replica passed without a record. `deleted`: records that Kafka deleted, or that a"
    " truncated log lost, before they were read. The others are transaction markers, aborted or compacted"
    " records: `start` before the first record after the replica began to read, `between` before later"
    " ones. A topic with `start` and without `between` may have lost records.",
    Counter,
)
PARTITIONS = ObservedMetric(
    "driftgauge_topic_partitions",
    ("topic",),
    "partitions",
    "Partitions of an events topic, or shards of the partials topic. All replicas together must hold every"
    " one. Absent until known.",
    Gauge,
)
ASSIGNED = ObservedMetric(
    "driftgauge_consumer_assigned_partitions",
    ("topic",),
    "partitions",
    "Partitions of the events topic, or shards of the partials topic, assigned to this replica.",
    Gauge,
)
BLOCKED = ObservedMetric(
    "driftgauge_blocked_partitions",
    ("topic", "reason"),
    "partitions",
    "Partitions on which this replica cannot work. Reasons: stopped (an assigned partition or shard whose"
    " state, committed offset and log do not match), schema (an assigned partition that is paused until the"
    " schema registry answers), unwritable (a partition of an internal or output topic to which the last"
    " transaction could not write), transaction (one with a transaction that does not end), restore (an"
    " assigned one whose start has been waited for for 10 s). `/readyz`, the page and the log name the"
    " partitions.",
    Gauge,
)
LAG = ObservedMetric(
    "driftgauge_consumer_lag_records",
    _PARTITION,
    "records",
    "Unread records of an assigned partition or shard.",
    Gauge,
)
POSITION = ObservedMetric(
    "driftgauge_consumer_position_offset",
    _PARTITION,
    "offset",
    "Offset of the next record to read from an assigned partition or shard.",
    Gauge,
)
STALLED = ObservedMetric(
    "driftgauge_stable_offset_stalled_seconds",
    _PARTITION,
    "seconds",
    "Time for which the last stable offset of a partition has not moved and is below the high watermark: a"
    " transaction there does not end. Absent while the offset moves.",
    Gauge,
)
COMMITS = ObservedMetric(
    "driftgauge_commits_total",
    ("role", "outcome"),
    "commits",
    "Transactions of a role: ok, or aborted. An aborted transaction leaves nothing behind and is made again.",
    Counter,
)
ABORTED = ObservedMetric(
    "driftgauge_commits_aborted_in_row",
    ("role", "cause"),
    "commits",
    "Transactions of a role that were aborted since the last one that was committed, by cause. slow: all"
    " partitions took records, but not all of them in time, so the next commits are smaller. unwritable: a"
    " partition took none. other: the log has the cause.",
    Gauge,
)
COMMIT_LIMIT = ObservedMetric(
    "driftgauge_commit_limit_ratio",
    ("role",),
    "ratio, 0 to 1",
    "Bound of what one commit of a role writes, over its most. It is halved if a commit took 6 s or timed"
    " out, and doubled after ten that took less than 2 s. Below 1 brokers or network are slow.",
    Gauge,
)
MEMORY_LIMIT = ObservedMetric(
    "driftgauge_memory_limit_bytes",
    (),
    "bytes",
    "Memory that the process may take before the kernel ends it: that of its container, or of the machine.",
    Gauge,
)
SESSIONS_LOST = ObservedMetric(
    "driftgauge_sessions_lost_total",
    ("role",),
    "sessions",
    "Replacements of a role's Kafka clients, after an outage or because another process fenced them.",
    Counter,
)
DURATION = ObservedMetric(
    "driftgauge_batch_duration_seconds",
    ("phase",),
    "seconds",
    "Time spent in each phase. Counting has decode, count and commit; windows have apply, close and write.",
    Histogram,
    _DURATION_BUCKETS,
)
READY = ObservedMetric(
    "driftgauge_ready",
    ("condition",),
    "1 or 0",
    "1 if a condition of readiness holds. Conditions: baselines_loaded; topics (Kafka describes every"
    " events topic); count and windows (the Kafka clients of the role have joined their group and are"
    " connected); clock (the offset from the brokers' clock is at most 2 s). A role that is not served is"
    " absent. The readiness probe requires all conditions.",
    Gauge,
)
WAITING = ObservedMetric(
    "driftgauge_waiting",
    ("role", "reason"),
    "1",
    "1 while the role waits for brokers that refuse its clients, or do not answer. The reason is the Kafka"
    " client's name of the error: _AUTHENTICATION (login), _SSL, TOPIC_AUTHORIZATION_FAILED and the like"
    " (rights), _TRANSPORT (no connection). `/readyz` and the log have its text. Absent while they answer.",
    Gauge,
)
CLOCK_OFFSET = ObservedMetric(
    "driftgauge_clock_offset_seconds",
    ("role",),
    "seconds",
    "This replica's clock minus the brokers' clock, as far as the last delivery report of the internal topics"
    " proves it: 0 if they may agree. Beyond 2 s in either direction the replica stops counting. Absent"
    " before the first report.",
    Gauge,
)
LOGINS_REFUSED = ObservedMetric(
    "driftgauge_logins_refused_total",
    ("reason",),
    "logins",
    "Logins over HTTP that were refused: wrong (no such user, or another password), limited (too many wrong"
    " ones from the address) or busy (too many wait for their check). A request without a login is not"
    " counted.",
    Counter,
)
WEB_CONFIG_VALID = ObservedMetric(
    "driftgauge_web_config_valid",
    (),
    "1 or 0",
    "0 while the web configuration file, or a certificate that it names, has changed and cannot be used:"
    " what it said before holds, and the log has the reason. 1 otherwise, also without a file.",
    Gauge,
)
MARK = ObservedMetric(
    "driftgauge_mark_timestamp_seconds",
    ("stream", "text"),
    "seconds since the epoch",
    "Time of the newest deployment mark of a stream; an empty stream stands for all. Replicas that serve the"
    " page export it.",
    Gauge,
)
BUILD_INFO = ObservedMetric(
    "driftgauge_build_info", ("version",), "none, always 1", "Running version.", Gauge
)

REPLICA_METRICS: tuple[ObservedMetric[Any], ...] = (
    *(EVENTS, RECORDS, STREAM_RECORDS, REJECTED, OFFSETS_SKIPPED),
    *(PARTITIONS, ASSIGNED, BLOCKED, LAG, POSITION, STALLED),
    *(COMMITS, ABORTED, COMMIT_LIMIT, SESSIONS_LOST, DURATION),
    *(READY, WAITING, CLOCK_OFFSET, LOGINS_REFUSED, WEB_CONFIG_VALID, MARK, MEMORY_LIMIT, BUILD_INFO),
)
