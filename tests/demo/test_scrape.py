from prometheus_client import generate_latest

from driftgauge.demo.scrape import Scrape
from driftgauge.events.rejection import Reason
from tests.telemetry.builders import build_result, build_telemetry, busy_table


def test_what_the_service_exports_is_read_back():
    telemetry = build_telemetry("images", "texts")
    result = build_result()
    telemetry.show(busy_table())
    telemetry.accepted("images", 100)
    telemetry.accepted("texts", 20)
    telemetry.rejected("images", Reason.LATE, 3)
    telemetry.rejected(None, Reason.UNDECODABLE, 4)
    text = generate_latest(telemetry.registry).decode()

    scrape = Scrape.parse(text)

    assert scrape.text == text
    hourly = {"stream": "images", "window": "1h"}
    assert scrape.value("driftgauge_window_js_divergence", **hourly) == result.score.js_divergence
    assert scrape.value("driftgauge_window_events", **hourly) == 100
    assert scrape.value("driftgauge_events_total", stream="images", outcome="late") == 3
    outcomes = {outcome: number for outcome, number in scrape.outcomes().items() if number}
    assert outcomes == {"accepted": 120, "late": 3, "undecodable": 4}


def test_outcomes_without_events_are_there_as_zero():
    scrape = Scrape.parse(generate_latest(build_telemetry().registry).decode())
    assert scrape.outcomes()["wrong_model"] == 0
    assert all(number == 0 for number in scrape.outcomes().values())


def test_what_the_broker_does_not_make_good_is_summed_up():
    telemetry = build_telemetry()
    held = [("embeddings", 0), ("embeddings", 1)]
    telemetry.assigned(held)
    telemetry.committed()
    clean = Scrape.parse(generate_latest(telemetry.registry).decode()).mishaps()
    assert set(clean.values()) == {0}
    telemetry.records_lost("embeddings", 40)
    telemetry.records_lost("embeddings", 2)
    telemetry.aborted("fenced")
    for _ in range(3):
        telemetry.session_lost("an outage", 0.5)
    mishaps = Scrape.parse(generate_latest(telemetry.registry).decode()).mishaps()
    assert list(mishaps.values()) == [42, 1, 3]


def test_a_series_has_exactly_the_labels_asked_for_in_any_order():
    scrape = Scrape.parse('# TYPE a gauge\na{x="1",y="2"} 5\n')
    assert scrape.value("a", y="2", x="1") == 5
    assert scrape.value("a", x="1") is None
    assert scrape.value("a") is None
    assert scrape.value("b", x="1", y="2") is None


def test_a_scrape_of_nothing_has_no_outcomes():
    assert Scrape.parse("").outcomes() == {}
    assert set(Scrape.parse("").mishaps().values()) == {0}
