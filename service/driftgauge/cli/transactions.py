"""`driftgauge kafka transactions`: list and end hanging transactions in the service's topics."""

import time
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click

from driftgauge.cli.options import config_option, progress, read_settings

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
@click.pass_context
def _list(ctx: click.Context, config_path: Path) -> None:
    """List hanging transactions in the topics of a configuration and in the offsets of its groups.

    Exits with 1 if a transaction hangs or a partition could not be checked.
    """
    from driftgauge.kafka.hanging.client import OperatorClient
    from driftgauge.kafka.hanging.survey import Topics, survey

    settings = read_settings(config_path)
    with OperatorClient(settings.kafka) as client:
        found = survey(client, Topics.of(settings), _now_ms())
    _report(found)
    for hang in found.hangs:
        click.echo(_describe(hang))
    if found.hangs:
        progress(f"To see the decisions, run: driftgauge kafka transactions resolve --config {config_path}")
    ctx.exit(1 if found.hangs or found.unasked else 0)


@transactions_group.command("resolve")
@config_option
@click.option(
    "--apply", "is_applied", is_flag=True, help="End the transactions; without it only print the decisions."
)
@click.pass_context
def _resolve(ctx: click.Context, config_path: Path, *, is_applied: bool) -> None:
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
            click.echo(_describe(hang))
            outcome, problem = decision.outcome, None
            if outcome is None:
                problem = f"left alone: {decision.reason}"
            else:
                click.echo(f"  {'' if is_applied else 'would '}{outcome}: {decision.reason}")
                if is_applied:
                    problem = _end(client, hang, outcome)
            if problem is not None:
                click.echo(f"  {problem}")
                left += 1
    if not is_applied and any(decision.outcome for decision in decisions):
        progress("Nothing was changed. To end them so, run the same command with --apply")
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
        progress(f"{topic}: the topic does not exist")
    for partition, reason in sorted(found.unasked.items()):
        progress(f"{name_partition(partition)}: not checked, {reason}")
    summary = "1 transaction hangs" if len(found.hangs) == 1 else f"{len(found.hangs)} transactions hang"
    progress(f"{summary} in {found.asked} partitions")


def _describe(hang: "Hang") -> str:
    from driftgauge.core.partition import name_partition

    transaction, coordinator = hang.transaction, hang.coordinator
    since = datetime.fromtimestamp(transaction.last_ms / 1_000, UTC).isoformat(timespec="seconds")
    name = "unknown to every coordinator"
    state = ""
    if coordinator is not None:
        name = coordinator.transactional_id
        state = f"; coordinator, node {coordinator.node}: {coordinator.state}"
    return (
        f"{name_partition(transaction.partition)} from offset {transaction.start}: "
        f"producer {transaction.producer_id} epoch {transaction.epoch} ({name}), last wrote {since}{state}"
    )


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
