"""Evaluation of expressions by Prometheus on constant series."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import yaml

from tests.deploy.test_rules import promtool

REPLICA = {"job": "driftgauge", "namespace": "ml", "instance": "a:9464"}
_NOW_S = 300


def series(name: str, value: float, /, **labels: str) -> dict[str, str]:
    """A constant series in the notation of promtool's unit tests."""
    inside = ", ".join(f'{label}="{text}"' for label, text in labels.items())
    return {"series": f"{name}{{{inside}}}", "values": f"{value!r}x10"}


def assert_results(
    folder: Path, inputs: Sequence[Mapping[str, str]], expected: Sequence[tuple[str, float | None]]
) -> None:
    """Assert the results of expressions after five minutes.

    Args:
        folder: A folder for temporary files.
        inputs: The scraped series.
        expected: Expressions and the sum of each result; None for an empty result.
    """
    path = folder / "values.test.yml"
    test = {
        "interval": "1m",
        "input_series": list(inputs),
        "promql_expr_test": [
            {
                "expr": f"sum({expr})",
                "eval_time": f"{_NOW_S}s",
                "exp_samples": [] if value is None else [{"labels": "{}", "value": value}],
            }
            for expr, value in expected
        ],
    }
    path.write_text(yaml.safe_dump({"evaluation_interval": "1m", "tests": [test]}))
    promtool("test", "rules", path)
