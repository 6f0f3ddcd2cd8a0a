"""The dashboard for those who own a model: whether its inputs moved, where, and since when."""

from deploy.generate.grafana.dashboards import (
    DRIFT,
    JOB,
    NAMESPACE,
    SERVICE,
    Dashboard,
    Variable,
    annotations,
)
from deploy.generate.grafana.drift_evidence import evidence, trust
from deploy.generate.grafana.drift_overview import all_streams, newest_window
from deploy.generate.grafana.drift_places import places, segments
from deploy.generate.grafana.links import RUNBOOKS, to_dashboard
from deploy.generate.grafana.queries import OF_JOB, OF_STREAM

__all__ = ["dashboard"]


def dashboard() -> Dashboard:
    """Return the dashboard of drift."""
    return Dashboard(
        uid=DRIFT,
        title="driftgauge: drift",
        description="Whether the inputs of a model moved against their baseline, where, and since when.",
        since="now-24h",
        variables=(
            JOB,
            NAMESPACE,
            Variable(
                "stream",
                "Stream",
                f"driftgauge_window_duration_seconds{{{OF_JOB}}}",
                "The stream that all panels below the first row are of.",
            ),
            Variable(
                "window",
                "Window",
                f"driftgauge_window_duration_seconds{{{OF_STREAM}}}",
                "The length of the windows that all panels below the first row are of.",
            ),
        ),
        # Alerts that name no stream, such as that all is down, concern every one.
        annotations=annotations(f'{OF_JOB}, stream=~"$stream|"'),
        links=(to_dashboard("Service", SERVICE), RUNBOOKS),
        rows=(all_streams(), newest_window(), evidence(), places(), trust(), segments()),
    )
