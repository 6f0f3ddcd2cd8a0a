"""Tests of `driftgauge.page.site`: the page over HTTP."""

from urllib.parse import quote, urlencode, urlsplit

import pytest

from tests.builders.clocks import DAY_MS, MONDAY_MS
from tests.builders.html import HOSTILE, Elements, as_shown
from tests.builders.page import MadeResults, get, record_tree, serving

STREAM = "?stream=resnet18-fc1"


@pytest.fixture
def results():
    results = MadeResults()
    for number in range(6):
        results.publish(number, "ok" if number < 4 else "drift")
    return results


@pytest.fixture
def page(results):
    with serving(results, now_ms=MONDAY_MS) as server:
        yield lambda path="/", **headers: get(server, path, **headers)


def read(page, path="/", status=200):
    response, body = page(path)
    assert response.status == status, body
    return Elements(body)


def test_overview_links_to_each_stream(page, results):
    results.publish(0, "ok", stream="text")
    shown = read(page)
    assert "2 streams: 1 with drift, 1 with drift of a segment" in shown.text
    assert "a segment drifts" in shown.text
    links = shown.every("a", "href")
    assert links.index("?stream=resnet18-fc1&window=1h") < links.index("?stream=text&window=1h")
    assert "windows of the last 31d" in shown.text


def test_overview_names_the_kind_of_alarms_alone(page, results):
    assert "shift: the events moved" in read(page).text
    results.publish(6, "ok", kind="shift")
    assert "the events moved" not in read(page).text


def test_overview_is_filtered_by_name_and_verdict(page, results):
    results.publish(0, "ok", stream="text")
    assert "?stream=text&window=1h" not in read(page, "/?q=RESNET").every("a", "href")
    assert "?stream=resnet18-fc1&window=1h" not in read(page, "/?verdict=ok").every("a", "href")
    assert "No stream matches" in read(page, "/?q=nothing").text


def test_stream_tells_its_story(page):
    shown = read(page, f"/{STREAM}")
    assert "Drift since 3 Nov 2025, 04:00 UTC" in shown.text
    assert shown.every("select", "name") == ["compare"]


@pytest.mark.parametrize(
    ("created", "age"),
    [
        ("2025-10-01T00:00:00Z", "33 days before this window."),
        ("2025-11-03T05:00:00Z", "1h before this window."),
        # As where recorded events are read again.
        ("2026-01-01T00:00:00Z", "after the start of this window."),
    ],
)
def test_baseline_has_an_age(page, results, created, age):
    results.publish(6, baseline_created=created)
    assert age in read(page, f"/{STREAM}").text


def test_window_of_a_run_that_ended_says_when(page, results):
    results.publish(6, "ok", segments=[])
    shown = read(page, f"/{STREAM}&window=1h&at=2025-11-03T04:00:00Z")
    assert "Drift from 3 Nov 2025, 04:00 UTC to 3 Nov 2025, 06:00 UTC" in shown.text
    assert "the events of resnet18-fc1 differed from the baseline" in shown.text
    assert "?stream=resnet18-fc1&window=1h&last=200&at=2025-11-03T04%3A00%3A00Z" in shown.every("a", "href")


def test_windows_beyond_the_history_are_gone(results):
    with serving(results, now_ms=MONDAY_MS + 40 * DAY_MS) as server:
        assert "holds no window result of the last 31d" in Elements(get(server, "/")[1]).text


def test_headline_counts_what_is_silent_and_segments(results):
    calm = MadeResults()
    calm.publish(0, "ok")
    with serving(calm, now_ms=MONDAY_MS + DAY_MS) as server:
        text = Elements(get(server, "/")[1]).text
    assert "No drift found in 1 stream, 1 with drift of a segment, 1 silent" in text


def test_links_choose_each_shown_window(page):
    shown = read(page, f"/{STREAM}&window=1h")
    starts = {
        f"?stream=resnet18-fc1&window=1h&last=200&at=2025-11-03T0{hour}%3A00%3A00Z" for hour in range(6)
    }
    assert starts <= set(shown.every("a", "href"))
    older = read(page, f"/{STREAM}&window=1h&at=2025-11-03T01:00:00Z")
    assert "No drift found" in older.text
    assert "go to the newest" in older.text


def test_two_windows_stand_side_by_side(page):
    shown = read(page, f"/{STREAM}&at=2025-11-03T05:00:00Z&compare=2025-11-03T01:00:00Z")
    assert "Window of 3 Nov 2025, 05:00 UTC" in shown.text
    assert "Compared with 3 Nov 2025, 01:00 UTC" in shown.text


@pytest.mark.parametrize(("at", "compare"), [("05", "01"), ("01", "05")])
def test_comparison_with_a_deleted_result_says_why_it_is_empty(page, results, at, compare):
    results.made.values[1] = None
    shown = read(page, f"/{STREAM}&at=2025-11-03T{at}:00:00Z&compare=2025-11-03T{compare}:00:00Z")
    titles = {at: f"Window of 3 Nov 2025, {at}", compare: f"Compared with 3 Nov 2025, {compare}"}
    assert f"{titles['01']}:00 UTC The topic driftgauge.windows no longer holds" in shown.text
    assert f"{titles['05']}:00 UTC" in shown.text
    (chosen,) = [each for tag, each in shown.tags if tag == "option" and "selected" in each]
    assert chosen["value"] == f"2025-11-03T{compare}:00:00Z"


def test_links_keep_the_comparison(page):
    compared = "compare=2025-11-03T01%3A00%3A00Z"
    shown = read(page, f"/{STREAM}&window=1h&last=100&{compared}")
    links = [link for link in shown.every("a", "href") if link.startswith("?") and "last=" in link]
    assert f"{STREAM}&window=1h&last=50&{compared}" in links
    assert f"{STREAM}&window=1h&last=100&{compared}&at=2025-11-03T04%3A00%3A00Z" in links
    assert [link for link in links if compared not in link] == []


def test_window_is_not_compared_with_itself(page):
    own = "2025-11-03T01:00:00Z"
    assert "Compared with" not in read(page, f"/{STREAM}&at={own}&compare={own}").text


@pytest.mark.parametrize(
    ("query", "status", "text"),
    [
        ("?stream=none", 404, "There is no window of a stream none yet."),
        (f"{STREAM}&window=5m", 404, "There is no window of 5m of a stream resnet18-fc1 yet."),
        (f"{STREAM}&at=2025-11-02T00:00:00Z", 404, "no window of 1h that starts then or before."),
        (f"{STREAM}&compare=2025-11-02T00:00:00Z", 404, "no window of 1h that starts then or before."),
        (f"{STREAM}&window=x", 400, "Window: "),
        (f"{STREAM}&at=yesterday", 400, "At: "),
        (f"{STREAM}&last=0", 400, "Last: '0' is no whole number from 1 to 1,000."),
        ("?stream=", 400, "Stream: name a stream."),
    ],
)
def test_wrong_address_is_answered_in_words(page, query, status, text):
    shown = read(page, f"/{query}", status)
    assert text in shown.text
    assert "?" in shown.every("a", "href")


def test_hostile_names_are_text(page, results):
    tree = record_tree(7)
    tree["clusters"][1]["name"] = HOSTILE
    tree["examples"][0]["event_ids"] = [HOSTILE]
    tree["examples"][0]["baseline_event_ids"] = [HOSTILE]
    tree["segments"][0] |= {"key": HOSTILE, "value": HOSTILE}
    tree["incomplete"] = [{"topic": HOSTILE, "partition": 0}]
    results.publish(7, **{**tree, "stream": HOSTILE})
    results.made.error = HOSTILE
    for path in ("/", f"/?q={quote(HOSTILE)}", f"/?stream={quote(HOSTILE)}", f"/?stream=no{quote(HOSTILE)}"):
        response, body = page(path)
        assert response.status in (200, 404)
        shown = Elements(body)
        assert HOSTILE.split("{{", maxsplit=1)[0] in shown.text
        assert not {tag for tag, _ in shown.tags} & {"style", "iframe", "object", "base"}
        assert "alert(1)" not in " ".join(attributes.get("src", "") for _, attributes in shown.tags)
        assert not [name for _, attributes in shown.tags for name in attributes if name.startswith("on")]
        assert [urlsplit(file).path for file in shown.every("script", "src")] == ["static/page.js"]
        assert all(urlsplit(link).scheme in ("", "https") for link in shown.every("a", "href"))
        assert "{{ 7*7 }}" in body
        assert "\u202e" not in body
    results.made.error = None
    whole = read(page, f"/?stream={quote(HOSTILE)}")
    assert sum(as_shown(HOSTILE) in text for text in whole.texts) > 5


def test_examples_are_links_where_configured(results):
    settings = {
        "example_url": "https://shop.example/events/{event_id}",
        "thumbnail_url": "https://pictures.example:8443/{stream}/{event_id}.png",
    }
    results.publish(7, examples=[{"cluster": 1, "event_ids": ["a/b&c"], "baseline_event_ids": ["d"]}])
    with serving(results, **settings) as server:
        response, body = get(server, f"/{STREAM}")
    shown = Elements(body)
    links = ["https://shop.example/events/a%2Fb%26c", "https://shop.example/events/d"]
    assert [link for link in shown.every("a", "href") if link.startswith("https:")] == links
    assert shown.every("img", "src") == [
        f"https://pictures.example:8443/resnet18-fc1/{name}.png" for name in ("a%2Fb%26c", "d")
    ]
    assert "img-src 'self' https://pictures.example:8443;" in response.headers["Content-Security-Policy"]


def test_security_policy_allows_own_files_alone(page):
    response, _ = page("/")
    assert response.headers["Content-Security-Policy"] == (
        "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; img-src 'self'; "
        "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    )
    assert response.headers["X-Content-Type-Options"] == "nosniff"
    assert response.headers["Referrer-Policy"] == "no-referrer"


@pytest.mark.parametrize("path", ["/", f"/{STREAM}"])
def test_page_needs_nothing_from_elsewhere_and_no_inline_script(page, path):
    shown = read(page, path)
    files = shown.every("script", "src") + shown.every("link", "href") + shown.every("img", "src")
    assert files
    for file in files:
        assert page(f"/{file}")[0].status == 200
    assert shown.every("div", "style") == []
    assert ("style", {}) not in shown.tags


def test_unknown_file_is_missing(page):
    assert page("/static/site.py")[0].status == page("/static/..%2Fsite.py")[0].status == 404


def test_answer_is_not_sent_again_until_it_changes(page, results):
    response, _ = page(f"/{STREAM}")
    tag = response.headers["ETag"]
    assert page(f"/{STREAM}", If_None_Match=tag)[0].status == 304
    results.publish(6)
    assert page(f"/{STREAM}", If_None_Match=tag)[0].status == 200


def test_page_stands_below_prefix_as_well(results):
    with serving(results, path_prefix="/tools/drift") as server:
        response, _ = get(server, "/tools/drift?stream=a")
        assert (response.status, response.headers["Location"]) == (307, "drift/?stream=a")
        for path in ("/", "/tools/drift/"):
            response, body = get(server, path)
            assert response.status == 200
            for link in Elements(body).every("link", "href"):
                assert not link.startswith("/")
                assert get(server, path + link)[0].status == 200
        assert get(server, "/tools/drift/api/v1/streams")[0].status == 200


def test_empty_history_says_what_to_wait_for(page):
    results = MadeResults()
    with serving(results) as server:
        assert "holds no window result of the last 31d" in Elements(get(server, "/")[1]).text
        results.made.is_level = False
        assert "still reads the topic driftgauge.windows" in Elements(get(server, "/")[1]).text


def test_broken_topic_is_told_beside_what_was_read(page, results):
    results.made.error = "broker 1 does not answer; check it"
    for path in ("/", f"/{STREAM}"):
        shown = read(page, path)
        assert (
            "The window results cannot be read at the moment. broker 1 does not answer; check it"
            in shown.text
        )
    assert "Over time" in shown.text
    assert "Broker 1 does not answer; check it." in shown.text


def test_deleted_result_leaves_its_numbers(page, results):
    results.made.values = [None] * 6
    shown = read(page, f"/{STREAM}")
    assert "no longer holds this window's details" in shown.text
    assert "Over time" in shown.text


def test_silence_is_told(results):
    with serving(results, now_ms=MONDAY_MS + 2 * DAY_MS) as server:
        assert "silent since 3 Nov 2025, 06:00 UTC" in Elements(get(server, "/")[1]).text
        assert "No window was published since" in Elements(get(server, f"/{STREAM}")[1]).text


def test_link_with_unknown_parameters_works(page):
    assert "Drift" in read(page, f"/{STREAM}&{urlencode({'utm': 'x'})}").text
