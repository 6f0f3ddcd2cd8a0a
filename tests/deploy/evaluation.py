"""Evaluation of expressions by Prometheus on constant series."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import yaml

from tests.deploy.test_rules import promtool

REPLICA = {"job": "driftgauge", "namespace": "ml", "instance": "a:9464"}
_NOW_S = 300


def series(name: str, value: float, /, **labels: str) -> dict[str, str]:
    """A constant series in the notation of promtool's unit tests."""
    inside = ", ".join(f"{label}={json.dumps(text, ensure_ascii=False)}" for label, text in labels.items())
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
    _assert_samples(
        folder,
        inputs,
        [
            (f"sum({expr})", [] if value is None else [{"labels": "{}", "value": value}])
            for expr, value in expected
        ],
    )


def assert_series(
    folder: Path,
    inputs: Sequence[Mapping[str, str]],
    expr: str,
    expected: Sequence[tuple[Mapping[str, str], float]],
) -> None:
    """Assert the labels and values of an expression's result after five minutes."""
    samples = [
        {"labels": series("", value, **labels)["series"], "value": value} for labels, value in expected
    ]
    _assert_samples(folder, inputs, [(expr, samples)])


def _assert_samples(
    folder: Path,
    inputs: Sequence[Mapping[str, str]],
    expected: Sequence[tuple[str, Sequence[Mapping[str, object]]]],
) -> None:
    path = folder / "values.test.yml"
    test = {
        "interval": "1m",
        "input_series": list(inputs),
        "promql_expr_test": [
            {"expr": expr, "eval_time": f"{_NOW_S}s", "exp_samples": samples} for expr, samples in expected
        ],
    }
    path.write_text(yaml.safe_dump({"evaluation_interval": "1m", "tests": [test]}))
    promtool("test", "rules", path)
