"""Metrics of a replica: readiness, Kafka partitions, the chain of partials, roles, process."""

from driftgauge.telemetry.metric import Metric

__all__ = ["REPLICA_METRICS"]

# The lowest bound fits a poll of a few records, the highest a commit that waits for the broker.
_DURATION_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)

# The lowest bound fits offsets that are known at once, the highest the end of a dead replica's transaction.
_RESTORE_BUCKETS = (0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 20.0, 40.0)

_PARTITION = ("topic", "partition")
_SHARD = ("shard",)
_ROLE = ("role",)

REPLICA_METRICS = (
    Metric(
        "driftgauge_batch_duration_seconds",
        ("phase",),
        "seconds",
        "Time spent in each phase. Counting has decode, count and commit; windows have apply, close and"
        " write.",
        buckets=_DURATION_BUCKETS,
    ),
    Metric(
        "driftgauge_ready",
        ("condition",),
        "1 or 0",
        "1 where a condition of readiness holds. Conditions: baselines_loaded; topics (Kafka describes"
        " every events topic); count and windows (the Kafka clients of the role have joined their group and"
        " are connected); clock (the offset from the brokers' clock is at most 2 s). A role that is not"
        " served is absent. The readiness probe requires all conditions.",
    ),
    Metric(
        "driftgauge_waiting",
        ("role", "reason"),
        "1",
        "1 while the role waits for brokers that refuse its clients, or do not answer. The reason is the"
        " Kafka client's name of the error: _AUTHENTICATION (login), _SSL, TOPIC_AUTHORIZATION_FAILED and the"
        " like (rights), _TRANSPORT (no connection). `/readyz` and the log have its text. Absent while they"
        " answer.",
    ),
    Metric(
        "driftgauge_clock_offset_seconds",
        _ROLE,
        "seconds",
        "This replica's clock minus the brokers' clock, by delivery reports of the internal topics. Beyond"
        " 2 s in either direction the replica stops counting. Absent before the first report.",
    ),
    Metric(
        "driftgauge_topic_partitions",
        ("topic",),
        "partitions",
        "Partitions of an events topic, or shards of the partials topic. All replicas together must hold"
        " every one. Absent until known.",
    ),
    Metric(
        "driftgauge_consumer_lag_messages",
        _PARTITION,
        "messages",
        "Unread records of an assigned partition or shard.",
    ),
    Metric(
        "driftgauge_consumer_position_offset",
        _PARTITION,
        "offset",
        "Offset of the next record to read from an assigned partition or shard.",
    ),
    Metric(
        "driftgauge_consumer_assigned_partitions",
        ("topic",),
        "partitions",
        "Partitions of the events topic, or shards of the partials topic, assigned to this replica.",
    ),
    Metric(
        "driftgauge_consumer_stopped_partitions",
        ("topic",),
        "partitions",
        "Assigned partitions or shards that are stopped, because state, committed offset and log do not"
        " match. The log names the reason.",
    ),
    Metric(
        "driftgauge_stable_offset_stalled_seconds",
        _PARTITION,
        "seconds",
        "Time for which the last stable offset of a partition has not moved and is below the high watermark:"
        " a transaction there does not end. Absent where the offset moves.",
    ),
    Metric(
        "driftgauge_unwritable_partitions",
        ("topic",),
        "partitions",
        "Partitions of an internal or output topic that this replica cannot write to: the last transaction"
        " failed there, or left out the affected shards. Absent where there are none.",
    ),
    Metric(
        "driftgauge_records_total",
        ("topic", "outcome"),
        "records",
        "Records read, at their commit, by outcome: accepted, filtered (by the topic's `where`) or rejected"
        " (dead-lettered). A record may hold several events. The rejected share of a topic is rejected /"
        " (accepted + rejected).",
    ),
    Metric(
        "driftgauge_records_rejected_total",
        ("topic", "stream", "reason"),
        "records",
        "Rejected records, by reason. The stream label is empty where the record's stream is not known or not"
        " configured; a constant of the topic's mapping is known of every record. A series starts with its"
        " first record on the replica.",
    ),
    Metric(
        "driftgauge_schema_waiting_partitions",
        ("topic",),
        "partitions",
        "Assigned partitions that are paused, because the schema registry has not answered for the schema of"
        " their next record. Absent where there are none.",
    ),
    Metric(
        "driftgauge_records_lost_total",
        ("topic",),
        "records",
        "Records that Kafka deleted before this replica read them.",
    ),
    Metric(
        "driftgauge_offsets_skipped_total",
        ("topic", "place"),
        "offsets",
        "Offsets that this replica passed without a record: transaction markers, aborted or compacted ones."
        " `start`: before the first record after it began to read, `between`: before later ones. A topic with"
        " `start` and without `between` may have lost records.",
    ),
    Metric(
        "driftgauge_partials_gap_total",
        _SHARD,
        "commits",
        "Commits of partials that start after the offset up to which the shard had counted. The events in"
        " between are missing. Kept in the shard's state.",
        shard_value=lambda position: position.gaps,
    ),
    Metric(
        "driftgauge_partials_overlap_total",
        _SHARD,
        "commits",
        "Commits of partials that start before the offset up to which the shard had counted. The events in"
        " between count twice. Kept in the shard's state.",
        shard_value=lambda position: position.overlaps,
    ),
    Metric(
        "driftgauge_partials_orphans_total",
        _SHARD,
        "records",
        "Partials dropped because their commit never became complete. Kept in the shard's state.",
        shard_value=lambda position: position.orphans,
    ),
    Metric(
        "driftgauge_consumer_rebalances_total",
        ("role", "kind"),
        "rebalances",
        "Changes of a role's assignment: assigned, revoked, lost (removed without notice).",
    ),
    Metric(
        "driftgauge_restore_duration_seconds",
        _ROLE,
        "seconds",
        "Time from an assignment until the role works on the assigned partitions.",
        buckets=_RESTORE_BUCKETS,
    ),
    Metric(
        "driftgauge_commits_total",
        ("role", "outcome"),
        "commits",
        "Transactions of a role: ok, or aborted. An aborted transaction leaves nothing behind and is made"
        " again.",
    ),
    Metric(
        "driftgauge_sessions_lost_total",
        _ROLE,
        "sessions",
        "Replacements of a role's Kafka clients, after an outage or because another process fenced them.",
    ),
    Metric(
        "driftgauge_last_poll_timestamp_seconds",
        _ROLE,
        "seconds since the epoch, wall time",
        "Time of the role's last poll. 0 before the first.",
    ),
    Metric(
        "driftgauge_log_messages_total",
        ("level",),
        "messages",
        "Messages logged: debug, info, warning, error, critical.",
    ),
    Metric(
        "driftgauge_logins_refused_total",
        ("reason",),
        "logins",
        "Logins over HTTP that were refused: wrong (no such user, or another password), limited (too many"
        " wrong ones from the address) or busy (too many wait for their check). A request without a login is"
        " not counted.",
    ),
    Metric(
        "driftgauge_web_config_valid",
        (),
        "1 or 0",
        "0 while the web configuration file, or a certificate that it names, has changed and cannot be used:"
        " what it said before holds, and the log has the reason. 1 otherwise, also without a file.",
    ),
    Metric(
        "driftgauge_mark_timestamp_seconds",
        ("stream", "text"),
        "seconds since the epoch",
        "Time of the newest deployment mark of a stream; an empty stream stands for all. Replicas that serve"
        " the page export it.",
    ),
    Metric("driftgauge_build_info", ("version",), "none, always 1", "Running version."),
)
