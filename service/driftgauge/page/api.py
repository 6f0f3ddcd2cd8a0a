"""The page's API: the same windows as JSON and CSV."""

import csv
import io
from collections.abc import Callable
from functools import wraps
from importlib.metadata import version

import numpy as np
from pydantic import BaseModel, ValidationError
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route

from driftgauge.config.stream import StreamSettings
from driftgauge.core.by_stream import ByStream
from driftgauge.errors import ServiceError
from driftgauge.page.api_records import (
    MAX_LAST,
    Problem,
    StatusRecords,
    openapi,
)
from driftgauge.page.queries import MissingWindowError, read_last, read_query
from driftgauge.page.results import Results
from driftgauge.page.summary import SUMMARY
from driftgauge.page.summary_record import SummaryRecord, SummaryRecords, summary_record, summary_records

__all__ = ["api_routes"]

# A spreadsheet takes a cell that begins so for a formula.
_FORMULA = ("=", "+", "-", "@", "\t", "\r")

_USUALLY = 200

Endpoint = Callable[[Request], Response]


def api_routes(
    results: Results,
    streams: ByStream[StreamSettings],
    statuses: Callable[[], StatusRecords],
    leading_ms: Callable[[str], int | None],
) -> list[BaseRoute]:
    """Return the routes below /api/v1.

    `statuses` gives the statuses of all streams now, and `leading_ms` the size of one's leading alarm.
    """

    def every(_: Request) -> Response:
        return _json(statuses())

    def asked(request: Request) -> SummaryRecords:
        query = read_query(results.history, streams, request.query_params, leading_ms)
        rows, default = query.rows, _USUALLY
        if query.span is not None:
            rows, default = rows[slice(*query.span)], MAX_LAST
        last = read_last(request.query_params, MAX_LAST, default)
        return summary_records(query.series, rows[-last:], streams[query.series.stream].numbers)

    def windows(request: Request) -> Response:
        return _json(asked(request))

    def windows_csv(request: Request) -> Response:
        records, text = asked(request), io.StringIO()
        named = {"stream": _cell(records.stream), "window": records.window}
        windows = [named | _columns(record) for record in records.windows]
        numbers = streams[records.stream].numbers
        writer = csv.DictWriter(text, named | _columns(summary_record(np.zeros((), SUMMARY), 0, numbers)))
        writer.writeheader()
        writer.writerows(windows)
        headers = {"Content-Disposition": 'attachment; filename="windows.csv"'}
        return Response(text.getvalue(), media_type="text/csv", headers=headers)

    def window(request: Request) -> Response:
        query = read_query(results.history, streams, request.query_params)
        if query.at is None:
            message = "at: name a time, RFC 3339 or epoch milliseconds"
            raise ValueError(message)
        return _json(results.whole(query.series, query.rows[query.at]))

    description = openapi(version("driftgauge"))

    def describe(_: Request) -> Response:
        return JSONResponse(description)

    endpoints: dict[str, Endpoint] = {
        "/streams": every,
        "/windows": windows,
        "/windows.csv": windows_csv,
        "/window": window,
        "/openapi.json": describe,
    }
    return [Route(path, _answered(endpoint)) for path, endpoint in endpoints.items()]


def _columns(record: SummaryRecord) -> dict[str, object]:
    """Return the columns of a summary; a number of a statistic has one named as `values.novelty`."""
    columns: dict[str, object] = {}
    for name, value in record.model_dump().items():
        columns |= (
            {f"{name}.{key}": each for key, each in value.items()}
            if isinstance(value, dict)
            else {name: value}
        )
    return columns


def _answered(endpoint: Endpoint) -> Endpoint:
    """Return the endpoint with its errors as answers."""

    @wraps(endpoint)
    def answer(request: Request) -> Response:
        try:
            return endpoint(request)
        except MissingWindowError as error:
            return _json(Problem(error=str(error)), 404)
        except ValidationError:
            # An answer that breaks its own contract is no fault of the request.
            raise
        except ValueError as error:
            return _json(Problem(error=str(error)), 400)
        except ServiceError as error:
            return _json(Problem(error=str(error)), 503)

    return answer


def _json(record: BaseModel, status: int = 200) -> Response:
    return Response(record.model_dump_json(), status, media_type="application/json")


def _cell(text: str) -> str:
    return f"'{text}" if text.startswith(_FORMULA) else text
