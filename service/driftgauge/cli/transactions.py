"""`driftgauge kafka transactions`: what hangs in the service's topics, and ending it."""

import time
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click

from driftgauge.cli.options import config_option, progress, settings_of

if TYPE_CHECKING:
    from driftgauge.kafka.hanging.client import OperatorClient
    from driftgauge.kafka.hanging.model import Hang, TransactionOutcome
    from driftgauge.kafka.hanging.survey import Survey

__all__ = ["transactions_group"]


@click.group("transactions")
def transactions_group() -> None:
    """Transactions that hang: nobody ends them, and readers wait behind them for ever.

    Needs the extra driftgauge[operator], and the rights to describe and alter the cluster and to read topics.
    """


@transactions_group.command("list")
@config_option
@click.pass_context
def _list(ctx: click.Context, config_path: Path) -> None:
    """Show what hangs in the topics of a configuration and in its groups' offsets.

    Exits with 1 when something hangs, or could not be asked.
    """
    from driftgauge.kafka.hanging.client import OperatorClient
    from driftgauge.kafka.hanging.survey import Topics, survey

    settings = settings_of(config_path)
    with OperatorClient(settings.kafka) as client:
        found = survey(client, Topics.of(settings), _now_ms())
    _report(found)
    for hang in found.hangs:
        click.echo(_describe(hang))
    if found.hangs:
        progress(f"How they would be ended: driftgauge kafka transactions resolve --config {config_path}")
    ctx.exit(1 if found.hangs or found.unasked else 0)


@transactions_group.command("resolve")
@config_option
@click.option(
    "--apply", "is_applied", is_flag=True, help="End them; otherwise only say how they would be ended."
)
@click.pass_context
def _resolve(ctx: click.Context, config_path: Path, *, is_applied: bool) -> None:
    """Commit or abort what hangs, as its coordinator had decided; what cannot be decided is left alone.

    Exits with 1 when something was left, or could not be asked.
    """
    from driftgauge.kafka.hanging.client import OperatorClient
    from driftgauge.kafka.hanging.evidence import decide_all
    from driftgauge.kafka.hanging.survey import Topics, survey

    settings = settings_of(config_path)
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
        progress("Nothing was changed. To end them as said: the same command with --apply")
    ctx.exit(1 if left or found.unasked else 0)


def _end(client: "OperatorClient", hang: "Hang", outcome: "TransactionOutcome") -> str | None:
    """End a transaction, and return what stood in the way."""
    from driftgauge.kafka.hanging.survey import find_again

    if find_again(client, hang, _now_ms()) is None:
        return "not done: it has ended by itself, or its producer has gone on; look again"
    client.end(hang.transaction, outcome)
    if find_again(client, hang, _now_ms()) is not None:
        return (
            "hangs still: Kafka took the order and did not follow it; see the log of the partition's leader"
        )
    return None


def _report(found: "Survey") -> None:
    """Say what was asked, and what was not."""
    from driftgauge.core.partition import name_partition

    for topic in found.missing:
        progress(f"{topic}: there is no such topic")
    for partition, reason in sorted(found.unasked.items()):
        progress(f"{name_partition(partition)}: not asked, {reason}")
    what = "1 transaction hangs" if len(found.hangs) == 1 else f"{len(found.hangs)} transactions hang"
    progress(f"{what} in {found.asked} partitions")


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
