"""`python -m tests.simulation.alerts`: the shipped rules on some runs, evaluated by promtool.

A replica's metrics are scraped after each closing round, a minute apart. Every drift that was published must
have fired, also one that no scrape saw, and no other; at the end those fire whose alarm is active.
"""

import logging
import subprocess
import tempfile
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import yaml

from driftgauge.core.durations import format_duration
from tests.options import parse_options
from tests.output import say
from tests.simulation.page import Samples, read_metrics
from tests.simulation.plan import Plan, draw
from tests.simulation.run import Run

_RULES = Path(__file__).parents[2] / "deploy/kubernetes/chart/files/rules/driftgauge-alerts.yml"
_METRICS = (
    "alarm_active",
    "drifts_passed_total",
    "stream_info",
    "window_verdict",
    "window_end_timestamp_seconds",
)


def rules_test(plan: Plan) -> dict[str, Any]:
    """Return promtool's test of one plan."""
    scrapes: list[Samples] = []
    looks = [(step, ("look",)) if step[0] in ("close", "settle") else (step,) for step in plan.steps]
    plan = replace(plan, steps=(("look",), *(step for steps in looks for step in steps)))
    run = Run(plan, lambda run: scrapes.append(read_metrics(each.telemetry for each in run.replicas)))
    run.carry_out()
    # So many scrapes show the beginning and the end.
    scrapes = [scrapes[0]] * 15 + scrapes + [scrapes[-1]] * 30
    series = run.closed.keys()
    drifted = {(stream, size_ms) for stream, size_ms, verdict in series if verdict == "drift"}
    active = {key[:2] for key in run.results if run.has_alarm(*key[:2])}
    shown = {(dict(labels)["stream"], dict(labels)["window"]) for labels in scrapes[-1]["alarm_active"]}
    incomplete = {key[:2] for key in run.results if run.newest(*key[:2])["verdict"] == "incomplete"}
    firing = 'alertname="{}",reason="{}",alertstate="firing"'
    expected = (
        (f"max_over_time(ALERTS{{{firing.format('DriftgaugeDrift', 'active|passed')}}}[1d])", drifted),
        (f"ALERTS{{{firing.format('DriftgaugeDrift', 'active')}}}", active),
        (f"ALERTS{{{firing.format('DriftgaugeWindowsInconclusive', 'incomplete')}}}", incomplete),
    )
    return {
        "interval": "1m",
        "input_series": [*_series(scrapes)],
        "promql_expr_test": [
            {
                "expr": f"group by (stream, window) ({expr.replace('reason=', 'reason=~')})",
                "eval_time": f"{len(scrapes) - 1}m",
                "exp_samples": [
                    {"labels": f'{{stream="{stream}", window="{window}"}}', "value": 1}
                    for stream, window in sorted((each, format_duration(size_ms)) for each, size_ms in found)
                    if (stream, window) in shown
                ],
            }
            for expr, found in expected
        ],
    }


def _series(scrapes: list[Samples]) -> Iterable[dict[str, str]]:
    for name in _METRICS:
        for labels in sorted({each for scrape in scrapes for each in scrape.get(name, {})}, key=sorted):
            values = [scrape.get(name, {}).get(labels) for scrape in scrapes]
            texts = [
                f"{value:.17g}" if value is not None else "stale" if before is not None else "_"
                for before, value in zip([None, *values], values, strict=False)
            ]
            inside = ", ".join(f'{key}="{value}"' for key, value in sorted(labels))
            yield {"series": f'driftgauge_{name}{{job="driftgauge", {inside}}}', "values": " ".join(texts)}


def main() -> None:
    options = parse_options(__doc__, runs=20, seed=0)
    logging.disable(logging.CRITICAL)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "simulated.test.yml"
        for seed in range(options.seed, options.seed + options.runs):
            tree = {
                "rule_files": [str(_RULES)],
                "evaluation_interval": "1m",
                "tests": [rules_test(draw(seed))],
            }
            path.write_text(yaml.safe_dump(tree), "utf-8")
            done = subprocess.run(
                ["promtool", "test", "rules", path], capture_output=True, text=True, check=False
            )
            say(f"SEED={seed}: {'ok' if done.returncode == 0 else done.stdout + done.stderr}")


if __name__ == "__main__":
    main()
