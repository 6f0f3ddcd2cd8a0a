"""The API against its own description: requests that the description allows, and others."""

from urllib.parse import urljoin

import pytest
from hypothesis import given
from hypothesis import strategies as st
from schemathesis import Case, GenerationMode, openapi
from schemathesis.checks import CHECKS

from driftgauge.page.api_records import openapi as description
from tests.builders.clocks import DAY_MS
from tests.builders.page import MadeResults, serving

PATHS = tuple(description("0")["paths"])
STREAM = "resnet18-fc1"
HOSTILE = "<b>'\"&=+%/ä"


@pytest.fixture(scope="module")
def api():
    """The description as the running site serves it; its results have every verdict."""
    results = MadeResults()
    for number, verdict in enumerate(("ok", "warning", "drift", "insufficient", "incomplete", "ok")):
        results.publish(number, verdict)
        results.publish(number, verdict, size_ms=DAY_MS, stream=HOSTILE)
    # The topic no longer holds the first.
    results.made.values[0] = None
    with serving(results) as server:
        url = f"http://127.0.0.1:{server.port}/api/v1/openapi.json"
        api = openapi.from_url(url)
        api.config.update(base_url=urljoin(url, api.raw_schema["servers"][0]["url"]))
        yield api


def answer(case: Case):
    """Return the response to a request; its status, type and content are as the description says."""
    # A date-time before 1970 is refused, and the format date-time cannot say so.
    excluded = CHECKS.get_by_names(["positive_data_acceptance"]) if case.path != "/streams" else []
    response = case.call_and_validate(excluded_checks=excluded)
    assert response.status_code < 500
    return response


def test_description_is_valid(api):
    api.validate()
    assert {each.ok().path for each in api.get_all_operations()} == set(PATHS)


@pytest.mark.parametrize("path", PATHS)
def test_edges_of_each_parameter_are_answered_as_described(api, path):
    operation = api[path]["GET"]
    cases = api.iter_coverage_cases(
        operation,
        generation_modes=[*GenerationMode],
        generation_config=api.config.generation_for(operation=operation),
    )
    statuses = {answer(case).status_code for case in cases}
    assert 405 in statuses


@pytest.mark.parametrize("mode", GenerationMode)
@pytest.mark.parametrize("path", [path for path in PATHS if path != "/streams"])
def test_any_request_is_answered_as_described(api, path, mode):
    @given(case=api[path]["GET"].as_strategy(generation_mode=mode))
    def check(case):
        answer(case)

    check()


@pytest.mark.parametrize("path", PATHS)
def test_windows_that_exist_are_answered_as_described(api, path):
    known = {
        "stream": st.sampled_from([STREAM, HOSTILE]),
        "window": st.sampled_from(["1h", "24h", "1d", ""]),
        "at": st.integers(0, 6).map(lambda hour: f"2025-11-03T0{hour}:00:00Z"),
        "from": st.integers(0, 2).map(lambda hour: f"2025-11-03T0{hour}:00:00Z"),
        "until": st.integers(3, 9).map(lambda hour: f"2025-11-03T0{hour}:00:00Z"),
    }
    named = [each.name for each in api[path]["GET"].iter_parameters() if each.name in known]
    statuses = set()

    @given(data=st.data())
    def check(data):
        query = {name: data.draw(known[name]) for name in named}
        statuses.add(answer(data.draw(api[path]["GET"].as_strategy(query=query))).status_code)

    check()
    assert 200 in statuses
