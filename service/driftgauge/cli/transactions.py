"""`driftgauge kafka transactions`: list and end hanging transactions in the service's topics."""

import time
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click
import orjson

from driftgauge.cli.options import config_option, read_settings
from driftgauge.cli.printing import json_option, message, print_blocks, print_json, print_line

if TYPE_CHECKING:
    from driftgauge.kafka.hanging.client import OperatorClient
    from driftgauge.kafka.hanging.model import Hang, TransactionOutcome
    from driftgauge.kafka.hanging.survey import Survey

__all__ = ["transactions_group"]


@click.group("transactions")
def transactions_group() -> None:
    """List or end hanging transactions, which block all readers of their partition.

    Needs the extra driftgauge[operator], and the rights to describe and alter the cluster and to read topics.
    """


@transactions_group.command("list")
@config_option
@json_option
@click.pass_context
def _list(ctx: click.Context, config_path: Path, *, as_json: bool) -> None:
    """List hanging transactions in the topics of a configuration and in the offsets of its groups.

    Exits with 1 if a transaction hangs or a partition could not be checked.
    """
    from driftgauge.kafka.hanging.client import OperatorClient
    from driftgauge.kafka.hanging.survey import Topics, survey

    settings = read_settings(config_path)
    with OperatorClient(settings.kafka) as client:
        found = survey(client, Topics.of(settings), _now_ms())
    _report(found)
    if as_json:
        print_json(_survey_record(found, [_hang_record(hang) for hang in found.hangs]))
    else:
        for hang in found.hangs:
            print_blocks([_describe(hang)])
    if found.hangs:
        message(f"To see the decisions, run: driftgauge kafka transactions resolve --config {config_path}")
    ctx.exit(1 if found.hangs or found.unasked else 0)


@transactions_group.command("resolve")
@config_option
@click.option(
    "--apply", "is_applied", is_flag=True, help="End the transactions; without it only print the decisions."
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object for each transaction.")
@click.pass_context
def _resolve(ctx: click.Context, config_path: Path, *, is_applied: bool, as_json: bool) -> None:
    """Commit or abort hanging transactions as their coordinator decided; leave undecidable ones alone.

    Exits with 1 if a transaction is left or a partition could not be checked.
    """
    from driftgauge.kafka.hanging.client import OperatorClient
    from driftgauge.kafka.hanging.evidence import decide_all
    from driftgauge.kafka.hanging.survey import Topics, survey

    settings = read_settings(config_path)
    topics = Topics.of(settings)
    left = 0
    with OperatorClient(settings.kafka) as client:
        found = survey(client, topics, _now_ms())
        _report(found)
        decisions = decide_all(client, topics, found.hangs)
        for hang, decision in zip(found.hangs, decisions, strict=True):
            outcome, problem = decision.outcome, None
            record = {**_hang_record(hang), "outcome": outcome, "reason": decision.reason, "ended": False}
            lines = [_describe(hang)]
            if outcome is None:
                problem = f"left alone: {decision.reason}"
            else:
                lines.append(f"  {'' if is_applied else 'would '}{outcome}: {decision.reason}")
                if is_applied:
                    problem = _end(client, hang, outcome)
                    record["ended"] = problem is None
            if problem is not None:
                lines.append(f"  {problem}")
                left += 1
            if as_json:
                print_line(orjson.dumps(record).decode())
            else:
                print_blocks(lines)
    if not is_applied and any(decision.outcome for decision in decisions):
        message("Nothing was changed. To end them so, run the same command with --apply")
    ctx.exit(1 if left or found.unasked else 0)


def _end(client: "OperatorClient", hang: "Hang", outcome: "TransactionOutcome") -> str | None:
    """End a transaction; return the problem, or None after success."""
    from driftgauge.kafka.hanging.survey import find_again

    if find_again(client, hang, _now_ms()) is None:
        return "not done: it has ended by itself, or its producer has begun another; run list again"
    client.end(hang.transaction, outcome)
    if find_again(client, hang, _now_ms()) is not None:
        return "still hangs: Kafka accepted the request without effect; see the log of the partition's leader"
    return None


def _report(found: "Survey") -> None:
    """Print the number of hanging transactions, and the topics and partitions that could not be checked."""
    from driftgauge.core.partition import name_partition

    for topic in found.missing:
        message(f"{topic}: the topic does not exist")
    for partition, reason in sorted(found.unasked.items()):
        message(f"{name_partition(partition)}: not checked, {reason}")
    summary = "1 transaction hangs" if len(found.hangs) == 1 else f"{len(found.hangs)} transactions hang"
    message(f"{summary} in {found.asked} partitions")


def _describe(hang: "Hang") -> str:
    from driftgauge.core.partition import name_partition

    transaction, coordinator = hang.transaction, hang.coordinator
    since = _last_write(hang)
    name = "unknown to every coordinator"
    state = ""
    if coordinator is not None:
        name = coordinator.transactional_id
        state = f"; coordinator, node {coordinator.node}: {coordinator.state}"
    return (
        f"{name_partition(transaction.partition)} from offset {transaction.start}: "
        f"producer {transaction.producer_id} epoch {transaction.epoch} ({name}), last wrote {since}{state}"
    )


def _survey_record(found: "Survey", transactions: list[dict[str, object]]) -> dict[str, object]:
    from driftgauge.core.partition import name_partition

    return {
        "checked_partitions": found.asked,
        "missing_topics": found.missing,
        "unchecked": {name_partition(partition): reason for partition, reason in found.unasked.items()},
        "transactions": transactions,
    }


def _hang_record(hang: "Hang") -> dict[str, object]:
    from driftgauge.core.partition import name_partition

    transaction, coordinator = hang.transaction, hang.coordinator
    return {
        "partition": name_partition(transaction.partition),
        "offset": transaction.start,
        "producer": transaction.producer_id,
        "epoch": transaction.epoch,
        "transactional_id": None if coordinator is None else coordinator.transactional_id,
        "last_wrote": _last_write(hang),
        "coordinator": None
        if coordinator is None
        else {"node": coordinator.node, "state": coordinator.state},
    }


def _last_write(hang: "Hang") -> str:
    return datetime.fromtimestamp(hang.transaction.last_ms / 1_000, UTC).isoformat(timespec="seconds")


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
