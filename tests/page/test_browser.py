"""The page in Chromium, over made results: hostile names, pictures, states, and refreshing by itself."""

from urllib.parse import quote

import pytest
from playwright.sync_api import expect

from tests.builders.clocks import DAY_MS, MINUTE_MS, MONDAY_MS
from tests.builders.html import as_shown
from tests.builders.page import MadeResults, every_stream, named_record, publish, serving
from tests.page.browser import barriers, chromium, overflow, visit

pytestmark = pytest.mark.stack

STREAM = "/?stream=resnet18-fc1&window=1h"
REFRESH_MS = 15_000
BROKEN = "broker 1 does not answer; check it"
STALE = "This page cannot be refreshed at the moment"
HOSTILE = [
    "<script>window.executed = 1</script>",
    "\"><img src=x onerror='window.executed = 1'>",
    "'><svg onload=window.executed=1>",
    "</title></style></textarea></select><script>window.executed = 1</script>",
    "javascript:window.executed=1",
    "{{ 7*7 }}${7*7}<!--&lt;&#60;",
    "\u202eright to left\u202c",
]
LONG = "x" * 128


@pytest.fixture(scope="module")
def browser():
    with chromium() as browser:
        yield browser


@pytest.fixture
def results():
    return publish(*["ok"] * 4, "drift", "drift")


def test_hostile_names_are_text_and_execute_nothing(browser):
    results = MadeResults()
    for name in HOSTILE:
        results.publish(7, **named_record(name))
    links = every_stream(example_url="https://shop.example/{stream}/{event_id}")
    with (
        serving(results, streams=links) as server,
        visit(browser, f"http://127.0.0.1:{server.port}") as page,
    ):
        page.clock.install()
        page.goto("/")
        assert page.get_by_role("rowheader").locator("a").all_text_contents() == [
            *map(as_shown, sorted(HOSTILE))
        ]
        for name in HOSTILE:
            page.goto(f"/?stream={quote(name)}")
            page.clock.run_for(REFRESH_MS)
            texts = page.locator("h1, td, th, svg text, li code").all_text_contents()
            # The heading, three clusters, the events of two, two segments, a topic.
            assert sum(as_shown(name) in text for text in texts) == 1 + 3 + 2 + 2 + 1
            assert as_shown(name) in page.title()
            assert set(page.evaluate("[...document.links].map(each => each.protocol)")) == {
                "http:",
                "https:",
            }
            assert page.evaluate("window.executed") is None


def test_long_names_and_many_sizes_fit_a_phone(browser, results):
    results.publish(7, **named_record(LONG))
    for minutes in (1, 5, 15, 30, 120, 360, 720):
        results.publish(0, size_ms=minutes * MINUTE_MS)
    with serving(results) as server, visit(browser, f"http://127.0.0.1:{server.port}", width=390) as page:
        for path in ("/", f"/?stream={LONG}", STREAM):
            page.goto(path)
            assert overflow(page) == 0


def test_pictures_come_from_configured_origin(browser, results):
    with serving(MadeResults()) as pictures:
        origin = f"http://127.0.0.1:{pictures.port}"
        with (
            serving(
                results, streams=every_stream(thumbnail_url=f"{origin}/static/icon.svg?{{event_id}}")
            ) as server,
            visit(browser, f"http://127.0.0.1:{server.port}", pictures=origin) as page,
        ):
            page.goto(STREAM)
            for image in page.locator(".event img").all():
                image.scroll_into_view_if_needed()
                expect(image).to_have_js_property("complete", value=True)
                assert image.evaluate("image => image.naturalWidth") > 0


@pytest.mark.parametrize(
    ("results", "path"),
    [
        pytest.param(publish(), "/", id="empty"),
        pytest.param(
            publish(
                "insufficient", ("incomplete", {"incomplete": [{"topic": "embeddings", "partition": 3}]})
            ),
            STREAM,
            id="unscored",
        ),
        pytest.param(publish("drift", error=BROKEN), "/", id="broken overview"),
        pytest.param(publish("drift", error=BROKEN), STREAM, id="broken"),
        pytest.param(publish(*["misfit"] * 3, segments=[]), STREAM, id="misfit"),
    ],
)
def test_state_fits_a_phone_and_has_no_barrier(browser, results, path):
    with (
        serving(results, MONDAY_MS + 2 * DAY_MS) as server,
        visit(browser, f"http://127.0.0.1:{server.port}", width=390) as page,
    ):
        page.goto(path)
        assert overflow(page) == 0
        assert barriers(page) == []


@pytest.mark.parametrize("width", [390, 1440])
def test_alarm_start_cause_and_next_step_are_seen_without_scrolling(browser, results, width):
    results.publish(6, "insufficient", segments=[])
    streams = [{"name": "resnet18-fc1", "labels": {"owner": "ada@example.com", "severity": "critical"}}]
    with (
        serving(results, streams=streams, grafana_url="https://grafana.example") as server,
        visit(browser, f"http://127.0.0.1:{server.port}", width=width) as page,
    ):
        page.goto(STREAM)
        status = page.get_by_role("region", name="Status")
        for part in (
            status.get_by_role("heading", name="Drift"),
            status.get_by_text("Shift: inputs moved together"),
            status.get_by_text("Began").first,
            status.get_by_role("link", name="Runbook DriftgaugeDrift"),
            status.get_by_role("link", name="Grafana"),
            status.get_by_role("link", name="ada@example.com"),
            status.get_by_role("listitem").filter(has_text="Find what changed"),
        ):
            box = part.bounding_box()
            # A laptop with the bars of its browser, or a phone.
            assert box["y"] + box["height"] <= (844 if width == 390 else 700)


def test_overview_of_a_hundred_streams_fits_two_screens(browser):
    missing = {"incomplete": [{"topic": "embeddings", "partition": 3}]}
    newest = [("drift", {})] * 20 + [("incomplete", missing)] * 33 + [("ok", {})] * 47
    results = publish(
        *(("ok", {"stream": f"stream-{number:02}", "number": 0}) for number in range(100)),
        *(
            (verdict, changes | {"stream": f"stream-{number:02}", "number": 1})
            for number, (verdict, changes) in enumerate(newest)
        ),
        segments=[],
    )
    with serving(results) as server, visit(browser, f"http://127.0.0.1:{server.port}", width=1440) as page:
        page.goto("/")
        assert page.evaluate("document.documentElement.scrollHeight") <= 1_800
        expect(page.get_by_role("row").nth(1)).to_contain_text("stream-00")
        expect(page.get_by_text("33 streams: embeddings[3] not read to the end")).to_be_visible()
        expect(page.get_by_role("link", name="stream-99", exact=True)).to_be_hidden()
        page.get_by_text("47 streams").click()
        expect(page.get_by_role("link", name="stream-99", exact=True)).to_be_visible()


def test_page_works_without_javascript(browser, results):
    with (
        serving(results) as server,
        visit(browser, f"http://127.0.0.1:{server.port}", java_script_enabled=False) as page,
    ):
        page.goto("/?q=no")
        expect(page.get_by_text("No stream matches")).to_be_visible()
        page.get_by_label("Name contains").fill("RES")
        page.get_by_label("Status").select_option("Drift")
        page.get_by_role("button", name="Filter").click()
        page.get_by_role("link", name="resnet18-fc1", exact=True).click()
        page.locator(".chart").first.locator("a").nth(3).click()
        expect(page.locator(".which")).to_contain_text("3 Nov 2025, 03:00")
        page.get_by_label("Compare with the window of").select_option("2025-11-03T01:00:00Z")
        page.get_by_role("button", name="Compare").click()
        expect(page.get_by_role("heading", name="Compared with 3 Nov 2025, 01:00")).to_be_visible()


def test_windows_of_chart_are_reached_by_keys(browser, results):
    with serving(results) as server, visit(browser, f"http://127.0.0.1:{server.port}") as page:
        page.goto(STREAM)
        page.locator(".chart a").first.focus()
        for key in ("ArrowRight", "ArrowRight", "ArrowRight", "ArrowLeft", "Enter"):
            page.keyboard.press(key)
        expect(page.locator(".which")).to_contain_text("3 Nov 2025, 02:00")
        # The chart keeps the focus; elsewhere on the page an arrow opens the neighbour at once.
        expect(page.locator(".chart a:focus")).to_have_count(1)
        page.evaluate("document.activeElement.blur()")
        page.keyboard.press("ArrowLeft")
        expect(page.locator(".which")).to_contain_text("3 Nov 2025, 01:00")


def test_window_opens_without_a_jump_and_the_way_back_leads_to_it(browser, results):
    with serving(results) as server, visit(browser, f"http://127.0.0.1:{server.port}") as page:
        page.goto(STREAM)
        page.locator("#compare").scroll_into_view_if_needed()
        page.evaluate("scrollBy(0, 200)")
        before = page.evaluate("scrollY")
        area = page.locator(".chart a").nth(2)
        area.dispatch_event("pointerover")
        expect(page.locator(".chart output").first).to_contain_text("3 Nov 2025, 02:00 UTC: ")
        area.dispatch_event("click")
        expect(page.locator(".which")).to_contain_text("3 Nov 2025, 02:00")
        # What the newer window says may take another line above.
        assert abs(page.evaluate("scrollY") - before) < 60 < before
        assert "at=2025-11-03T02" in page.url
        # A link that changes the range keeps the focus.
        page.get_by_role("link", name="closer").focus()
        page.keyboard.press("Enter")
        expect(page.locator(".tools b").first).to_have_text("4 windows")
        expect(page.get_by_role("link", name="closer")).to_be_focused()
        page.go_back()
        page.go_back()
        expect(page.locator(".which")).to_contain_text("The newest window of 1h from 3 Nov 2025, 05:00")


@pytest.fixture
def visiting(browser, results):
    """A page of a browser whose clock the test moves, over the results."""
    with (
        serving(results) as server,
        visit(browser, f"http://127.0.0.1:{server.port}", tolerated="Failed to load resource") as page,
    ):
        page.clock.install()
        yield page


def test_refresh_keeps_what_is_open_focused_and_scrolled_sideways(visiting, results):
    visiting.set_viewport_size({"width": 390, "height": 900})
    visiting.goto(STREAM)
    visiting.get_by_text("These windows as a table").click()
    focused = visiting.get_by_role("link", name="3 Nov 2025, 03:00 UTC", exact=True)
    focused.focus()
    table = visiting.get_by_role("region", name="Windows", exact=True)
    table.evaluate("table => table.scrollLeft = 60")
    results.publish(6, "ok", segments=[])
    visiting.clock.run_for(REFRESH_MS)
    expect(visiting.get_by_role("link", name="3 Nov 2025, 06:00 UTC", exact=True)).to_be_visible()
    expect(focused).to_be_focused()
    expect(visiting).to_have_title("No drift found: resnet18-fc1 · driftgauge")
    assert table.evaluate("table => table.scrollLeft") == 60


def test_page_stays_as_it_is_while_a_person_fills_in(visiting, results):
    asked = []
    visiting.on("request", lambda request: asked.append(request.url))
    visiting.goto("/")
    visiting.get_by_label("Name contains").fill("res")
    loaded = len(asked)
    visiting.clock.run_for(2 * REFRESH_MS)
    assert len(asked) == loaded
    visiting.get_by_label("Name contains").blur()
    results.publish(0, "ok", stream="text")
    visiting.clock.run_for(REFRESH_MS)
    expect(visiting.get_by_role("link", name="text", exact=True)).to_be_visible()


def test_refresh_replaces_heading_and_footer(visiting, results):
    visiting.goto("/?stream=text")
    expect(visiting.get_by_role("heading", level=1)).to_have_text("Nothing to show")
    visiting.get_by_role("button", name="Show local time").click()
    visiting.get_by_role("button", name="Show UTC").focus()
    results.publish(0, stream="text")
    visiting.clock.run_for(REFRESH_MS)
    expect(visiting.get_by_role("heading", level=1)).to_have_text("text")
    expect(visiting.locator(".which")).to_contain_text("9:00")
    expect(visiting.locator("footer")).to_contain_text("From the topic")
    expect(visiting.get_by_role("button", name="Show UTC")).to_be_focused()


@pytest.fixture
def held(visiting):
    """Requests of the overview, stale so far, that get no answer until the test continues them."""
    visiting.goto("/")
    expect(visiting.get_by_text(STALE)).to_be_hidden()
    visiting.route("**/*", lambda route: route.abort())
    visiting.clock.run_for(REFRESH_MS)
    expect(visiting.get_by_text(STALE)).to_be_visible()
    visiting.unroute("**/*")
    held = []

    def hold(route):
        held.append(route)

    visiting.route("**/*", hold)
    with visiting.expect_request("**/*"):
        visiting.clock.run_for(REFRESH_MS)
    return held


def test_refresh_waits_for_the_one_before_and_replaces_nothing_under_the_hands(visiting, results, held):
    visiting.clock.run_for(2 * REFRESH_MS)
    assert len(held) == 1
    visiting.get_by_label("Name contains").fill("res")
    results.publish(0, "ok", stream="text")
    held[0].continue_()
    # The note goes in the step that would replace the page.
    expect(visiting.get_by_text(STALE)).to_be_hidden()
    expect(visiting.get_by_label("Name contains")).to_have_value("res")
    visiting.get_by_label("Name contains").blur()
    with visiting.expect_request("**/*"):
        visiting.clock.run_for(REFRESH_MS)


def test_page_refreshes_where_storage_is_blocked(visiting, results):
    visiting.add_init_script(
        "Object.defineProperty(window, 'localStorage', {get() { throw new DOMException('blocked') }})"
    )
    visiting.goto(STREAM)
    visiting.get_by_role("button", name="Show local time").click()
    expect(visiting.get_by_role("button", name="Show UTC")).to_be_visible()
    results.publish(6, "ok", segments=[])
    visiting.clock.run_for(REFRESH_MS)
    expect(visiting).to_have_title("No drift found: resnet18-fc1 · driftgauge")


def test_all_times_are_local_where_chosen(visiting, results):
    for hour in range(12, 18):
        results.publish(hour, "drift", stream="3 Nov 2025, 04:00 UTC <b>31 Feb 2025, 04:00 UTC")
    visiting.goto(STREAM)
    main = visiting.locator("main")
    told = main.text_content()
    visiting.get_by_role("button", name="Show local time").click()
    # The text has the windows' titles, the list to compare with, and the axes.
    assert "UTC" in told
    assert "UTC" not in main.text_content()
    visiting.get_by_role("button", name="Show UTC").click()
    assert main.text_content() == told
    visiting.get_by_role("button", name="Show local time").click()
    visiting.goto(f"/?stream={quote('3 Nov 2025, 04:00 UTC <b>31 Feb 2025, 04:00 UTC')}")
    assert visiting.locator(".chart").first.locator(".when").all_text_contents() == [
        "21:00Nov 3",
        "22:00",
        "23:00",
        "Nov 4",
        "01:00",
        "02:00",
        "03:00",
    ]
    assert "<b>31 Feb 2025, 04:00 UTC" in visiting.locator(".story").text_content()
