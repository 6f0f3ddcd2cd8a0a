"""The dashboard for those who run the platform: whether drift is seen at all, and what it costs."""

from deploy.generate.grafana.dashboards import (
    DRIFT,
    JOB,
    NAMESPACE,
    SERVICE,
    Dashboard,
    Variable,
    annotations,
)
from deploy.generate.grafana.links import RUNBOOKS, to_dashboard
from deploy.generate.grafana.queries import OF_JOB
from deploy.generate.grafana.service_flow import events, glance, kafka
from deploy.generate.grafana.service_process import loop, process, versions, windows

__all__ = ["dashboard"]


def dashboard() -> Dashboard:
    """Return the dashboard of the service."""
    return Dashboard(
        uid=SERVICE,
        title="driftgauge: service",
        description="Whether the events of all streams are read, counted and judged, and by what.",
        since="now-3h",
        variables=(
            JOB,
            NAMESPACE,
            Variable("instance", "Instance", f"up{{{OF_JOB}}}", "The replicas.", several=True, every=".+"),
            Variable(
                "topic",
                "Topic",
                f"driftgauge_consumer_assigned_partitions{{{OF_JOB}}}",
                "The events topics.",
                several=True,
                every=".+",
            ),
            Variable(
                "stream",
                "Stream",
                f"driftgauge_window_duration_seconds{{{OF_JOB}}}",
                "The streams; all of them includes records that name no configured one.",
                several=True,
                every=".*",
            ),
        ),
        annotations=annotations(OF_JOB),
        links=(to_dashboard("Drift", DRIFT), RUNBOOKS),
        rows=(glance(), events(), kafka(), windows(), loop(), process(), versions()),
    )
