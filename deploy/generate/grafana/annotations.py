"""Annotations of the dashboards: firing alerts, deployment marks, new baselines and new versions."""

from typing import Any

from deploy.generate.grafana.fields import DATASOURCE, to_plain
from deploy.generate.grafana.queries import OF_SOURCE
from deploy.generate.labels import by
from grafana_foundation_sdk.builders import dashboard as d

__all__ = ["annotations"]


def annotations(selector: str) -> list[dict[str, Any]]:
    """Return the annotation queries of a dashboard.

    Args:
        selector: Label matchers that choose the alerts and the deployment marks.
    """
    firing = f'ALERTS{{alertname=~"Driftgauge.*", alertstate="firing", {selector}}}'
    marks = f"max by ({by('stream', 'text')}) (driftgauge_mark_timestamp_seconds{{{selector}}})"
    return [
        _annotation(
            "Firing alerts",
            "red",
            firing,
            "{{alertname}} fires",
            "{{reason}} {{severity}} {{stream}} {{window}} {{topic}} {{owner}} {{team}}",
        ),
        {
            **_annotation("Deployment marks", "orange", f"1000 * {marks}", "{{text}}", "{{stream}}"),
            # A mark stands at its own time, in ms, not at that of the sample.
            "useValueForTime": True,
        },
        _annotation(
            "New baselines",
            "purple",
            _appeared("driftgauge_stream_info", "stream", "baseline", "model_version"),
            "New baseline of {{stream}}",
            "{{baseline}}, model version {{model_version}}",
        ),
        _annotation(
            "New versions",
            "blue",
            _appeared("driftgauge_build_info", "version"),
            "New version of driftgauge",
            "{{version}}",
        ),
    ]


def _annotation(name: str, colour: str, expr: str, title: str, text: str) -> dict[str, Any]:
    query = (
        d.AnnotationQuery()
        .name(name)
        .datasource(DATASOURCE)
        .enable(True)  # noqa: FBT003 - the builder's
        .icon_color(colour)
        .expr(expr)
    )
    # The builder has no method for the fields of Prometheus annotations.
    return {**to_plain(query.build()), "titleFormat": title, "textFormat": text, "step": "60s"}


def _appeared(name: str, *labels: str) -> str:
    """Return the series that did not exist before; looking back bridges a change of a shard's owner."""
    series = f"{name}{{{OF_SOURCE}}}"
    before = f"last_over_time({series}[$__rate_interval] offset $__interval)"
    return f"max by ({by(*labels)}) ({series})\nunless\nmax by ({by(*labels)}) ({before})"
