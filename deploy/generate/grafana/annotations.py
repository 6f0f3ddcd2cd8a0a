"""What is marked on every panel: alerts that fire, and what was changed."""

from deploy.generate.grafana.fields import DATASOURCE
from deploy.generate.grafana.queries import OF_SOURCE
from deploy.generate.labels import by

__all__ = ["annotations"]


def annotations(alerts_where: str) -> list[dict[str, object]]:
    """Return them, of the alerts that a selector chooses."""
    fires = f'ALERTS{{alertname=~"Driftgauge.*", alertstate="firing", {alerts_where}}}'
    marked = (
        (
            "Firing alerts",
            "red",
            fires,
            "{{alertname}} fires",
            "{{severity}} {{stream}} {{window}} {{topic}}",
        ),
        (
            "New baselines",
            "purple",
            _appeared("driftgauge_baseline_info", "stream", "baseline", "model_version"),
            "A baseline of {{stream}} that was not there before",
            "{{baseline}}, of model version {{model_version}}",
        ),
        (
            "New versions",
            "blue",
            _appeared("driftgauge_build_info", "version"),
            "A version that was not there before",
            "{{version}}",
        ),
    )
    return [
        {
            "name": name,
            "datasource": DATASOURCE.to_json(),
            "enable": True,
            "iconColor": colour,
            "expr": expr,
            "titleFormat": title,
            "textFormat": text,
            "step": "60s",
        }
        for name, colour, expr, title, text in marked
    ]


def _appeared(name: str, *labels: str) -> str:
    """Return what was not there before; a shard that changes hands shows nothing for a moment."""
    series = f"{name}{{{OF_SOURCE}}}"
    before = f"last_over_time({series}[$__rate_interval] offset $__interval)"
    return f"max by ({by(*labels)}) ({series})\nunless\nmax by ({by(*labels)}) ({before})"
