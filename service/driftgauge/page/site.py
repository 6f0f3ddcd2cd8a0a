"""The page's HTTP routes: the overview, a stream, the files that they refer to, and the API below them."""

from collections import Counter
from collections.abc import Callable
from functools import cache
from urllib.parse import quote, urlencode

import numpy as np
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import BaseRoute, Mount, Route

from driftgauge.config import Settings
from driftgauge.core.durations import format_duration, parse_duration
from driftgauge.errors import ServiceError
from driftgauge.events.timestamps import format_timestamp
from driftgauge.page.answers import AnswerCache
from driftgauge.page.api import api_routes
from driftgauge.page.api_records import StatusRecords, status_record
from driftgauge.page.chart import places
from driftgauge.page.marks import Marks
from driftgauge.page.overview import Overview, StreamRow, group_rows
from driftgauge.page.queries import MissingWindowError, WindowQuery, read_last, read_query
from driftgauge.page.refusals import Refusals
from driftgauge.page.rendering import STATIC_TYPES, render, static_file
from driftgauge.page.results import Results
from driftgauge.page.status import URGENCY, Run, StreamStatus, whole_run
from driftgauge.page.stream_page import MAX_SHOWN, ComparedRow, WindowDetail, compare, detail, stream_page
from driftgauge.page.summary import VERDICTS
from driftgauge.page.words import COUNTED_WORDS, as_sentence
from driftgauge.records.mark import Mark
from driftgauge.streams import EVENTS_PER_CLUSTER

__all__ = ["Site", "comparable"]

_WEEK_MS = 7 * 86_400_000
_STATIC_HEADERS = {"Cache-Control": "public, max-age=86400", "X-Content-Type-Options": "nosniff"}


class Site:
    """The page over some results."""

    def __init__(
        self,
        results: Results,
        settings: Settings,
        clock_ms: Callable[[], int],
        marks: Marks,
        refusals: Refusals,
    ) -> None:
        """Show results of the configured streams and of others, by this wall clock, and what goes with it."""
        self._marks = marks
        self._results = results
        self._settings = settings.page
        self._streams = settings.by_stream
        self._level = settings.window_level
        self._dead_letters = settings.topics.dead_letters
        self._clock_ms = clock_ms
        self._overview = Overview(results.history, self._streams, refusals)
        self._headers = {
            "Content-Security-Policy": _security_policy(settings.page.thumbnail_origin),
            "Referrer-Policy": "no-referrer",
            "X-Content-Type-Options": "nosniff",
        }
        self._answers = AnswerCache(self._headers, clock_ms)

    def routes(self) -> list[BaseRoute]:
        """Return the routes, at the root and below the configured prefix."""
        # Plain functions, which Starlette runs in its thread pool: they render, and may wait for Kafka.
        routes: list[BaseRoute] = [
            Route("/", self._page),
            Route("/static/{name}", self._static),
            Mount("/api/v1", routes=api_routes(self._results, self._records)),
        ]
        prefix = self._settings.path_prefix
        if not prefix:
            return routes
        last = prefix.rsplit("/", 1)[-1]

        def add_slash(request: Request) -> Response:
            # Relative, so that it holds whatever stands before this path at the ingress.
            query = f"?{request.url.query}" if request.url.query else ""
            return RedirectResponse(f"{last}/{query}")

        return [*routes, Route(prefix, add_slash), Mount(prefix, routes=routes)]

    def _page(self, request: Request) -> Response:
        try:
            if "stream" not in request.query_params:
                return self._answers.answer(request, lambda: self._render_overview(request))
            query = read_query(self._results.history, request.query_params)
            asked = "last" in request.query_params
            shown = read_last(request.query_params, MAX_SHOWN) if asked else None
            return self._answers.answer(request, lambda: self.render_stream(query, shown))
        except MissingWindowError as error:
            return self._message("Nothing to show", str(error), 404)
        except ValueError as error:
            return self._message("The address is wrong", str(error), 400)

    def _render_overview(self, request: Request) -> str:
        query, state = (request.query_params.get(name, "") for name in ("q", "verdict"))
        now_ms = self._clock_ms()
        every = self._rows(now_ms)
        rows = [
            row
            for row in every
            if query.casefold() in row.status.stream.casefold() and state in ("", row.status.state)
        ]
        return render(
            "overview.html",
            **self._common(),
            rows=rows,
            alarms=[row for row in rows if row.status.alarms],
            groups=group_rows(row for row in rows if not row.status.alarms),
            query=query,
            state=state,
            filtered=bool(query or state),
            headline=_headline(every),
            number=sum(bool(row.status.alarms) for row in every),
            windows=len(self._results.history),
            history=format_duration(self._settings.history),
            now_ms=now_ms,
        )

    def _rows(self, now_ms: int) -> list[StreamRow]:
        self._results.history.expire(now_ms - self._settings.history)
        return self._overview.rows(now_ms, is_cut_off=self._is_cut_off)

    def _records(self) -> StatusRecords:
        source = self._results.source
        return StatusRecords(
            complete=source.has_caught_up,
            problem=source.error,
            streams=tuple(
                status_record(row.status, self._streams.get(row.status.stream))
                for row in self._rows(self._clock_ms())
            ),
        )

    @property
    def _is_cut_off(self) -> bool:
        return self._results.source.error is not None

    def render_stream(
        self, query: WindowQuery, shown: int | None, template: str = "stream.html", **more: object
    ) -> str:
        """Return the HTML of a stream, by the page's template or another one, which shows `more` as well.

        Raises:
            MissingWindowError: The stream has no such window.
        """
        series, now_ms = query.series, self._clock_ms()
        configured = self._streams.get(series.stream)
        status = self._overview.status(series.stream, now_ms, is_cut_off=self._is_cut_off)
        page = stream_page(
            series,
            query.rows,
            shown=shown,
            at_ms=query.at_ms,
            alarm=None if configured is None else configured.alarm(self._level),
        )
        if page is None:
            message = f"{series.stream} has no window of {format_duration(series.size_ms)} that starts then"
            raise MissingWindowError(message)
        begin_ms, end_ms = (int(page.rows["start_ms"][at]) for at in (0, -1))
        marks = self._marks.between(series.stream, begin_ms, end_ms + series.size_ms)
        opened_ms, start_ms = int(page.chosen["start_ms"]), int(page.concluded["start_ms"])
        whole, missing = self._detail(query, start_ms, page.run if opened_ms == start_ms else None)
        other_ms = None if query.compare_ms == start_ms else query.compare_ms
        other, other_missing = (None, "") if other_ms is None else self._detail(query, other_ms)
        compared: tuple[ComparedRow, ...] = ()
        if whole is not None and other is not None:
            compared = compare(whole, other)
            other_missing = "" if compared else "The two windows have different baselines."
        return render(
            template,
            **(self._common() | more),
            page=page,
            sizes=query.sizes,
            opened_ms=opened_ms,
            opened=None if opened_ms == start_ms else self._detail(query, opened_ms)[0],
            needed=None if configured is None else configured.min_events,
            events_per_cluster=EVENTS_PER_CLUSTER,
            detail=whole,
            missing=missing,
            other_ms=other_ms,
            other=other,
            other_missing=other_missing,
            compared=compared,
            comparable=[
                (name, _links(query, page.shown, at_ms)(query.at_ms))
                for name, at_ms in comparable(query, start_ms)
            ],
            shown=page.shown,
            marks=list(
                zip(marks, places(page.rows, series.size_ms, [each.time for each in marks]), strict=True)
            ),
            mark_before=self._mark_before(status),
            status=status,
            labels=None if configured is None else configured.labels,
            grafana=self._settings.grafana_url,
            now_ms=now_ms,
            link=_links(query, page.shown, query.compare_ms),
            link_shown=lambda number: _links(query, number, query.compare_ms)(query.at_ms),
        )

    def _mark_before(self, status: StreamStatus) -> Mark | None:
        """Return the last mark before the end of the window in which a stream's alarm began."""
        if not status.alarms:
            return None
        first = status.alarms[0]
        marks = self._marks.between(status.stream, 0, first.run.since_ms + parse_duration(first.size))
        return marks[-1] if marks else None

    def _detail(
        self, query: WindowQuery, start_ms: int, run: Run | None = None
    ) -> tuple[WindowDetail | None, str]:
        """Return a window in detail, or why there is none; without its run, the run is looked for."""
        row = query.row(start_ms)
        try:
            record = self._results.whole(query.series, row)
        except (MissingWindowError, ServiceError) as error:
            return None, as_sentence(str(error))
        shown = detail(
            record,
            row,
            run or whole_run(query.rows, int(np.searchsorted(query.rows["start_ms"], start_ms))),
            size_ms=query.series.size_ms,
            settings=self._settings,
            parts=self._results.history.parts(query.series, int(row["baseline"])),
        )
        return shown, ""

    def _common(self) -> dict[str, object]:
        source = self._results.source
        return {
            "topic": source.topic,
            "problem": source.error,
            "read_ms": self._results.history.published_ms,
            "has_caught_up": source.has_caught_up,
            "dead_letters": self._dead_letters,
        }

    def _message(self, title: str, text: str, status: int) -> Response:
        body = render("message.html", title=title, text=as_sentence(text))
        return Response(body, status_code=status, media_type="text/html", headers=self._headers)

    def _static(self, request: Request) -> Response:
        name = request.path_params["name"]
        if name not in STATIC_TYPES:
            return Response("not found", status_code=404, media_type="text/plain")
        return Response(static_file(name), media_type=STATIC_TYPES[name], headers=_STATIC_HEADERS)


def _links(query: WindowQuery, shown: int, compare_ms: int | None) -> Callable[[int | None], str]:
    """Return a function that returns the link to the window with a start, or with None to the newest.

    The links keep the window that is compared with.
    """
    series = urlencode(
        {
            "stream": query.series.stream,
            "window": format_duration(query.series.size_ms),
            "last": str(shown),
            **({} if compare_ms is None else {"compare": format_timestamp(compare_ms)}),
        }
    )

    # Every chart and the table link to the same windows.
    @cache
    def link(start_ms: int | None) -> str:
        return f"?{series}" if start_ms is None else f"?{series}&at={quote(format_timestamp(start_ms))}"

    return link


def comparable(query: WindowQuery, start_ms: int) -> list[tuple[str, int]]:
    """Return what a window is best compared with: names and starts, ms, of windows that are there."""
    rows = query.rows[query.rows["start_ms"] < start_ms]
    ok = rows["start_ms"][rows["verdict"] == VERDICTS.index("ok")]
    found = [("the last ok window", int(ok[-1]))] if len(ok) else []
    if start_ms - _WEEK_MS in rows["start_ms"]:
        found.append(("a week before", start_ms - _WEEK_MS))
    return found


def _headline(rows: list[StreamRow]) -> str:
    streams = "1 stream" if len(rows) == 1 else f"{len(rows):,} streams"
    found = Counter(row.status.state for row in rows)
    told = [f"{found[state]:,} {COUNTED_WORDS[state]}" for state in URGENCY if found[state]]
    return f"{streams}: {', '.join(told)}"


def _security_policy(pictures: str | None) -> str:
    images = "'self'" if pictures is None else f"'self' {pictures}"
    return (
        f"default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; img-src {images}; "
        "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    )
