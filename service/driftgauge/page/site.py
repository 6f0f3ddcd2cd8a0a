"""The page's HTTP routes: the overview, a stream, the files that they refer to, and the API below them."""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from functools import cache, lru_cache, partial
from hashlib import blake2b
from urllib.parse import quote, urlencode

import numpy as np
from numpy.typing import NDArray
from starlette.datastructures import MutableHeaders, QueryParams
from starlette.middleware import Middleware
from starlette.middleware.gzip import GZipMiddleware
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response
from starlette.routing import BaseRoute, Mount, Route
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from driftgauge.config import Settings
from driftgauge.config.stream import StreamSettings
from driftgauge.config.urls import fill_template, origin
from driftgauge.core.durations import format_duration
from driftgauge.errors import ServiceError
from driftgauge.events.timestamps import format_timestamp
from driftgauge.page.api import api_routes
from driftgauge.page.api_records import StatusRecords, status_records
from driftgauge.page.chart import Band, heat_strip, places, strip
from driftgauge.page.marks import Marks
from driftgauge.page.overview import Overview, group_statuses
from driftgauge.page.queries import MissingWindowError, WindowQuery, read_query
from driftgauge.page.rendering import render
from driftgauge.page.results import Results
from driftgauge.page.service_watch import ServiceStatus, ServiceWatch
from driftgauge.page.states import STATES, URGENCY
from driftgauge.page.status import ALARMS, Alarm, SizeStatus, StreamStatus, as_told, whole_run
from driftgauge.page.story import tell_status
from driftgauge.page.stream_page import (
    ClusterRow,
    WindowDetail,
    compare,
    detail,
    number_charts,
    segment_chart,
    stream_page,
    then_and_now,
)
from driftgauge.page.summary import VERDICTS, Series
from driftgauge.page.words import as_sentence
from driftgauge.records.mark import Mark
from driftgauge.records.window_record import EventsRecord, WindowRecord
from driftgauge.streams import EVENTS_PER_CLUSTER

__all__ = ["Site", "comparable"]

_WEEK_MS = 7 * 86_400_000
# Of the shortest windows: a week of hours.
_STRIP_WINDOWS = 168
_HEAT_ROWS = 8
_SEVERITIES = ("critical", "warning", "info")
# The page asks again every 15 s, and rendering takes far longer than an answer that is kept.
_FRESH_MS = 5_000
_MOST_KEPT = 16
# Level 9 takes fourteen times as long for 7 % fewer bytes.
_COMPRESSION = 4


class Site:
    """The page over some results."""

    def __init__(
        self,
        results: Results,
        settings: Settings,
        clock_ms: Callable[[], int],
        marks: Marks,
        watch: ServiceWatch,
        load: Callable[[str], str | None] = str,
    ) -> None:
        """Show results of the configured streams, by this wall clock, and what goes with them.

        `load` returns what the page shows of a picture's address; by default the address itself.
        """
        self._load = load
        self._marks = marks
        self._results = results
        self._settings = settings
        # The settings calculate these at each look.
        self._streams, self._level = settings.by_stream, settings.window_level
        self._clock_ms = clock_ms
        self._watch = watch
        self._overview = Overview(results.history, settings)
        self._headers = {
            "Content-Security-Policy": _security_policy(settings.streams),
            "Referrer-Policy": "no-referrer",
            "X-Content-Type-Options": "nosniff",
            "Cache-Control": "no-cache",
        }
        self._rendered = lru_cache(_MOST_KEPT)(self._render)

    def routes(self) -> list[BaseRoute]:
        """Return the routes, at the root and below the configured prefix."""
        # Plain functions, which Starlette runs in its thread pool: they render, and may wait for Kafka.
        routes: list[BaseRoute] = [
            Route("/", self._page),
            Mount("/static", StaticFiles(packages=[("driftgauge.page", "static")])),
            Mount(
                "/api/v1", routes=api_routes(self._results, self._streams, self._records, self._leading_ms)
            ),
        ]
        middleware = [
            Middleware(_with_headers, headers=self._headers),
            Middleware(GZipMiddleware, compresslevel=_COMPRESSION),
        ]
        root = Mount("", routes=routes, middleware=middleware)
        prefix = self._settings.page.path_prefix
        if not prefix:
            return [root]
        last = prefix.rsplit("/", 1)[-1]

        def add_slash(request: Request) -> Response:
            # Relative, so that it holds whatever stands before this path at the ingress.
            query = f"?{request.url.query}" if request.url.query else ""
            return RedirectResponse(f"{last}/{query}")

        return [Route(prefix, add_slash), Mount(prefix, routes=[root]), root]

    def _page(self, request: Request) -> Response:
        try:
            body, tag = self._rendered(request.url.query, self._clock_ms() // _FRESH_MS)
        except MissingWindowError as error:
            return _message("Nothing to show", str(error), 404)
        except ValueError as error:
            return _message("The address is wrong", str(error), 400)
        if request.headers.get("if-none-match") == tag:
            return Response(status_code=304, headers={"ETag": tag})
        return HTMLResponse(body, headers={"ETag": tag})

    def _render(self, query: str, _five_seconds: int) -> tuple[bytes, str]:
        """Return the HTML that a URL's query asks for, and its tag; it is kept for its five seconds."""
        asked = QueryParams(query)
        now_ms = self._clock_ms()
        service = self._watch.status(now_ms)
        if "stream" not in asked:
            text = self._render_overview(asked, now_ms, service)
        else:
            status = self._status(asked["stream"], now_ms, service)
            window = read_query(self._results.history, self._streams, asked, lambda _: status.leading_ms)
            text = self.render_stream(window, status, now_ms, service)
        body = text.encode()
        return body, f'"{blake2b(body, digest_size=12).hexdigest()}"'

    def _render_overview(self, asked: QueryParams, now_ms: int, service: ServiceStatus) -> str:
        query, state = (asked.get(name, "") for name in ("q", "verdict"))
        every = self._statuses(now_ms, service)
        statuses = [
            each for each in every if query.casefold() in each.stream.casefold() and state in ("", each.state)
        ]
        rows, groups = group_statuses(statuses)
        return render(
            "overview.html",
            **self._common(),
            faults=service.faults,
            statuses=statuses,
            rows=sorted(rows, key=self._urgency),
            labels_of=lambda stream: self._streams[stream].labels,
            groups=groups,
            strips=self._strips,
            query=query,
            state=state,
            filtered=bool(query or state),
            headline=_headline(every),
            number=sum(bool(each.alarms) for each in every),
            windows=len(self._results.history),
            history=format_duration(self._settings.page.history),
            now_ms=now_ms,
        )

    def _urgency(self, status: StreamStatus) -> tuple[int, int, int]:
        """Return the place of a stream: by state, by severity, the newest alarm first."""
        severity = _SEVERITIES.index(self._streams[status.stream].labels.severity)
        return (
            URGENCY.index(status.state),
            severity,
            -max((each.since_ms for each in status.alarms), default=0),
        )

    def _strips(self, status: StreamStatus) -> list[tuple[SizeStatus, tuple[Band, ...]]]:
        """Return the verdicts of each size of a stream, all over the same time."""
        every = [(each, each.facts.series) for each in status.sizes]
        until_ms = max((int(each.facts.newest["start_ms"]) + own.size_ms for each, own in every), default=0)
        from_ms = until_ms - _STRIP_WINDOWS * min((own.size_ms for _, own in every), default=0)
        windows = self._results.history.windows
        return [
            (
                each,
                strip(
                    as_told(windows(own, _STRIP_WINDOWS), each.facts.misfit), own.size_ms, from_ms, until_ms
                ),
            )
            for each, own in every
        ]

    def _statuses(self, now_ms: int, service: ServiceStatus) -> list[StreamStatus]:
        self._results.history.expire(now_ms - self._settings.page.history)
        return self._overview.statuses(now_ms, service, is_cut_off=self._results.source.error is not None)

    def _status(self, stream: str, now_ms: int, service: ServiceStatus) -> StreamStatus:
        return self._overview.status(
            stream, now_ms, service, is_cut_off=self._results.source.error is not None
        )

    def _leading_ms(self, stream: str) -> int | None:
        now_ms = self._clock_ms()
        return self._status(stream, now_ms, self._watch.status(now_ms)).leading_ms

    def _records(self) -> StatusRecords:
        source, now_ms = self._results.source, self._clock_ms()
        service = self._watch.status(now_ms)
        return status_records(
            self._statuses(now_ms, service),
            self._streams,
            service.faults,
            self._settings.page.runbooks_url,
            complete=source.has_caught_up,
            problem=source.error,
        )

    def render_stream(
        self,
        query: WindowQuery,
        status: StreamStatus,
        now_ms: int,
        service: ServiceStatus,
        template: str = "stream.html",
        **more: object,
    ) -> str:
        """Return the HTML of a stream, by the page's template or another one, which shows `more` as well."""
        series = query.series
        asked_ms = None if query.at is None else query.start_ms(query.at)
        configured = self._streams[series.stream]
        alarm = configured.alarm(self._level)
        page = stream_page(query, alarm, status)
        until_ms = int(page.rows["start_ms"][-1]) + series.size_ms
        marks = self._marks.between(series.stream, int(page.rows["start_ms"][0]), until_ms)
        marks = sorted([*marks, *_callouts(page.rows, status)], key=lambda each: each.time)
        whole, missing = self._detail(query, page.concluded, status)
        other_at = None if query.compare == page.concluded else query.compare
        other, other_missing = (None, "") if other_at is None else self._detail(query, other_at, status)
        compared: list[tuple[ClusterRow, ClusterRow]] = []
        if whole is not None and other is not None:
            compared = compare(whole, other)
            other_missing = "" if compared else "The two windows have different baselines."
        parts = self._results.history.parts(series, int(query.rows["baseline"][page.concluded]))
        evidence = None if status.told is None else self._whole(series.stream, status.told)
        picture_of = partial(self._picture, configured.thumbnail_url, series.stream)
        examples = then_and_now(evidence, status.leading) if status.leading and evidence else None
        heat = heat_strip(page.rows, series.size_ms, parts, _HEAT_ROWS) if status.is_of_segments else []
        return render(
            template,
            **(self._common() | more),
            faults=service.faults,
            query=query,
            page=page,
            number_charts=number_charts(page, series.size_ms, configured.numbers_of_events, whole),
            count=int(query.rows["count"][query.chosen]),
            opened_ms=query.start_ms(query.chosen),
            opened=None if query.chosen == page.concluded else self._detail(query, query.chosen, status)[0],
            events_per_cluster=EVENTS_PER_CLUSTER,
            detail=whole,
            missing=missing,
            other_ms=None if other_at is None else query.start_ms(other_at),
            other=other,
            other_missing=other_missing,
            compared=compared,
            comparable=[
                (name, _links(query, page.span, at)(asked_ms))
                for name, at in comparable(query, page.concluded, status)
            ],
            marks=list(
                zip(marks, places(page.rows, series.size_ms, [each.time for each in marks]), strict=True)
            ),
            mark_before=self._mark_before(status),
            heat=heat,
            of_segment=segment_chart(page.rows, series.size_ms, parts, heat[0].segment, alarm)
            if heat
            else None,
            told=tell_status(status, evidence, alarm),
            shown_examples=examples if examples and _shows(examples[1], configured, picture_of) else None,
            status=status,
            configured=configured,
            alarm=alarm,
            settings=self._settings.page,
            picture_of=picture_of,
            now_ms=now_ms,
            link=_links(query, page.span, query.compare),
            # A window that a range leaves out would move it.
            spans={
                name: _links(query, span, query.compare)(asked_ms if query.chosen in range(*span) else None)
                for name, span in page.spans.items()
            },
            span_times=_times(query, page.span),
        )

    def _picture(self, template: str | None, stream: str, event_id: str) -> str | None:
        """Return what is shown as the picture of an event; None without one."""
        url = None if template is None else fill_template(template, stream, event_id)
        return None if url is None else self._load(url)

    def _whole(self, stream: str, alarm: Alarm) -> WindowRecord | None:
        """Return the result of the window with the evidence of a stream's alarm; None if it is missing."""
        try:
            return self._results.whole(Series(stream, alarm.size_ms), alarm.evidence)
        except (MissingWindowError, ServiceError):
            # The page says above why results cannot be read.
            return None

    def _mark_before(self, status: StreamStatus) -> Mark | None:
        """Return the last mark before the end of the window in which the alarm that is told began."""
        if status.told is None:
            return None
        marks = self._marks.between(status.stream, 0, status.told.seen_ms)
        return marks[-1] if marks else None

    def _detail(self, query: WindowQuery, at: int, status: StreamStatus) -> tuple[WindowDetail | None, str]:
        """Return the window of an index in detail, or why there is none."""
        row = query.rows[at]
        try:
            record = self._results.whole(query.series, row)
        except (MissingWindowError, ServiceError) as error:
            return None, as_sentence(str(error))
        parts = self._results.history.parts(query.series, int(row["baseline"]))
        run = whole_run(query.rows, at)
        return detail(record, row, run, query.series.size_ms, parts, status.leading), ""

    def _common(self) -> dict[str, object]:
        source = self._results.source
        return {
            "topic": source.topic,
            "problem": source.error,
            "read_ms": self._results.history.published_ms,
            "has_caught_up": source.has_caught_up,
            "dead_letters": self._settings.topics.dead_letters,
            "runbooks": self._settings.page.runbooks_url,
        }


def _with_headers(app: ASGIApp, headers: Mapping[str, str]) -> ASGIApp:
    """Return an application that answers with more headers."""

    async def answer(scope: Scope, receive: Receive, send: Send) -> None:
        async def add(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(headers)
            await send(message)

        await app(scope, receive, add)

    return answer


def _callouts(rows: NDArray[np.void], status: StreamStatus) -> list[Mark]:
    """Return what charts of n windows, (n,) of `SUMMARY`, mark beside the marks: a start, other baselines."""
    changed = rows["start_ms"][1:][np.diff(rows["baseline"].astype(np.int64)) != 0]
    start_ms, end_ms = int(rows["start_ms"][0]), int(rows["start_ms"][-1])
    alarms = (status.told,) if status.told else ()
    # Of an alarm from the first window on it is not known when it began.
    began = [each.since_ms for each in alarms if start_ms < each.since_ms <= end_ms]
    return [
        *(Mark(time=each, text="another baseline") for each in changed.tolist()),
        *(Mark(time=each, text="first seen") for each in began),
    ]


def _shows(events: EventsRecord, configured: StreamSettings, picture_of: Callable[[str], str | None]) -> bool:
    """Return whether people see anything of some events: bare ids and equal texts show no change."""
    said = {*events.snippets} != {*events.baseline_snippets}
    ids = (*events.event_ids, *events.baseline_event_ids)
    return said or configured.example_url is not None or any(map(picture_of, ids))


def _message(title: str, text: str, status: int) -> Response:
    return HTMLResponse(render("message.html", title=title, text=as_sentence(text)), status)


def _times(query: WindowQuery, span: tuple[int, int]) -> dict[str, str]:
    """Return the parameters of a range of windows; one up to the newest goes on with newer ones."""
    begin, end = span
    until = {"until": format_timestamp(query.start_ms(end))} if end < len(query.rows) else {}
    return {"from": format_timestamp(query.start_ms(begin)), **until}


def _links(query: WindowQuery, span: tuple[int, int], compare: int | None) -> Callable[[int | None], str]:
    """Return a function that returns the link to the window with a start, ms, or with None to the newest.

    The links lead to the charts. They keep their range, and the window that is compared with, whose indices
    are given.
    """
    asked = {"stream": query.series.stream, "window": query.size, **_times(query, span)}
    if compare is not None:
        asked["compare"] = format_timestamp(query.start_ms(compare))
    series = urlencode(asked, safe=":")

    # Every chart and the table link to the same windows.
    @cache
    def link(start_ms: int | None) -> str:
        at = "" if start_ms is None else f"&at={quote(format_timestamp(start_ms), safe=':')}"
        return f"?{series}{at}#over-time"

    return link


def comparable(query: WindowQuery, at: int, status: StreamStatus) -> list[tuple[str, int]]:
    """Return what a window is best compared with: names and indices of windows that are there.

    In an alarm of any size these are windows from before it began, since windows within it may be ok.
    """
    starts, start_ms = query.rows["start_ms"], query.start_ms(at)
    run = whole_run(query.rows, at)
    began_ms = min(run.since_ms if run.verdict in ALARMS else start_ms, start_ms)
    for alarm in (*status.alarms, *status.passed):
        until_ms = alarm.until_ms
        if alarm.since_ms < began_ms and (until_ms is None or start_ms < until_ms):
            began_ms = alarm.since_ms
    is_ok = query.rows["verdict"] == VERDICTS.index("ok")
    is_before = starts + query.series.size_ms <= began_ms
    found = (
        ("the last ok window before it", np.flatnonzero(is_ok & is_before)),
        ("a week before", np.flatnonzero(starts == starts[at] - _WEEK_MS)),
    )
    return [(name, int(indices[-1])) for name, indices in found if len(indices)]


def _headline(statuses: list[StreamStatus]) -> str:
    streams = "1 stream" if len(statuses) == 1 else f"{len(statuses):,} streams"
    found = Counter(each.state for each in statuses)
    told = [f"{found[state]:,} {STATES[state].counted}" for state in URGENCY if found[state]]
    return f"{streams}: {', '.join(told)}"


def _security_policy(streams: Iterable[StreamSettings]) -> str:
    origins = {origin(each.thumbnail_url) for each in streams if each.thumbnail_url is not None}
    images = " ".join(["'self'", *sorted(origins)])
    return (
        f"default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; img-src {images}; "
        "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    )
