"""The rules as a resource of the Prometheus operator: the same groups, for a cluster to apply."""

from deploy.generate import alerts, recording

__all__ = ["manifest"]


def manifest() -> dict[str, object]:
    """Return the PrometheusRule that holds the recording and the alerting rules."""
    return {
        "apiVersion": "monitoring.coreos.com/v1",
        "kind": "PrometheusRule",
        "metadata": {"name": "driftgauge"},
        # The recording rules from where they are made: their file may be about to be written anew.
        "spec": {"groups": [*recording.groups(), *alerts.groups()]},
    }
