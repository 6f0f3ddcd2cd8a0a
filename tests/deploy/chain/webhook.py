"""The receiver of notices: an HTTP server on loopback that records Alertmanager's requests.

The server replaces PagerDuty and Slack.
"""

import json
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self

__all__ = ["JsonReceiver", "Notice", "Webhook"]


@dataclass(frozen=True)
class Notice:
    """One notice about one alert.

    Attributes:
        at_s: The time of arrival, seconds since the epoch.
        changed_s: The time at which Prometheus changed the state of the alert, seconds since the epoch.
        receiver: The receiver's name.
        status: `firing` or `resolved`.
        labels: The alert's labels.
        annotations: The alert's annotations.
    """

    at_s: float
    changed_s: float
    receiver: str
    status: str
    labels: Mapping[str, str]
    annotations: Mapping[str, str]

    def __str__(self) -> str:
        labels = " ".join(f"{key}={value}" for key, value in sorted(self.labels.items()))
        return f"{self.at_s:.1f} to {self.receiver}: {self.status} {labels}"


class JsonReceiver:
    """Serves HTTP on loopback until its context ends, and passes on path and body of each request."""

    def __init__(self, take: Callable[[str, Any], None]) -> None:
        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                take(self.path, json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
                self.send_response(202 if self.path == "/pagerduty" else 200)
                self.send_header("Content-Type", "text/plain")
                self.end_headers()
                # This is Slack's answer, which later versions of Alertmanager check.
                self.wfile.write(b"ok")

            def log_message(self, *_: object) -> None:
                """Log nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    @property
    def url(self) -> str:
        """The address of the server."""
        return f"http://127.0.0.1:{self._server.server_port}"


class Webhook(JsonReceiver):
    """Records notices until its context ends."""

    def __init__(self) -> None:
        super().__init__(self._record)
        self._notices: list[Notice] = []

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        super().__exit__(exc_type, exc, traceback)
        if exc is not None and self._notices:
            exc.add_note("\n".join(["notices received:", *map(str, self.notices)]))

    @property
    def notices(self) -> tuple[Notice, ...]:
        """All notices so far, in order."""
        return tuple(self._notices)

    def matching(
        self, alert: str, status: str, labels: Mapping[str, str], *, after_s: float
    ) -> Iterator[Notice]:
        """Yield notices after a time about an alert with at least these labels."""
        for notice in self.notices:
            matches = {"alertname": alert, **labels}.items() <= notice.labels.items()
            if matches and notice.status == status and notice.at_s >= after_s:
                yield notice

    def _record(self, _path: str, message: Mapping[str, Any]) -> None:
        now_s = time.time()
        self._notices += [
            Notice(
                now_s,
                _seconds(alert["startsAt" if alert["status"] == "firing" else "endsAt"]),
                message["receiver"],
                alert["status"],
                alert["labels"],
                alert["annotations"],
            )
            for alert in message["alerts"]
        ]


def _seconds(time_text: str) -> float:
    return datetime.fromisoformat(time_text).timestamp()
