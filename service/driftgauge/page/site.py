"""The page's HTTP routes: the overview, a stream, the files that they refer to, and the API below them."""

from collections.abc import Callable, Mapping
from functools import cache
from urllib.parse import quote, urlencode

import numpy as np
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import BaseRoute, Mount, Route

from driftgauge.config.page import PageSettings
from driftgauge.core.durations import format_duration
from driftgauge.errors import ServiceError
from driftgauge.events.timestamps import format_timestamp
from driftgauge.page.answers import AnswerCache
from driftgauge.page.api import api_routes
from driftgauge.page.overview import Overview, StreamRow, is_silent
from driftgauge.page.queries import MissingWindowError, WindowQuery, read_last, read_query
from driftgauge.page.rendering import STATIC_TYPES, render, static_file
from driftgauge.page.results import Results
from driftgauge.page.story import ALARMS, Run, whole_run
from driftgauge.page.stream_page import MAX_SHOWN, WindowDetail, detail, stream_page
from driftgauge.page.words import as_sentence

__all__ = ["Site"]

_STATIC_HEADERS = {"Cache-Control": "public, max-age=86400", "X-Content-Type-Options": "nosniff"}


class Site:
    """The page over some results."""

    def __init__(
        self,
        results: Results,
        settings: PageSettings,
        *,
        smallest: Mapping[str, Mapping[str, float]],
        dead_letters: str | None,
        clock_ms: Callable[[], int],
    ) -> None:
        """Show results.

        Args:
            results: The results.
            settings: The settings of the page.
            smallest: What is large, by stream, where the configuration names the stream.
            dead_letters: The topic of dead letters.
            clock_ms: The wall clock.
        """
        self._results = results
        self._settings = settings
        self._smallest = smallest
        self._dead_letters = dead_letters
        self._clock_ms = clock_ms
        self._overview = Overview(results.history)
        self._headers = {
            "Content-Security-Policy": _security_policy(settings.thumbnail_origin),
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
            Mount("/api/v1", routes=api_routes(self._results, self._rows, self._clock_ms)),
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
            return self._answers.answer(request, lambda: self._render_stream(query, shown))
        except MissingWindowError as error:
            return self._message("Nothing to show", str(error), 404)
        except ValueError as error:
            return self._message("The address is wrong", str(error), 400)

    def _render_overview(self, request: Request) -> str:
        query, verdict = (request.query_params.get(name, "") for name in ("q", "verdict"))
        now_ms = self._clock_ms()
        every = self._rows(now_ms)
        rows = [
            row for row in every if query.casefold() in row.stream.casefold() and verdict in ("", row.verdict)
        ]
        return render(
            "overview.html",
            **self._common(),
            rows=rows,
            query=query,
            verdict=verdict,
            filtered=bool(query or verdict),
            headline=_headline(every),
            alarms=sum(row.verdict in ALARMS for row in every),
            windows=len(self._results.history),
            history=format_duration(self._settings.history),
            now_ms=now_ms,
        )

    def _rows(self, now_ms: int) -> list[StreamRow]:
        self._results.history.expire(now_ms - self._settings.history)
        return self._overview.rows(now_ms)

    def _render_stream(self, query: WindowQuery, shown: int | None) -> str:
        series = query.series
        page = stream_page(
            series,
            query.rows,
            shown=shown,
            at_ms=query.at_ms,
            smallest=self._smallest.get(series.stream),
        )
        if page is None:
            message = f"{series.stream} has no window of {format_duration(series.size_ms)} that starts then"
            raise MissingWindowError(message)
        start_ms = int(page.chosen["start_ms"])
        whole, missing = self._detail(query, start_ms, page.run)
        other_ms = None if query.compare_ms == start_ms else query.compare_ms
        other, other_missing = (None, "") if other_ms is None else self._detail(query, other_ms)
        newest = query.rows[-1]
        silent = is_silent(series, newest, self._clock_ms())
        return render(
            "stream.html",
            **self._common(),
            page=page,
            sizes=query.sizes,
            detail=whole,
            missing=missing,
            other_ms=other_ms,
            other=other,
            other_missing=other_missing,
            shown=page.shown,
            silent_ms=int(newest["published_ms"]) if silent else None,
            link=_links(query, page.shown),
            link_shown=lambda number: _links(query, number)(query.at_ms),
        )

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
            run or whole_run(query.rows, int(np.searchsorted(query.rows["start_ms"], start_ms))),
            size_ms=query.series.size_ms,
            published_ms=int(row["published_ms"]),
            settings=self._settings,
        )
        return shown, ""

    def _common(self) -> dict[str, object]:
        source = self._results.source
        return {
            "topic": source.topic,
            "problem": source.error,
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


def _links(query: WindowQuery, shown: int) -> Callable[[int | None], str]:
    """Return a function that returns the link to the window with a start, or with None to the newest.

    The links keep the window that a request compares with.
    """
    series = urlencode(
        {
            "stream": query.series.stream,
            "window": format_duration(query.series.size_ms),
            "last": str(shown),
            **({} if query.compare_ms is None else {"compare": format_timestamp(query.compare_ms)}),
        }
    )

    # Every chart and the table link to the same windows.
    @cache
    def link(start_ms: int | None) -> str:
        return f"?{series}" if start_ms is None else f"?{series}&at={quote(format_timestamp(start_ms))}"

    return link


def _headline(rows: list[StreamRow]) -> str:
    words = {
        "drift": "with drift",
        "warning": "with possible drift",
        "misfit": "with a baseline that does not fit",
        "incomplete": "incomplete",
        "insufficient": "with too few events",
    }
    found = [(sum(row.verdict == verdict for row in rows), text) for verdict, text in words.items()]
    found = [
        *found,
        (sum(row.has_segment_drift and row.verdict not in ALARMS for row in rows), "with drift of a segment"),
        (sum(row.is_silent for row in rows), "silent"),
    ]
    told = [f"{number:,} {text}" for number, text in found if number]
    streams = "1 stream" if len(rows) == 1 else f"{len(rows):,} streams"
    if all(row.verdict == "ok" for row in rows):
        return ", ".join([f"No drift found in {streams}", *told])
    return f"{streams}: {', '.join(told)}"


def _security_policy(pictures: str | None) -> str:
    images = "'self'" if pictures is None else f"'self' {pictures}"
    return (
        f"default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; img-src {images}; "
        "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    )
