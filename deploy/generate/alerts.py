"""Prometheus's alerting rules: alerts.yml with its placeholders replaced and the shared annotations added."""

from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from textwrap import indent
from typing import Any

import yaml
from deploy.generate.labels import SOURCE, by

from driftgauge.config.page import PageSettings
from driftgauge.core.statistics import registry
from driftgauge.page.service_watch import LEAST_REFUSED, REFUSED_SHARE
from driftgauge.page.status import LATE_SHARE, LEAST_LATE
from driftgauge.statistic_words import WORDS

__all__ = ["groups"]

_FILE = Path(__file__).with_suffix(".yml")
_RUNBOOKS = PageSettings().runbooks_url

# Go templates, which Prometheus expands.
_MATCHERS = ",".join(f"{label}=%q" for label in SOURCE)
_VALUES = " ".join(f"$labels.{label}" for label in SOURCE)
_WINDOW = (
    f"{{{{ $window := printf `{{{_MATCHERS},stream=%q,window=%q}}`"
    f" {_VALUES} $labels.stream $labels.window -}}}} "
)
# Every alert has the job. A link with an empty label would select only series without that label.
_FIRST_LABEL, *_OTHER_LABELS = reversed(SOURCE)
_SELECTION = f"?var-{_FIRST_LABEL}={{{{ $labels.{_FIRST_LABEL} }}}}" + "".join(
    f"{{{{ if $labels.{label} }}}}&var-{label}={{{{ $labels.{label} }}}}{{{{ end }}}}"
    for label in _OTHER_LABELS
)
_DASHBOARDS = {
    "drift": f"/d/driftgauge-drift{_SELECTION}"
    "&var-stream={{ $labels.stream }}&var-window={{ $labels.window }}",
    "service": f"/d/driftgauge-service{_SELECTION}",
}
# The address of the page is not known here. The window is the one that holds the time.
_PAGE = (
    f"{_WINDOW}?stream={{{{ urlquery $labels.stream }}}}&window={{{{ $labels.window }}}}"
    "{{ with query (printf `driftgauge_window_end_timestamp_seconds%s * 1000 - 1` $window) }}"
    '&at={{ . | first | value | printf "%.0f" }}{{ end }}'
)

# The newest info series of each stream. Two exist while a shard changes hands, and none between its old and
# its new holder: the second half bridges that, so that an alert keeps its labels.
_INFO = f"""\
topk by ({by("stream")}) (
  1,
  timestamp(driftgauge_stream_info)
  or
  max_over_time(timestamp(driftgauge_stream_info)[10m:1m])
)"""
_SEVERITIES = {
    "stream": "{{ with $labels.severity }}{{ . }}{{ else }}warning{{ end }}",
    "ticket": '{{ if eq $labels.severity "info" }}info{{ else }}warning{{ end }}',
}


@cache
def groups() -> list[dict[str, Any]]:
    """Return the groups of alerting rules, as a rule file has them."""
    text = _FILE.read_text("utf-8")
    for placeholder, value in {
        "<source>": by(),
        "<matchers>": _MATCHERS,
        "<values>": _VALUES,
        "<window>": _WINDOW,
        "<of_kind>": f"printf `{{{_MATCHERS},stream=%q,window=%q,kind=%q}}`"
        f" {_VALUES} $labels.stream $labels.window",
        "<kinds>": _describe_kinds(),
        "<late_share>": str(LATE_SHARE),
        "<least_late>": str(LEAST_LATE),
        "<refused_share>": str(REFUSED_SHARE),
        "<least_refused>": str(LEAST_REFUSED),
    }.items():
        text = text.replace(placeholder, value)
    return [
        {
            "name": group["name"],
            "rules": [rule for alert in group["rules"] for rule in _rules(alert, group["dashboard"])],
        }
        for group in yaml.safe_load(text)
    ]


def _describe_kinds() -> str:
    """Return the sentence of the kind in the label `kind`, as a template."""
    cases = (
        f'if eq .Labels.kind "{each.kind}" }}}}{WORDS[each.name].sentence}' for each in registry.STATISTICS
    )
    return f"{{{{ {'{{ else '.join(cases)}{{{{ end }}}}"


def _rules(alert: Mapping[str, Any], dashboard: str) -> Iterator[dict[str, Any]]:
    """Yield one rule for each reason and severity of an alert."""
    for reason, of_reason in alert.get("reasons", {None: {}}).items():
        rule = {**alert, **of_reason}
        for severity, wait in rule["severity"].items():
            expr = rule["expr"]
            if severity == "critical" and "page_unless" in rule:
                expr = f"(\n{indent(expr, '  ')})\nunless on ({by('topic')})\n{rule['page_unless']}"
            if dashboard == "drift":
                expr = _owned(expr)
            yield {
                "alert": alert["alert"],
                "expr": expr,
                **({} if wait == "0s" else {"for": wait}),
                **{key: rule[key] for key in ("keep_firing_for",) if key in rule},
                "labels": {
                    "severity": _SEVERITIES.get(severity, severity),
                    **({} if reason is None else {"reason": reason}),
                },
                "annotations": {
                    "summary": rule["summary"],
                    "description": rule["description"],
                    "dashboard": _DASHBOARDS[dashboard],
                    **({"page": _PAGE} if dashboard == "drift" else {}),
                    "runbook_url": f"{_RUNBOOKS}/{alert['alert']}.md",
                },
            }


def _owned(expr: str) -> str:
    """Return the expression of a stream's alert with the labels of the stream's info series.

    A stream without an info series keeps its alert, without the labels.
    """
    inside = indent(expr, "  ")
    return f"""\
(
{inside})
* on ({by("stream")}) group_left (owner, team, severity)
(
  group by ({by("stream", "owner", "team", "severity")}) (
{indent(_INFO, "    ")}
  )
  or on ({by("stream")})
  group by ({by("stream")}) (
{indent(inside, "  ")}  )
)
"""
