"""`driftgauge kafka transactions`: what hangs in the service's topics, and ending it."""

import time
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click

from driftgauge.cli.options import config_option, progress, settings_of

if TYPE_CHECKING:
    from driftgauge.kafka.hanging.model import Hang
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
    from driftgauge.kafka.hanging.survey import Topics, is_still_open, survey

    settings = settings_of(config_path)
    topics = Topics.of(settings)
    left = decided = 0
    with OperatorClient(settings.kafka) as client:
        found = survey(client, topics, _now_ms())
        _report(found)
        for hang, decision in zip(found.hangs, decide_all(client, topics, found.hangs), strict=True):
            click.echo(_describe(hang))
            if decision.outcome is None:
                click.echo(f"  left alone: {decision.reason}")
                left += 1
                continue
            decided += 1
            click.echo(f"  {'' if is_applied else 'would '}{decision.outcome}: {decision.reason}")
            if is_applied:
                client.end(hang.transaction, decision.outcome)
                if is_still_open(client, hang.transaction):
                    click.echo(
                        "  is still open: Kafka took the marker and did not apply it; see the leader's log"
                    )
                    left += 1
    if decided and not is_applied:
        progress("Nothing was changed. To end them as said: the same command with --apply")
    ctx.exit(1 if left or found.unasked else 0)


def _report(found: "Survey") -> None:
    """Say what was asked, and what was not."""
    from driftgauge.kafka.hanging.model import say

    for topic in found.missing:
        progress(f"{topic}: there is no such topic")
    for partition, reason in sorted(found.unasked.items()):
        progress(f"{say(partition)}: not asked, {reason}")
    what = "1 transaction hangs" if len(found.hangs) == 1 else f"{len(found.hangs)} transactions hang"
    progress(f"{what} in {found.asked} partitions")


def _describe(hang: "Hang") -> str:
    from driftgauge.kafka.hanging.model import say

    transaction, coordinator = hang.transaction, hang.coordinator
    since = datetime.fromtimestamp(transaction.last_ms / 1_000, UTC).isoformat(timespec="seconds")
    name = "unknown to every coordinator"
    state = ""
    if coordinator is not None:
        name = coordinator.transactional_id
        state = f"; coordinator, node {coordinator.node}: {coordinator.state}"
    return (
        f"{say(transaction.partition)} from offset {transaction.start}: producer {transaction.producer_id} "
        f"epoch {transaction.epoch} ({name}), last wrote {since}{state}"
    )


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
