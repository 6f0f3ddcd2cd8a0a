"""A report as one HTML file: the page of a stream, which loads nothing and runs nothing."""

import base64
import hashlib
from urllib.parse import urlencode

from markupsafe import Markup

from driftgauge.events.timestamps import format_timestamp
from driftgauge.page.rendering import render, static_file
from driftgauge.report.contents import Report

__all__ = ["render_report"]

_MAX_OTHERS = 50


def render_report(report: Report, *, dead_letters: str, made_ms: int) -> str:
    """Return a report's HTML.

    Args:
        report: The report.
        dead_letters: The topic of dead letters.
        made_ms: When the report is made, ms.
    """
    style = static_file("style.css").decode()
    series, start = report.page.series, format_timestamp(report.chosen.start_ms)
    return render(
        "report.html",
        report=report,
        page=report.page,
        # It is the project's own file, and the policy lets no other style through.
        style=Markup(style),  # noqa: S704
        policy=_security_policy(style),
        query=urlencode({"stream": series.stream, "window": report.page.size, "at": start}, safe=":"),
        others=report.others[:_MAX_OTHERS],
        more=max(len(report.others) - _MAX_OTHERS, 0),
        dead_letters=None if report.is_replay else dead_letters,
        made_ms=made_ms,
    )


def _security_policy(style: str) -> str:
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    return f"default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"
